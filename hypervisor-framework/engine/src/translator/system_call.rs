//! SYSCALL and SYSRET: between user and supervisor with as much of the guest's registers in the host's as a function
//! leaves there. What is out of the ordinary is the interpreter's.
#![allow(unsafe_code)] // called by generated code with raw pointers

use iced_x86::{Code, Instruction};

use super::context::{Context, field, from_raw, to_raw};
use super::emitter::host::{RAX, RSI};
use super::emitter::{At, Emitter, condition, opcode};
use super::flags::Flags;
use super::registers::{HOMES, Home};
use super::stubs::{self, Stubs, context};
use super::unit::{Builder, Emitted, Unsupported};
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, gpr};
use crate::instructions::system_calls;

/// Where R11 lives in the context.
const R11: usize = 2;
const _: () = assert!(matches!(HOMES[11], Home::Spilled(2)));

/// SYSCALL of user code, with the address behind it. Answers whether it is done; if not, nothing has changed.
pub(super) extern "sysv64" fn enter(context: &mut Context, next: u64) -> u32 {
    // SAFETY: generated code runs only inside `Translator::run`, whose caller lent the CPU for that long, and nothing
    // else uses it meanwhile.
    let cpu = unsafe { &mut *context.cpu };
    if !system_calls::has_syscall(cpu) || !cpu.settled() {
        return 0;
    }
    let flags = (from_raw(context.flags) | cpu.flags.system | bit::FIXED) & !bit::RF;
    cpu.set_slot(gpr::RCX, next);
    context.spilled[R11] = flags;
    let flags = system_calls::enter_by_syscall(cpu, flags);
    go_on(context, cpu, flags);
    1
}

/// SYSRET to 64-bit code, likewise.
pub(super) extern "sysv64" fn leave(context: &mut Context, _next: u64) -> u32 {
    // SAFETY: as in `enter`.
    let cpu = unsafe { &mut *context.cpu };
    let (target, flags) = (cpu.slot(gpr::RCX), context.spilled[R11]);
    let usual = system_calls::has_syscall(cpu) && cpu.cpl == 0 && Cpu::canonical(target);
    if !usual || !cpu.settled() || flags & bit::TF != 0 {
        return 0;
    }
    let flags = system_calls::leave_by_sysret(cpu, true, target, flags);
    go_on(context, cpu, flags);
    1
}

fn go_on(context: &mut Context, cpu: &mut Cpu, flags: u64) {
    cpu.flags.system = flags & bit::ALL & !bit::ARITHMETIC;
    context.flags = to_raw(flags);
    cpu.update_level();
    context.mode = cpu.mode.0;
    context.tlb = cpu.mmu.current_entries();
}

/// Writes the stub that calls one of these, with its second argument in RAX: goes on at the CPU's RIP, or comes back if it
/// has not been done.
pub(super) fn emit(e: &mut Emitter, function: i32, after: u64) -> u64 {
    let here = e.address_here();
    stubs::emit_enter(e);
    stubs::emit_light_call(e, function, |e| e.copy(RSI, RAX));
    e.registers(false, opcode::TEST, RAX, RAX);
    e.jump_if(condition::NOT_EQUAL, after);
    stubs::emit_return(e);
    here
}

impl Builder<'_> {
    /// SYSCALL in user code.
    pub(super) fn system_call(&mut self, insn: &Instruction) -> Emitted {
        let stub = |stubs: &Stubs| stubs.system_call;
        if self.user == 1 { self.change_level(insn, stub) } else { Err(Unsupported) }
    }

    /// SYSRET to 64-bit code.
    pub(super) fn system_return(&mut self, insn: &Instruction) -> Emitted {
        let stub = |stubs: &Stubs| stubs.system_return;
        if self.user == 0 && insn.code() == Code::Sysretq {
            self.change_level(insn, stub)
        } else {
            Err(Unsupported)
        }
    }

    fn change_level(&mut self, insn: &Instruction, stub: fn(&Stubs) -> u64) -> Emitted {
        self.save_flags();
        self.write_back_vectors();
        self.flags = Flags::Memory;
        self.e.load(RAX, context(field::PAGE));
        self.e.lea(RAX, At::Base(RAX, i32::from(self.source.offset) + insn.next_ip() as i32));
        self.e.call(stub(self.stubs));
        self.emit_call(self.ops, true);
        self.e.jump(self.stubs.after[self.user]);
        Ok(())
    }
}
