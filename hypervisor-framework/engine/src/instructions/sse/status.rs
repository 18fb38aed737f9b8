//! MXCSR (SDM vol. 1, 10.2.3).

use iced_x86::Mnemonic;

use super::operand::{Encoding, Legacy, Vex};
use crate::block::{Op, Translator, exec};
use crate::cpu::{Cpu, Trap};

/// Bits that may be set.
const DEFINED: u32 = 0xffff;

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec = match t.insn.mnemonic() {
        Mnemonic::Ldmxcsr => exec!(load::<Legacy>),
        Mnemonic::Stmxcsr => exec!(store::<Legacy>),
        Mnemonic::Vldmxcsr => exec!(load::<Vex>),
        Mnemonic::Vstmxcsr => exec!(store::<Vex>),
        _ => return false,
    };
    let mut op = t.op(exec);
    t.memory(&mut op);
    t.push(op);
    true
}

fn load<E: Encoding>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    E::ready(cpu)?;
    let address = cpu.address(op);
    let value = cpu.load::<u32>(address)?;
    if value & !DEFINED != 0 {
        return Err(cpu.general_protection());
    }
    cpu.mxcsr = value;
    Ok(())
}

fn store<E: Encoding>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    E::ready(cpu)?;
    let address = cpu.address(op);
    cpu.store(address, cpu.mxcsr)
}
