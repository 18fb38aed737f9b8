//! Loads and stores of the lanes whose mask has its sign set: the others are not touched, so they do not fault.

use iced_x86::Mnemonic;

use super::ready;
use super::steps::{is_wide, set_ymm, ymm};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::memory::Scalar;

/// Lanes of `T` in `bytes` bytes: their numbers, with where they are.
pub(super) fn lanes<T: Scalar>(bytes: usize) -> impl DoubleEndedIterator<Item = Place> {
    (0..bytes / T::SIZE).map(|i| {
        let bits = 8 * T::SIZE * i;
        Place { number: i, half: bits / 128, shift: (bits % 128) as u32 }
    })
}

/// Where a lane is in a YMM register.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) number: usize,
    half: usize,
    shift: u32,
}

impl Place {
    pub(super) fn get<T: Scalar>(self, value: &[u128; 2]) -> T {
        T::narrow((value[self.half & 1] >> self.shift) as u64)
    }

    pub(super) fn set<T: Scalar>(self, value: &mut [u128; 2], lane: T) {
        let half = &mut value[self.half & 1];
        let mask = u128::from(u64::MAX >> (64 - 8 * T::SIZE)) << self.shift;
        *half = *half & !mask | u128::from(lane.widen()) << self.shift;
    }

    /// Is the lane's sign set?
    pub(super) fn chosen<T: Scalar>(self, mask: &[u128; 2]) -> bool {
        self.get::<T>(mask).widen() >> (8 * T::SIZE - 1) != 0
    }
}

/// `imm` is the mask's register.
fn load<T: Scalar, const SIZE: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let mask = ymm(cpu, op.imm as u8);
    let mut result = [0; 2];
    for place in lanes::<T>(SIZE).filter(|place| place.chosen::<T>(&mask)) {
        let at = cpu.wrap(address.wrapping_add((place.number * T::SIZE) as u64));
        place.set(&mut result, cpu.load::<T>(at)?);
    }
    set_ymm(cpu, op.dst, result);
    Ok(())
}

fn store<T: Scalar, const SIZE: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let mask = ymm(cpu, op.imm as u8);
    let value = ymm(cpu, op.src);
    let at = |cpu: &Cpu, place: Place| cpu.wrap(address.wrapping_add((place.number * T::SIZE) as u64));
    // All or nothing.
    for place in lanes::<T>(SIZE).filter(|place| place.chosen::<T>(&mask)) {
        cpu.probe_write(at(cpu, place), T::SIZE)?;
    }
    for place in lanes::<T>(SIZE).filter(|place| place.chosen::<T>(&mask)) {
        cpu.store(at(cpu, place), place.get::<T>(&value))?;
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
    op.imm = t.register(1).into();
    if stores {
        op.src = t.register(2);
    } else {
        op.dst = t.register(0);
    }
    t.memory(&mut op);
    t.push(op);
    true
}
