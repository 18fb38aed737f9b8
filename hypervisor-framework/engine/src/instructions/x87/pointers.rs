//! Which instruction and operand the x87 unit saw last (SDM vol. 1, 8.1.8 and 8.1.9).

use super::state::Pointer;
use crate::block::{Exec, Op, Translator, exec, segment_number};
use crate::cpu::control::Mode;
use crate::cpu::{Cpu, slot};
use crate::exit::Access;

/// Longest instruction, bytes.
const MAX_INSTRUCTION: u64 = 15;

/// Fills in the memory operand of a waiting x87 instruction. Where its address is checked by a micro-op of its own, what
/// comes before an address fault is checked ahead of it.
pub(super) fn memory(t: &mut Translator<'_>, op: &mut Op) {
    guarded(t, op, exec!(|cpu: &mut Cpu, _op: &Op| super::ready(cpu)));
}

/// As [`memory`], of an instruction that does not wait.
pub(super) fn memory_without_waiting(t: &mut Translator<'_>, op: &mut Op) {
    guarded(t, op, exec!(|cpu: &mut Cpu, _op: &Op| super::available(cpu)));
}

fn guarded(t: &mut Translator<'_>, op: &mut Op, check: Exec) {
    if !t.mode.is64() && !t.mode.has(Mode::FLAT) {
        let guard = t.op(check);
        t.push(guard);
    }
    op.imm = u64::from(segment_number(t.insn.memory_segment()));
    t.memory(op);
}

/// Notes the running instruction.
#[inline(always)]
pub(super) fn note(cpu: &mut Cpu, op: &Op) {
    let offset = cpu.slot(slot::BLOCK_RIP).wrapping_add(u64::from(op.start));
    cpu.fpu.instruction = Pointer { offset, selector: cpu.segments[1].selector };
}

/// Notes the running instruction and its memory operand, at linear `address` through the segment in `op.imm`.
#[inline(always)]
pub(super) fn note_memory(cpu: &mut Cpu, op: &Op, address: u64) {
    note(cpu, op);
    let number = op.imm as usize & 7;
    let base = match number {
        4 => cpu.slot(slot::FS_BASE),
        5 => cpu.slot(slot::GS_BASE),
        _ if cpu.mode.is64() => 0,
        _ => cpu.segments[number].base,
    };
    let offset = cpu.wrap(address.wrapping_sub(base));
    cpu.fpu.operand = Pointer { offset, selector: cpu.segments[number].selector };
}

/// After an instruction that may have raised an unmasked exception: its opcode is kept for the handler.
#[inline(always)]
pub(super) fn note_exception(cpu: &mut Cpu, op: &Op) {
    if cpu.fpu.pending() {
        note_opcode(cpu, op);
    }
}

/// Reads the opcode from memory, as predecoded instructions do not have it.
#[cold]
fn note_opcode(cpu: &mut Cpu, op: &Op) {
    let rip = cpu.slot(slot::BLOCK_RIP).wrapping_add(u64::from(op.start));
    let byte = |cpu: &mut Cpu, i: u64| {
        let address = cpu.code_address(rip.wrapping_add(i));
        let cause = cpu.cause.clone();
        let found = cpu.translate(address, Access::Fetch).ok().map(|at| at.read::<u8>());
        cpu.cause = cause;
        found
    };
    for i in 0..MAX_INSTRUCTION {
        match byte(cpu, i) {
            Some(escape @ 0xd8..=0xdf) => {
                if let Some(modrm) = byte(cpu, i + 1) {
                    cpu.fpu.opcode = u16::from(escape & 7) << 8 | u16::from(modrm);
                }
                return;
            }
            Some(_) => {}
            None => return,
        }
    }
}
