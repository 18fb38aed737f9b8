//! MOVS, STOS, LODS, CMPS, SCAS, with and without REP.

use iced_x86::{Mnemonic, OpKind};

use super::arithmetic::subtract;
use crate::block::{Flow, Op, Translator, ends, exec, segment_allows, segment_number};
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Trap, TrapCause, gpr, slot};
use crate::exit::Access;
use crate::memory::{PAGE_SIZE, Scalar};

/// Elements between looks at whether something is pending.
const BATCH: u64 = 4096;

/// `Op::scale`: address size in bytes; `Op::dst`: segment of the source.
fn offset_mask(op: &Op) -> u64 {
    match op.scale {
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

fn set_counter(cpu: &mut Cpu, register: u8, op: &Op, value: u64) {
    match op.scale {
        2 => cpu.set_reg(register, value as u16),
        4 => cpu.set_reg(register, value as u32),
        _ => cpu.set_slot(register, value),
    }
}

/// The linear address of a string element.
pub(super) fn element_address(
    cpu: &mut Cpu,
    segment: u8,
    offset: u64,
    size: u32,
    write: bool,
) -> Result<u64, Trap> {
    if cpu.mode.is64() {
        let base = match segment {
            4 => cpu.slot(slot::FS_BASE),
            5 => cpu.slot(slot::GS_BASE),
            _ => 0,
        };
        return Ok(offset.wrapping_add(base));
    }
    let descriptor = cpu.segments[segment as usize & 7];
    if !segment_allows(&descriptor, offset, size, write) {
        cpu.cause = TrapCause::BadAddress;
        return Err(Trap);
    }
    Ok(offset.wrapping_add(cpu.segment_base(segment)) & 0xffff_ffff)
}

fn source<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
    let offset = cpu.slot(gpr::RSI) & offset_mask(op);
    element_address(cpu, op.dst, offset, T::SIZE as u32, false)
}

fn destination<T: Scalar>(cpu: &mut Cpu, op: &Op, write: bool) -> Result<u64, Trap> {
    let offset = cpu.slot(gpr::RDI) & offset_mask(op);
    element_address(cpu, 0, offset, T::SIZE as u32, write)
}

/// Moves an index register by `elements`.
fn advance<T: Scalar>(cpu: &mut Cpu, register: u8, op: &Op, elements: u64) {
    let bytes = elements.wrapping_mul(T::SIZE as u64);
    let bytes = if cpu.flags.has(bit::DF) { bytes.wrapping_neg() } else { bytes };
    let value = (cpu.slot(register) & offset_mask(op)).wrapping_add(bytes) & offset_mask(op);
    set_counter(cpu, register, op, value);
}

/// One kind of string instruction.
trait Kind {
    /// It compares, so that REPE and REPNE look at ZF.
    const COMPARES: bool = false;
    /// One element; index registers move.
    fn step<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap>;
    /// Up to `count` elements at once where that is simple; 0 if it is not. Registers but RCX move.
    fn bulk<T: Scalar>(_cpu: &mut Cpu, _op: &Op, _count: u64) -> Result<u64, Trap> {
        Ok(0)
    }
}

struct Movs;
struct Stos;
struct Lods;
struct Cmps;
struct Scas;

/// Elements from `address` to the end of its page.
fn to_page_end<T: Scalar>(address: u64) -> u64 {
    (PAGE_SIZE as u64 - (address & (PAGE_SIZE as u64 - 1))) / T::SIZE as u64
}

/// Bulk work needs ascending flat addresses.
fn simple(cpu: &Cpu) -> bool {
    cpu.mode.is64() && !cpu.flags.has(bit::DF)
}

impl Kind for Movs {
    fn step<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
        let from = source::<T>(cpu, op)?;
        let value: T = cpu.load(from)?;
        let to = destination::<T>(cpu, op, true)?;
        cpu.store(to, value)?;
        advance::<T>(cpu, gpr::RSI, op, 1);
        advance::<T>(cpu, gpr::RDI, op, 1);
        Ok(())
    }

    fn bulk<T: Scalar>(cpu: &mut Cpu, op: &Op, count: u64) -> Result<u64, Trap> {
        if !simple(cpu) || op.scale != 8 {
            return Ok(0);
        }
        let (from, to) = (source::<T>(cpu, op)?, destination::<T>(cpu, op, true)?);
        let count = count.min(to_page_end::<T>(from)).min(to_page_end::<T>(to));
        let len = count as usize * T::SIZE;
        // Only what the TLB allows: everything else takes the path that checks.
        if len == 0 || cpu.mmu.lookup_read(from, 1).is_none() || cpu.mmu.lookup_write(to, 1).is_none() {
            return Ok(0);
        }
        let source = cpu.translate(from, Access::Read)?;
        let target = cpu.translate(to, Access::Write)?;
        // A destination shortly behind the source repeats a pattern.
        let distance = target.address().wrapping_sub(source.address());
        if distance < len {
            return Ok(0);
        }
        source.copy_to(target, len);
        advance::<T>(cpu, gpr::RSI, op, count);
        advance::<T>(cpu, gpr::RDI, op, count);
        Ok(count)
    }
}

