//! REP MOVS and REP STOS: upwards and within a page they are the host's own.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::context::field;
use super::emitter::host::{RAX, RBP, RCX, RDI, RSI};
use super::emitter::{At, Emitter, condition, group, opcode};
use super::memory::{HOST, READ, WRITE, emit_tlb_entry};
use super::registers::ACCUMULATOR;
use super::stubs::{context, emit_enter, emit_return, state};
use super::unit::{Builder, Emitted, Unsupported};
use crate::cpu::flags::bit;

const PAGE_SIZE: i32 = 4096;

/// `[base + RCX elements]`
fn behind(base: u8, size: u8) -> At {
    At::Indexed { base: Some(base), index: RCX, scale: size, disp: 0 }
}

/// Puts the host's address of the run at linear address `from` into RBP, or branches; RAX is lost.
fn emit_run(e: &mut Emitter, from: u8, size: u8, tag: i32, slow: &mut Vec<usize>) {
    e.copy(RAX, from);
    emit_tlb_entry(e);
    e.memory(true, opcode::XOR, RAX, At::Base(RBP, tag));
    e.immediate(true, group::CMP, RAX, PAGE_SIZE - 1);
    slow.push(e.branch_if(condition::ABOVE));
    e.load(RBP, At::Base(RBP, HOST));
    e.lea(RBP, At::Indexed { base: Some(RBP), index: RAX, scale: 0, disp: 0 });
    e.lea(RAX, behind(RAX, size));
    e.immediate(true, group::CMP, RAX, PAGE_SIZE);
    slow.push(e.branch_if(condition::ABOVE));
}

/// Writes the stub for elements of 1 << `size` bytes; see [`super::stubs::Stubs::moves`]. RAX, RBP and flags are lost.
pub(super) fn emit(e: &mut Emitter, size: u8, moves: bool) -> u64 {
    let here = e.address_here();
    let mut slow = Vec::new();
    emit_enter(e);
    e.load(RBP, context(field::CPU));
    e.memory_with(false, &[0xf7], 0, At::Base(RBP, state::SYSTEM_FLAGS), 4);
    e.imm32(bit::DF as i32);
    slow.push(e.branch_if(condition::NOT_EQUAL));
    e.immediate(true, group::CMP, RCX, PAGE_SIZE >> size);
    slow.push(e.branch_if(condition::ABOVE));
    if moves {
        emit_run(e, RSI, size, READ, &mut slow);
        e.store(RBP, context(field::TARGET));
    }
    emit_run(e, RDI, size, WRITE, &mut slow);
    e.lea(RAX, behind(RDI, size));
    e.store(RAX, context(field::ENDS));
    if moves {
        e.lea(RAX, behind(RSI, size));
        e.store(RAX, context(field::ENDS + 8));
        e.load(RSI, context(field::TARGET));
    } else {
        e.copy(RAX, ACCUMULATOR);
    }
    e.copy(RDI, RBP);
    // rep movs, rep stos
    let operation = if moves { 0xa4 } else { 0xaa } | u8::from(size != 0);
    match size {
        1 => e.raw(&[0x66, 0xf3, operation]),
        3 => e.raw(&[0xf3, 0x48, operation]),
        _ => e.raw(&[0xf3, operation]),
    }
    e.load(RDI, context(field::ENDS));
    if moves {
        e.load(RSI, context(field::ENDS + 8));
    }
    e.registers(false, opcode::XOR, RAX, RAX);
    emit_return(e);
    for branch in slow {
        e.land(branch);
    }
    e.immediate(false, group::OR, RAX, 1);
    emit_return(e);
    here
}

impl Builder<'_> {
    /// REP MOVS and REP STOS. What is not within a page each, or goes downwards, is the interpreter's.
    pub(super) fn string(&mut self, insn: &Instruction) -> Emitted {
        use Mnemonic as M;
        let (moves, size) = match insn.mnemonic() {
            M::Movsb => (true, 0),
            M::Movsw => (true, 1),
            M::Movsd => (true, 2),
            M::Movsq => (true, 3),
            M::Stosb => (false, 0),
            M::Stosw => (false, 1),
            M::Stosd => (false, 2),
            M::Stosq => (false, 3),
            _ => return Err(Unsupported),
        };
        let wide = (0..insn.op_count())
            .all(|i| !matches!(insn.op_kind(i), OpKind::MemorySegESI | OpKind::MemoryESEDI));
        let based = matches!(insn.segment_prefix(), Register::FS | Register::GS);
        if !insn.has_rep_prefix() || !wide || based {
            return Err(Unsupported);
        }
        self.clobber_flags();
        let stubs = if moves { self.stubs.moves } else { self.stubs.stores };
        self.e.call(stubs[size]);
        let slow = self.e.branch_if(condition::NOT_EQUAL);
        self.branches.push(slow);
        self.resume_here(false);
        Ok(())
    }
}
