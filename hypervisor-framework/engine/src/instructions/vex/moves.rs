//! Whole registers to and from memory, and clearing of upper halves: one micro-op each, as they are the most frequent.

use iced_x86::{Code, Mnemonic};

use super::ready;
use super::steps::{is_wide, load, set_ymm, ymm};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::operand::xmm;

/// The bytes of a YMM register.
const WIDE: usize = 32;

/// #GP unless the address is a multiple of `SIZE`.
fn aligned<const SIZE: usize>(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
    let address = cpu.address(op);
    if address.is_multiple_of(SIZE as u64) { Ok(address) } else { Err(cpu.general_protection()) }
}

fn move_register<const SIZE: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let [low, high] = ymm(cpu, op.src);
    set_ymm(cpu, op.dst, [low, if SIZE == WIDE { high } else { 0 }]);
    Ok(())
}

fn load_register<const SIZE: usize, const ALIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = if ALIGNED { aligned::<SIZE>(cpu, op)? } else { cpu.address(op) };
    let value = load::<SIZE>(cpu, address)?;
    set_ymm(cpu, op.dst, value);
    Ok(())
}

fn store_register<const SIZE: usize, const ALIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = if ALIGNED { aligned::<SIZE>(cpu, op)? } else { cpu.address(op) };
    let [low, high] = ymm(cpu, op.src);
    if SIZE != WIDE {
        return cpu.store_u128(address, low);
    }
    let upper = cpu.wrap(address.wrapping_add(16));
    // All or nothing.
    cpu.probe_write(address, WIDE)?;
    cpu.store_u128(address, low)?;
    cpu.store_u128(upper, high)
}

/// Stores 4 or 8 bytes from bit `imm` on.
fn store_part<const SIZE: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let value = xmm(cpu, op.src) >> (op.imm & 127);
    if SIZE == 4 { cpu.store(address, value as u32) } else { cpu.store(address, value as u64) }
}

fn zero_upper(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let count = if cpu.mode.is64() { 16 } else { 8 };
    cpu.ymm_upper[..count].fill(0);
    if op.imm != 0 {
        cpu.xmm[..count].fill(0);
    }
    Ok(())
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let aligned = match t.insn.mnemonic() {
        Mnemonic::Vmovaps
        | Mnemonic::Vmovapd
        | Mnemonic::Vmovdqa
        | Mnemonic::Vmovntps
        | Mnemonic::Vmovntpd
        | Mnemonic::Vmovntdq
        | Mnemonic::Vmovntdqa => true,
        Mnemonic::Vmovups | Mnemonic::Vmovupd | Mnemonic::Vmovdqu | Mnemonic::Vlddqu => false,
        Mnemonic::Vzeroupper | Mnemonic::Vzeroall => {
            let mut op = t.op(exec!(zero_upper));
            op.imm = u64::from(t.insn.mnemonic() == Mnemonic::Vzeroall);
            t.push(op);
            return true;
        }
        _ => return translate_part(t),
    };
    let wide = is_wide(t, 0);
    macro_rules! pick {
        ($f:ident) => {
            match (wide, aligned) {
                (false, false) => exec!($f::<16, false>) as Exec,
                (false, true) => exec!($f::<16, true>),
                (true, false) => exec!($f::<32, false>),
                (true, true) => exec!($f::<32, true>),
            }
        };
    }
    let exec: Exec = if t.is_memory(0) {
        pick!(store_register)
    } else if t.is_memory(1) {
        pick!(load_register)
    } else if wide {
        exec!(move_register::<32>)
    } else {
        exec!(move_register::<16>)
    };
    push_move(t, exec, 0);
    true
}

fn push_move(t: &mut Translator<'_>, exec: Exec, imm: u64) {
    let mut op = t.op(exec);
    op.imm = imm;
    if !t.is_memory(0) {
        op.dst = t.register(0);
    }
    if !t.is_memory(1) {
        op.src = t.register(1);
    }
    if t.is_memory(0) || t.is_memory(1) {
        t.memory(&mut op);
    }
    t.push(op);
}

/// Stores of a part of a register.
fn translate_part(t: &mut Translator<'_>) -> bool {
    if !t.is_memory(0) {
        return false;
    }
    let (exec, from): (Exec, u64) = match t.insn.mnemonic() {
        Mnemonic::Vmovlps | Mnemonic::Vmovlpd => (exec!(store_part::<8>), 0),
        Mnemonic::Vmovhps | Mnemonic::Vmovhpd => (exec!(store_part::<8>), 64),
        _ => match t.insn.code() {
            Code::VEX_Vmovss_m32_xmm => (exec!(store_part::<4>), 0),
            Code::VEX_Vmovsd_m64_xmm | Code::VEX_Vmovq_xmmm64_xmm => (exec!(store_part::<8>), 0),
            _ => return false,
        },
    };
    push_move(t, exec, from);
    true
}
