//! Ways out of a block: fall through, direct and indirect branches, calls and returns.

use iced_x86::{Code, Instruction, OpKind, Register};

use super::context::field;
use super::emitter::host::{RAX, RBP};
use super::emitter::{At, condition, group, opcode};
use super::flags::Flags;
use super::memory::{FETCH, FETCH_HOST, Need, emit_tlb_entry};
use super::registers::{Home, STACK_POINTER, home, spilled};
use super::slow::{Back, Leave, Lookup};
use super::stubs::{context, emit_lookup, emit_pending};
use super::unit::{Builder, Emitted, Unsupported};
use super::vector::Vectors;
use crate::instructions::condition_code;

const PAGE_SIZE: i64 = 4096;
pub(super) const STACK_READ: Need = Need { write: false, size: 8, aligned: false };
pub(super) const STACK_WRITE: Need = Need { write: true, size: 8, aligned: false };

/// Of the conditions that ask for some flags to be set, by code / 2: the byte of the context's flags, and the bits.
const STORED: [(i32, u8); 6] = [(0, 1), (1, 1), (1, 0x40), (1, 0x41), (1, 0x80), (1, 4)];

impl Builder<'_> {
    /// Leaves for the instruction at `distance` from the block's start. Flags and vectors are where they belong. `back`
    /// is set where the way may be part of a loop within the page.
    pub(super) fn exit(&mut self, distance: i64, back: bool) -> Emitted {
        let at = i64::from(self.source.offset) + distance;
        let offset = at.rem_euclid(PAGE_SIZE) as i32;
        let page = i32::try_from(at - i64::from(offset)).map_err(|_| Unsupported)?;
        if page == 0 {
            if back {
                let branch = emit_pending(&mut self.e);
                self.leaves.push(Leave::Look { branch, offset });
            }
            let slot = self.take_slots(1);
            self.e.jump_memory(At::Near(slot));
            self.leaves.push(Leave::Find { branches: [None; 2], link: slot, offset });
            return Ok(());
        }
        // An inline cache: the host page, and the code there.
        let cache = self.take_slots(2);
        self.caches.push(cache);
        self.e.load(RAX, context(field::PAGE));
        self.e.lea(RAX, At::Base(RAX, page));
        self.e.store(RAX, context(field::PAGE));
        let branch = emit_pending(&mut self.e);
        self.leaves.push(Leave::Look { branch, offset });
        emit_tlb_entry(&mut self.e);
        self.e.memory(true, opcode::CMP, RAX, At::Base(RBP, FETCH));
        let unknown = self.e.branch_if(condition::NOT_EQUAL);
        self.e.load(RAX, At::Base(RBP, FETCH_HOST));
        self.e.memory(true, opcode::CMP, RAX, At::Near(cache));
        let other = self.e.branch_if(condition::NOT_EQUAL);
        self.leaves.push(Leave::Find { branches: [Some(unknown), Some(other)], link: cache | 1, offset });
        self.e.jump_memory(At::Near(cache + 8));
        Ok(())
    }

    pub(super) fn take_slots(&mut self, count: u64) -> u64 {
        let slot = self.slot;
        self.slot += 8 * count;
        slot
    }

    fn before_branch(&mut self) {
        self.save_flags();
        self.write_back_vectors();
    }

    /// Jcc.
    pub(super) fn conditional(&mut self, insn: &Instruction) -> Emitted {
        if insn.op0_kind() != OpKind::NearBranch64 {
            return Err(Unsupported);
        }
        let mut condition = condition_code(insn).ok_or(Unsupported)?;
        let next = insn.next_ip() as i64;
        let target = insn.near_branch_target() as i64;
        if let Some(follows) = self.follows() {
            // The other way leaves.
            let taken = follows as i64 == target;
            condition ^= u8::from(taken);
            let branch = self.branch_on(condition);
            self.leave_path(branch, if taken { next } else { target });
            return Ok(());
        }
        if self.flags != Flags::Memory {
            self.load_flags();
        }
        self.before_branch();
        let taken = self.branch_on(condition);
        self.exit(next, next <= 0)?;
        self.e.land(taken);
        self.exit(target, target <= 0)
    }

    /// Branches on a condition of the guest's flags, which stay where they are if that is in memory.
    fn branch_on(&mut self, condition: u8) -> usize {
        if let (Flags::Memory, Some((byte, mask))) = (self.flags, STORED.get(usize::from(condition >> 1))) {
            // test byte [flags], mask
            self.e.memory_with(false, &[0xf6], 0, context(field::FLAGS + byte), 1);
            self.e.byte(*mask);
            return self.e.branch_if(condition::NOT_EQUAL ^ condition & 1);
        }
        self.load_flags();
        self.e.branch_if(condition)
    }

    /// JMP to a direct target.
    pub(super) fn jump(&mut self, insn: &Instruction) -> Emitted {
        if insn.op0_kind() != OpKind::NearBranch64 {
            return Err(Unsupported);
        }
        if self.follows().is_some() {
            return Ok(());
        }
        self.before_branch();
        let target = insn.near_branch_target() as i64;
        self.exit(target, target <= 0)
    }

    /// Pushes the address of the next instruction.
    fn push_return(&mut self, insn: &Instruction) {
        self.e.lea(RAX, At::Base(STACK_POINTER, -8));
        self.translate_address(STACK_WRITE);
        self.e.load(RBP, context(field::PAGE));
        self.e.lea(RBP, At::Base(RBP, i32::from(self.source.offset) + insn.next_ip() as i32));
        self.e.store(RBP, At::Base(RAX, 0));
        self.e.immediate(true, group::SUB, STACK_POINTER, 8);
    }

    /// CALL of a direct target.
    pub(super) fn call_direct(&mut self, insn: &Instruction) -> Emitted {
        if insn.op0_kind() != OpKind::NearBranch64 {
            return Err(Unsupported);
        }
        if self.follows().is_some() {
            self.clobber_flags();
            self.push_return(insn);
            self.resume_here(false);
            return Ok(());
        }
        self.before_branch();
        self.flags = Flags::Memory;
        self.push_return(insn);
        self.end_slow(Vectors::default(), Back::End, true);
        let target = insn.near_branch_target() as i64;
        self.exit(target, target <= 0)
    }

    /// Puts a 64-bit operand into RAX.
    fn fetch(&mut self, insn: &Instruction) -> Emitted {
        match insn.op0_kind() {
            OpKind::Register => match home(insn.op0_register()).ok_or(Unsupported)? {
                Home::Host(host) => self.e.copy(RAX, host),
                Home::Spilled(index) => self.e.load(RAX, spilled(index)),
            },
            OpKind::Memory => {
                self.linear(insn)?;
                self.translate_address(STACK_READ);
                self.e.load(RAX, At::Base(RAX, 0));
            }
            _ => return Err(Unsupported),
        }
        Ok(())
    }

    /// JMP and CALL through a register or memory.
    pub(super) fn indirect(&mut self, insn: &Instruction, call: bool) -> Emitted {
        if !matches!(insn.code(), Code::Jmp_rm64 | Code::Call_rm64) {
            return Err(Unsupported);
        }
        self.before_branch();
        self.flags = Flags::Memory;
        self.fetch(insn)?;
        if !call {
            self.e.store(RAX, context(field::TARGET));
            let pending = emit_pending(&mut self.e);
            self.branches.push(pending);
            let misses = emit_lookup(&mut self.e, self.user, |_| {});
            self.end_lookup(Lookup { misses, popped: 0 });
            return Ok(());
        }
        self.e.store(RAX, context(field::TARGET));
        // Not canonical: a fault of the call itself.
        self.e.copy(RBP, RAX);
        self.e.shift(true, group::SHL, RBP, 16);
        self.e.shift(true, group::SAR, RBP, 16);
        self.e.registers(true, opcode::CMP, RBP, RAX);
        let odd = self.e.branch_if(condition::NOT_EQUAL);
        self.branches.push(odd);
        self.push_return(insn);
        self.end_slow(Vectors::default(), Back::End, true);
        self.e.store_immediate(true, context(field::LINK), 0);
        let branch = emit_pending(&mut self.e);
        self.leaves.push(Leave::FindTarget { branch });
        self.e.load(RAX, context(field::TARGET));
        for branch in emit_lookup(&mut self.e, self.user, |_| {}) {
            self.leaves.push(Leave::FindTarget { branch });
        }
        Ok(())
    }

    /// RET.
    pub(super) fn ret(&mut self, insn: &Instruction) -> Emitted {
        let extra = match insn.code() {
            Code::Retnq => 0,
            Code::Retnq_imm16 => i32::from(insn.immediate16()),
            _ => return Err(Unsupported),
        };
        self.before_branch();
        self.flags = Flags::Memory;
        self.e.copy(RAX, STACK_POINTER);
        self.translate_address(STACK_READ);
        self.e.load(RAX, At::Base(RAX, 0));
        let pending = emit_pending(&mut self.e);
        self.branches.push(pending);
        let commit =
            |e: &mut super::emitter::Emitter| e.immediate(true, group::ADD, STACK_POINTER, 8 + extra);
        let misses = emit_lookup(&mut self.e, self.user, commit);
        self.end_lookup(Lookup { misses, popped: 8 + extra });
        Ok(())
    }

    /// PUSH of a register, immediate or memory.
    pub(super) fn push(&mut self, insn: &Instruction) -> Emitted {
        let value = match insn.code() {
            Code::Push_rm64 if insn.op0_kind() == OpKind::Memory => return self.push_memory(insn),
            Code::Push_r64 => None,
            Code::Pushq_imm8 | Code::Pushq_imm32 => Some(insn.immediate(0) as i32),
            _ => return Err(Unsupported),
        };
        self.clobber_flags();
        self.e.lea(RAX, At::Base(STACK_POINTER, -8));
        self.translate_address(STACK_WRITE);
        match value {
            Some(value) => self.e.store_immediate(true, At::Base(RAX, 0), value),
            None => match home(insn.op0_register()).ok_or(Unsupported)? {
                Home::Host(host) => self.e.store(host, At::Base(RAX, 0)),
                Home::Spilled(index) => {
                    self.e.load(RBP, spilled(index));
                    self.e.store(RBP, At::Base(RAX, 0));
                }
            },
        }
        self.e.immediate(true, group::SUB, STACK_POINTER, 8);
        self.resume_here(false);
        Ok(())
    }

    fn push_memory(&mut self, insn: &Instruction) -> Emitted {
        self.clobber_flags();
        self.fetch(insn)?;
        self.e.store(RAX, context(field::TARGET));
        self.e.lea(RAX, At::Base(STACK_POINTER, -8));
        self.translate_address(STACK_WRITE);
        self.e.load(RBP, context(field::TARGET));
        self.e.store(RBP, At::Base(RAX, 0));
        self.e.immediate(true, group::SUB, STACK_POINTER, 8);
        self.resume_here(false);
        Ok(())
    }

    /// POP of a register.
    pub(super) fn pop(&mut self, insn: &Instruction) -> Emitted {
        if insn.code() != Code::Pop_r64 {
            return Err(Unsupported);
        }
        self.clobber_flags();
        self.e.copy(RAX, STACK_POINTER);
        self.translate_address(STACK_READ);
        match home(insn.op0_register()).ok_or(Unsupported)? {
            Home::Host(host) => self.e.load(host, At::Base(RAX, 0)),
            Home::Spilled(index) => {
                self.e.load(RBP, At::Base(RAX, 0));
                self.e.store(RBP, spilled(index));
            }
        }
        if insn.op0_register() != Register::RSP {
            self.e.immediate(true, group::ADD, STACK_POINTER, 8);
        }
        self.resume_here(false);
        Ok(())
    }

    /// LEAVE.
    pub(super) fn leave(&mut self, insn: &Instruction) -> Emitted {
        use super::registers::FRAME_POINTER;
        if insn.code() != Code::Leaveq {
            return Err(Unsupported);
        }
        self.clobber_flags();
        self.e.copy(RAX, FRAME_POINTER);
        self.translate_address(STACK_READ);
        self.e.lea(STACK_POINTER, At::Base(FRAME_POINTER, 8));
        self.e.load(FRAME_POINTER, At::Base(RAX, 0));
        self.resume_here(false);
        Ok(())
    }

    /// The slow path of the instruction just emitted comes back here.
    pub(super) fn resume_here(&mut self, flags: bool) {
        let back = Back::Resume { at: self.e.here(), flags };
        self.end_slow(self.vectors, back, flags);
    }
}