impl Kind for Stos {
    fn step<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
        let to = destination::<T>(cpu, op, true)?;
        let value: T = cpu.reg(gpr::RAX);
        cpu.store(to, value)?;
        advance::<T>(cpu, gpr::RDI, op, 1);
        Ok(())
    }

    fn bulk<T: Scalar>(cpu: &mut Cpu, op: &Op, count: u64) -> Result<u64, Trap> {
        let value = cpu.reg::<T>(gpr::RAX).widen();
        let byte = value as u8;
        let uniform = T::narrow(u64::from_ne_bytes([byte; 8])).widen() == value;
        if !simple(cpu) || op.scale != 8 || !uniform {
            return Ok(0);
        }
        let to = destination::<T>(cpu, op, true)?;
        let count = count.min(to_page_end::<T>(to));
        if count == 0 || cpu.mmu.lookup_write(to, 1).is_none() {
            return Ok(0);
        }
        cpu.translate(to, Access::Write)?.fill(byte, count as usize * T::SIZE);
        advance::<T>(cpu, gpr::RDI, op, count);
        Ok(count)
    }
}

impl Kind for Lods {
    fn step<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
        let from = source::<T>(cpu, op)?;
        let value: T = cpu.load(from)?;
        cpu.set_reg(gpr::RAX, value);
        advance::<T>(cpu, gpr::RSI, op, 1);
        Ok(())
    }
}

impl Kind for Cmps {
    const COMPARES: bool = true;
    fn step<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
        let from = source::<T>(cpu, op)?;
        let a: T = cpu.load(from)?;
        let to = destination::<T>(cpu, op, false)?;
        let b: T = cpu.load(to)?;
        subtract(&mut cpu.flags, a, b, false);
        advance::<T>(cpu, gpr::RSI, op, 1);
        advance::<T>(cpu, gpr::RDI, op, 1);
        Ok(())
    }
}

impl Kind for Scas {
    const COMPARES: bool = true;
    fn step<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
        let to = destination::<T>(cpu, op, false)?;
        let b: T = cpu.load(to)?;
        let a: T = cpu.reg(gpr::RAX);
        subtract(&mut cpu.flags, a, b, false);
        advance::<T>(cpu, gpr::RDI, op, 1);
        Ok(())
    }
}

fn once<K: Kind, T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    K::step::<T>(cpu, op)
}

/// `Op::src`: 1 REP/REPE, 2 REPNE.
fn repeat<K: Kind, T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let mask = offset_mask(op);
    let mut batch = BATCH;
    loop {
        let count = cpu.slot(gpr::RCX) & mask;
        if count == 0 {
            return Ok(Flow::Fall);
        }
        if batch == 0 {
            batch = BATCH;
            if cpu.mailbox.pending() != 0 || cpu.wants_attention() {
                // The instruction goes on later: RIP stays at it, and it counts when it is done.
                cpu.instructions = cpu.instructions.wrapping_sub(1);
                cpu.rip = cpu.next_rip(op).wrapping_sub(u64::from(op.len));
                return Ok(Flow::Stop);
            }
        }
        let done = match K::bulk::<T>(cpu, op, count.min(batch))? {
            0 => {
                K::step::<T>(cpu, op)?;
                1
            }
            done => done,
        };
        batch = batch.saturating_sub(done);
        set_counter(cpu, gpr::RCX, op, count.wrapping_sub(done) & mask);
        if K::COMPARES && cpu.flags.zero() != (op.src == 1) {
            return Ok(Flow::Fall);
        }
    }
}

/// Address size in bytes, from the kinds of the implied operands.
pub(super) fn address_size(t: &Translator<'_>) -> u8 {
    for operand in 0..t.insn.op_count() {
        match t.insn.op_kind(operand) {
            OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => return 2,
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => return 4,
            _ => {}
        }
    }
    8
}

fn string<K: Kind>(t: &mut Translator<'_>, size: usize) {
    let repeats = t.insn.has_rep_prefix() || t.insn.has_repne_prefix();
    macro_rules! pick {
        ($wrap:ident, $f:ident) => {
            match size {
                1 => $wrap!($f::<K, u8>),
                2 => $wrap!($f::<K, u16>),
                4 => $wrap!($f::<K, u32>),
                _ => $wrap!($f::<K, u64>),
            }
        };
    }
    let mut op = t.op(if repeats { pick!(ends, repeat) } else { pick!(exec, once) });
    op.scale = address_size(t);
    op.dst = segment_number(t.insn.memory_segment());
    op.src = if t.insn.has_repne_prefix() { 2 } else { 1 };
    if repeats {
        t.push_end(op);
    } else {
        t.push(op);
    }
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    // MOVSD and CMPSD are SSE instructions, too.
    if !t.insn.is_string_instruction() {
        return false;
    }
    match t.insn.mnemonic() {
        Mnemonic::Movsb => string::<Movs>(t, 1),
        Mnemonic::Movsw => string::<Movs>(t, 2),
        Mnemonic::Movsd => string::<Movs>(t, 4),
        Mnemonic::Movsq => string::<Movs>(t, 8),
        Mnemonic::Stosb => string::<Stos>(t, 1),
        Mnemonic::Stosw => string::<Stos>(t, 2),
        Mnemonic::Stosd => string::<Stos>(t, 4),
        Mnemonic::Stosq => string::<Stos>(t, 8),
        Mnemonic::Lodsb => string::<Lods>(t, 1),
        Mnemonic::Lodsw => string::<Lods>(t, 2),
        Mnemonic::Lodsd => string::<Lods>(t, 4),
        Mnemonic::Lodsq => string::<Lods>(t, 8),
        Mnemonic::Cmpsb => string::<Cmps>(t, 1),
        Mnemonic::Cmpsw => string::<Cmps>(t, 2),
        Mnemonic::Cmpsd => string::<Cmps>(t, 4),
        Mnemonic::Cmpsq => string::<Cmps>(t, 8),
        Mnemonic::Scasb => string::<Scas>(t, 1),
        Mnemonic::Scasw => string::<Scas>(t, 2),
        Mnemonic::Scasd => string::<Scas>(t, 4),
        Mnemonic::Scasq => string::<Scas>(t, 8),
        _ => return false,
    }
    true
}
