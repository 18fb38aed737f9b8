//! FXSAVE and FXRSTOR (SDM vol. 1, 10.5).

use iced_x86::Mnemonic;

use super::legacy::{self, Pointers};
use crate::block::{Op, Translator, exec};
use crate::cpu::{Cpu, Trap, trap_vector as vector};

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec = match t.insn.mnemonic() {
        Mnemonic::Fxsave => exec!(save::<false>),
        Mnemonic::Fxsave64 => exec!(save::<true>),
        Mnemonic::Fxrstor => exec!(restore::<false>),
        Mnemonic::Fxrstor64 => exec!(restore::<true>),
        _ => return false,
    };
    let mut op = t.op(exec);
    t.memory(&mut op);
    t.push(op);
    true
}

const fn format(wide: bool) -> Pointers {
    if wide { Pointers::Near } else { Pointers::Far }
}

/// #NM, and #GP for an address that is not a multiple of 16.
fn check(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
    if cpu.fpu_blocked & 1 != 0 {
        return Err(cpu.fault(vector::NM));
    }
    let address = cpu.address(op);
    if address & 15 != 0 {
        return Err(cpu.general_protection());
    }
    Ok(address)
}

/// The bytes behind the last register are left alone.
fn save<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = check(cpu, op)?;
    let count = legacy::xmm_count(cpu);
    let mut image = [0; legacy::SIZE];
    legacy::put_x87(&mut image, &cpu.fpu, format(WIDE));
    legacy::put_mxcsr(&mut image, cpu.mxcsr);
    legacy::put_xmm(&mut image, cpu, count);
    let used = legacy::XMM + 16 * count;
    cpu.probe_write(address, used)?;
    store_blocks(cpu, address, &image[..used])
}

fn restore<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = check(cpu, op)?;
    let count = legacy::xmm_count(cpu);
    let mut image = [0; legacy::SIZE];
    load_blocks(cpu, address, &mut image[..legacy::XMM + 16 * count])?;
    let Some(mxcsr) = legacy::get_mxcsr(&image) else {
        return Err(cpu.general_protection());
    };
    legacy::get_x87(&image, &mut cpu.fpu, format(WIDE));
    cpu.mxcsr = mxcsr;
    legacy::get_xmm(&image, cpu, count);
    Ok(())
}

/// Stores whole blocks of eight bytes.
pub(super) fn store_blocks(cpu: &mut Cpu, address: u64, bytes: &[u8]) -> Result<(), Trap> {
    for (i, block) in bytes.as_chunks::<8>().0.iter().enumerate() {
        let at = cpu.wrap(address.wrapping_add(8 * i as u64));
        cpu.store(at, u64::from_le_bytes(*block))?;
    }
    Ok(())
}

/// Loads whole blocks of eight bytes.
pub(super) fn load_blocks(cpu: &mut Cpu, address: u64, bytes: &mut [u8]) -> Result<(), Trap> {
    for (i, block) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let at = cpu.wrap(address.wrapping_add(8 * i as u64));
        *block = cpu.load::<u64>(at)?.to_le_bytes();
    }
    Ok(())
}
