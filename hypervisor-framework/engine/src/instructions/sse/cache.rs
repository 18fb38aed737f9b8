//! Fences, prefetches, cache line flushes, and stores that bypass caches.

use std::sync::atomic::{Ordering, fence};

use iced_x86::{Code, Mnemonic, OpKind};

use super::lane::Lane;
use super::operand::{Encoding, Legacy, Vex, xmm};
use crate::SegmentRegister;
use crate::block::{Exec, Op, Translator, exec, segment_allows, segment_number};
use crate::cpu::control::Mode;
use crate::cpu::{Cpu, Trap, TrapCause, gpr, slot};
use crate::exit::Access;

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        // Prefetches never fault, and this memory has no cache to fill.
        Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetchwt1
        | Mnemonic::Sfence => {
            let op = t.op(exec!(nothing));
            t.push(op);
        }
        Mnemonic::Lfence | Mnemonic::Mfence => {
            let op = t.op(exec!(full_fence));
            t.push(op);
        }
        Mnemonic::Clflush | Mnemonic::Clflushopt | Mnemonic::Clwb => {
            let mut op = t.op(exec!(flush_line));
            t.memory(&mut op);
            t.push(op);
        }
        Mnemonic::Movnti => {
            let wide = t.insn.code() == Code::Movnti_m64_r64;
            let mut op = t.op(if wide { exec!(store_64) } else { exec!(store_32) });
            op.src = t.register(1);
            t.memory(&mut op);
            t.push(op);
        }
        Mnemonic::Maskmovdqu => masked_store(t, exec!(store_masked::<Legacy>)),
        Mnemonic::Vmaskmovdqu => masked_store(t, exec!(store_masked::<Vex>)),
        _ => return false,
    }
    true
}

fn nothing(_cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    Ok(())
}

fn full_fence(_cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    fence(Ordering::SeqCst);
    Ok(())
}

/// A flush faults as a one-byte load does.
fn flush_line(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = cpu.address(op);
    cpu.translate(address, Access::Read).map(|_| ())
}

fn store_32(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = cpu.address(op);
    cpu.store(address, cpu.reg::<u32>(op.src))
}

fn store_64(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = cpu.address(op);
    cpu.store(address, cpu.reg::<u64>(op.src))
}

/// MASKMOVDQU: `dst` data, `src` mask, `imm` the address mask, `index` the segment.
fn masked_store(t: &mut Translator<'_>, exec: Exec) {
    let mut op = t.op(exec);
    op.dst = t.register(1);
    op.src = t.register(2);
    op.imm = match t.insn.op_kind(0) {
        OpKind::MemorySegDI => 0xffff,
        OpKind::MemorySegEDI => 0xffff_ffff,
        _ => u64::MAX,
    };
    op.index = segment_number(t.insn.memory_segment());
    if op.index == SegmentRegister::Ss as u8 && !t.mode.is64() {
        op.flags |= Op::STACK_SEGMENT;
    }
    t.push(op);
}

fn store_masked<E: Encoding>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    E::ready(cpu)?;
    let data = u8::split(xmm(cpu, op.dst));
    let mask = u8::split(xmm(cpu, op.src));
    let chosen = |i: &usize| mask[*i] & 0x80 != 0;
    let (Some(first), Some(last)) = ((0..16).find(chosen), (0..16).rfind(chosen)) else {
        return Ok(());
    };
    let address = masked_address(cpu, op)?;
    let at = |cpu: &Cpu, i: usize| cpu.wrap(address.wrapping_add(i as u64));
    // All or nothing.
    let start = at(cpu, first);
    cpu.probe_write(start, last - first + 1)?;
    for i in (first..=last).filter(chosen) {
        let address = at(cpu, i);
        cpu.store(address, data[i])?;
    }
    Ok(())
}

/// The linear address of what RDI points at, after the checks of its segment.
fn masked_address(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
    let offset = cpu.reg::<u64>(gpr::RDI) & op.imm;
    let base = match op.index {
        4 => cpu.slot(slot::FS_BASE),
        5 => cpu.slot(slot::GS_BASE),
        _ => 0,
    };
    let flat = op.index <= SegmentRegister::Ds as u8 && op.index != SegmentRegister::Cs as u8;
    if cpu.mode.is64() || cpu.mode.has(Mode::FLAT) && flat {
        return Ok(cpu.wrap(offset.wrapping_add(base)));
    }
    let segment = cpu.segments[op.index as usize & 7];
    if !segment_allows(&segment, offset & 0xffff_ffff, 16, true) {
        cpu.cause = TrapCause::BadAddress;
        return Err(Trap);
    }
    Ok(offset.wrapping_add(segment.base) & 0xffff_ffff)
}
