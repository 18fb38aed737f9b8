//! Gathers: each lane from an address of its own. What has been gathered before a fault stays, with its mask cleared, so
//! that the instruction goes on from there.

use iced_x86::{Mnemonic, Register};

use super::masked::{Place, lanes};
use super::ready;
use super::steps::{is_wide, set_ymm, ymm};
use crate::block::{Exec, Op, Translator, exec, segment_allows, segment_number};
use crate::cpu::{Cpu, Trap, TrapCause, slot};
use crate::memory::Scalar;

/// What `imm` holds: the mask's register in 3:0, the segment in 7:4, bytes of an address in 15:8, bytes of the
/// destination in 23:16, those of indices in 31:24.
struct Fields(u64);

impl Fields {
    fn mask(&self) -> u8 {
        self.0 as u8 & 15
    }

    fn segment(&self) -> u8 {
        (self.0 >> 4) as u8 & 15
    }

    fn address_mask(&self) -> u64 {
        match self.0 >> 8 & 0xff {
            2 => 0xffff,
            4 => 0xffff_ffff,
            _ => u64::MAX,
        }
    }

    fn destination(&self) -> usize {
        (self.0 >> 16) as usize & 0xff
    }

    fn indices(&self) -> usize {
        (self.0 >> 24) as usize & 0xff
    }
}

/// The linear address of an element of `size` bytes.
fn element(cpu: &mut Cpu, op: &Op, fields: &Fields, index: u64, size: usize) -> Result<u64, Trap> {
    let offset = cpu
        .slot(op.base)
        .wrapping_add(index << (op.scale & 3))
        .wrapping_add(op.disp as i64 as u64)
        & fields.address_mask();
    if cpu.mode.is64() {
        let base = match fields.segment() {
            4 => cpu.slot(slot::FS_BASE),
            5 => cpu.slot(slot::GS_BASE),
            _ => 0,
        };
        return Ok(offset.wrapping_add(base));
    }
    let segment = cpu.segments[usize::from(fields.segment() & 7)];
    let offset = offset & 0xffff_ffff;
    if !segment_allows(&segment, offset, size as u32, false) {
        cpu.cause = TrapCause::BadAddress;
        return Err(Trap);
    }
    let base = cpu.segment_base(fields.segment());
    Ok(offset.wrapping_add(base) & 0xffff_ffff)
}

/// Elements of `T` by indices of `I`: `dst` the destination, `index` the register of indices.
fn gather<T: Scalar, I: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let fields = Fields(op.imm);
    let indices = ymm(cpu, op.index);
    let count = (fields.destination() / T::SIZE).min(fields.indices() / I::SIZE);
    let unused = 64 - 8 * I::SIZE as u32;
    let (mut mask, mut result) = (ymm(cpu, fields.mask()), ymm(cpu, op.dst));
    let places: Vec<(Place, Place)> =
        lanes::<T>(fields.destination()).zip(lanes::<I>(fields.indices())).take(count).collect();
    for (place, index) in places {
        if !place.chosen::<T>(&mask) {
            place.set(&mut mask, T::narrow(0));
            continue;
        }
        let index = (index.get::<I>(&indices).widen() << unused) as i64 >> unused;
        let loaded = element(cpu, op, &fields, index as u64, T::SIZE).and_then(|at| cpu.load::<T>(at));
        match loaded {
            Ok(value) => {
                place.set(&mut result, value);
                place.set(&mut mask, T::narrow(0));
            }
            Err(trap) => {
                set_ymm(cpu, op.dst, result);
                set_ymm(cpu, fields.mask(), mask);
                return Err(trap);
            }
        }
    }
    // What lies above the elements becomes 0.
    let bytes = count * T::SIZE;
    for place in lanes::<u64>(32).filter(|place| 8 * place.number >= bytes) {
        place.set(&mut result, 0_u64);
    }
    set_ymm(cpu, op.dst, result);
    set_ymm(cpu, fields.mask(), [0; 2]);
    Ok(())
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec: Exec = match t.insn.mnemonic() {
        Mnemonic::Vpgatherdd | Mnemonic::Vgatherdps => exec!(gather::<u32, u32>),
        Mnemonic::Vpgatherqd | Mnemonic::Vgatherqps => exec!(gather::<u32, u64>),
        Mnemonic::Vpgatherdq | Mnemonic::Vgatherdpd => exec!(gather::<u64, u32>),
        Mnemonic::Vpgatherqq | Mnemonic::Vgatherqpd => exec!(gather::<u64, u64>),
        _ => return false,
    };
    let insn = t.insn;
    let (destination, index, mask) = (insn.op0_register(), insn.memory_index(), insn.op2_register());
    let same = |a: Register, b: Register| a.number() == b.number();
    if same(destination, index) || same(destination, mask) || same(index, mask) {
        return false;
    }
    let mut op = t.op(exec);
    op.dst = t.register(0);
    op.index = index.number() as u8;
    op.scale = insn.memory_index_scale().trailing_zeros() as u8;
    let base = insn.memory_base();
    if base != Register::None {
        op.base = base.number() as u8;
    }
    // VSIB has no displacement beyond 32 bits.
    op.disp = insn.memory_displacement64() as i32;
    let address_bytes: u64 = if base.is_gpr32() || base == Register::None && insn.memory_displ_size() == 4 {
        4
    } else if base.is_gpr16() {
        2
    } else {
        8
    };
    let bytes = |wide: bool| if wide { 32 } else { 16 };
    op.imm = mask.number() as u64
        | u64::from(segment_number(insn.memory_segment())) << 4
        | address_bytes << 8
        | bytes(is_wide(t, 0)) << 16
        | bytes(index.is_ymm()) << 24;
    if insn.memory_segment() == Register::SS
        && (!t.mode.is64() || matches!(base, Register::RSP | Register::RBP | Register::ESP | Register::EBP))
    {
        op.flags |= Op::STACK_SEGMENT;
    }
    t.push(op);
    true
}
