//! Loads and stores of the lanes whose mask has its sign set: the others are not touched, so they do not fault.

use iced_x86::{Mnemonic, Register};

use super::elements::{Fields, Place, lanes};
use super::ready;
use super::steps::{is_wide, set_ymm, ymm};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::{Cpu, Trap, slot};
use crate::memory::Scalar;

/// `imm` without an address: [`Cpu::address`] has it. In legacy modes each element is looked at by itself, as those that
/// are not touched may lie beyond the segment.
fn element<T: Scalar>(cpu: &mut Cpu, op: &Op, place: Place, write: bool) -> Result<u64, Trap> {
    let from = (place.number * T::SIZE) as u64;
    if cpu.mode.is64() {
        return Ok(cpu.address(op).wrapping_add(from));
    }
    let index = if op.index == slot::ZERO { 0 } else { cpu.slot(op.index) << (op.scale & 3) };
    Fields::from_imm(op.imm).linear(cpu, op, index.wrapping_add(from), T::SIZE, write)
}

fn load<T: Scalar, const SIZE: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let mask = ymm(cpu, op.imm as u8 & 15);
    let mut result = [0; 2];
    for place in lanes::<T>(SIZE).filter(|place| place.chosen::<T>(&mask)) {
        let at = element::<T>(cpu, op, place, false)?;
        place.set(&mut result, cpu.load::<T>(at)?);
    }
    set_ymm(cpu, op.dst, result);
    Ok(())
}

fn store<T: Scalar, const SIZE: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let mask = ymm(cpu, op.imm as u8 & 15);
    let value = ymm(cpu, op.src);
    // All or nothing.
    for place in lanes::<T>(SIZE).filter(|place| place.chosen::<T>(&mask)) {
        let at = element::<T>(cpu, op, place, true)?;
        cpu.probe_write(at, T::SIZE)?;
    }
    for place in lanes::<T>(SIZE).filter(|place| place.chosen::<T>(&mask)) {
        let at = element::<T>(cpu, op, place, true)?;
        cpu.store(at, place.get::<T>(&value))?;
    }
    Ok(())
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let double = match t.insn.mnemonic() {
        Mnemonic::Vmaskmovps | Mnemonic::Vpmaskmovd => false,
        Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovq => true,
        _ => return false,
    };
    macro_rules! pick {
        ($f:ident, $wide:expr) => {
            match (double, $wide) {
                (false, false) => exec!($f::<u32, 16>) as Exec,
                (false, true) => exec!($f::<u32, 32>),
                (true, false) => exec!($f::<u64, 16>),
                (true, true) => exec!($f::<u64, 32>),
            }
        };
    }
    let stores = t.is_memory(0);
    let mut op = t.op(if stores { pick!(store, is_wide(t, 2)) } else { pick!(load, is_wide(t, 0)) });
    let mask = Fields::new(t.register(1), 0, 0);
    if stores {
        op.src = t.register(2);
    } else {
        op.dst = t.register(0);
    }
    if t.mode.is64() {
        op.imm = t.register(1).into();
        t.memory(&mut op);
    } else {
        let index = t.insn.memory_index();
        if index != Register::None {
            op.index = index.number() as u8;
            op.scale = t.insn.memory_index_scale().trailing_zeros() as u8;
        }
        op.imm = mask.of(t, &mut op);
    }
    t.push(op);
    true
}
