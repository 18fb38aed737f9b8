//! Gathers: each lane from an address of its own. What has been gathered before a fault stays, with its mask cleared, so
//! that the instruction goes on from there.

use iced_x86::{Mnemonic, Register};

use super::elements::{Fields, Place, lanes};
use super::ready;
use super::steps::{is_wide, set_ymm, ymm};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::memory::Scalar;

/// Elements of `T` by indices of `I`: `dst` the destination, `index` the register of indices.
fn gather<T: Scalar, I: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let fields = Fields::from_imm(op.imm);
    let indices = ymm(cpu, op.index);
    let count = (fields.vector() / T::SIZE).min(fields.indices() / I::SIZE);
    let unused = 64 - 8 * I::SIZE as u32;
    let (mut mask, mut result) = (ymm(cpu, fields.mask()), ymm(cpu, op.dst));
    let places: Vec<(Place, Place)> =
        lanes::<T>(fields.vector()).zip(lanes::<I>(fields.indices())).take(count).collect();
    for (place, index) in places {
        if !place.chosen::<T>(&mask) {
            place.set(&mut mask, T::narrow(0));
            continue;
        }
        let index = (index.get::<I>(&indices).widen() << unused) as i64 >> unused;
        let loaded = fields
            .linear(cpu, op, (index as u64) << (op.scale & 3), T::SIZE, false)
            .and_then(|at| cpu.load::<T>(at));
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
    let bytes = |wide: bool| if wide { 32 } else { 16 };
    op.imm = Fields::new(mask.number() as u8, bytes(is_wide(t, 0)), bytes(index.is_ymm())).of(t, &mut op);
    t.push(op);
    true
}
