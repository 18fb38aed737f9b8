//! IN, OUT, INS, OUTS: they leave the engine once the program's right to the port is clear.

use iced_x86::{Mnemonic, OpKind};

use super::strings::{address_size, element_address};
use crate::block::Flow;
use crate::block::{Op, Translator, ends, segment_number};
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Trap, gpr};
use crate::exit::{Io, Reason};

/// `Op::dst` bits.
const INPUT: u8 = 1;
const IMMEDIATE: u8 = 2;
const REPEAT: u8 = 4;

/// IOPL, or else the I/O permission bitmap of the TSS (SDM vol. 1, 19.5).
fn check_permission(cpu: &mut Cpu, port: u16, width: u8) -> Result<(), Trap> {
    let iopl = (cpu.flags.system >> 12 & 3) as u8;
    if cpu.cr0 & 1 == 0 || cpu.cpl <= iopl && !cpu.flags.has(bit::VM) {
        return Ok(());
    }
    let tss = cpu.segments[7];
    if !tss.usable() || tss.kind() & 8 == 0 || tss.limit < 103 {
        return Err(cpu.general_protection());
    }
    let map = u64::from(cpu.load_system::<u16>(tss.base.wrapping_add(102))?);
    let offset = map + u64::from(port / 8);
    if offset + 1 > u64::from(tss.limit) {
        return Err(cpu.general_protection());
    }
    let bits = cpu.load_system::<u16>(tss.base.wrapping_add(offset))? >> (port & 7);
    if bits & ((1 << width) - 1) != 0 {
        return Err(cpu.general_protection());
    }
    Ok(())
}

fn simple(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let immediate = op.dst & IMMEDIATE != 0;
    let port = if immediate { op.imm as u16 } else { cpu.reg(gpr::RDX) };
    check_permission(cpu, port, op.src)?;
    let io = Io {
        port,
        width: op.src,
        input: op.dst & INPUT != 0,
        string: false,
        repeat: false,
        immediate,
        address_size: 0,
        segment: 0,
        linear_address: 0,
    };
    Err(cpu.leave(Reason::Io(io)))
}

fn string(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let repeat = op.dst & REPEAT != 0;
    let mask = match op.scale {
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    };
    if repeat && cpu.slot(gpr::RCX) & mask == 0 {
        return Ok(Flow::Fall);
    }
    let port = cpu.reg(gpr::RDX);
    check_permission(cpu, port, op.src)?;
    let input = op.dst & INPUT != 0;
    let index = if input { gpr::RDI } else { gpr::RSI };
    let offset = cpu.slot(index) & mask;
    let linear_address = element_address(cpu, op.base, offset, u32::from(op.src), input)?;
    let io = Io {
        port,
        width: op.src,
        input,
        string: true,
        repeat,
        immediate: false,
        address_size: op.scale,
        segment: op.base,
        linear_address,
    };
    Err(cpu.leave(Reason::Io(io)))
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let insn = t.insn;
    match insn.mnemonic() {
        Mnemonic::In | Mnemonic::Out => {
            let input = insn.mnemonic() == Mnemonic::In;
            let (port, data) = if input { (1, 0) } else { (0, 1) };
            let mut op = t.op(ends!(simple));
            op.src = insn.op_register(data).size() as u8;
            op.dst = u8::from(input) * INPUT;
            if insn.op_kind(port) != OpKind::Register {
                op.dst |= IMMEDIATE;
                op.imm = t.immediate(port) & 0xff;
            }
            t.push_end(op);
        }
        Mnemonic::Insb
        | Mnemonic::Insw
        | Mnemonic::Insd
        | Mnemonic::Outsb
        | Mnemonic::Outsw
        | Mnemonic::Outsd => {
            let input = matches!(insn.mnemonic(), Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd);
            let mut op = t.op(ends!(string));
            op.src = match insn.mnemonic() {
                Mnemonic::Insb | Mnemonic::Outsb => 1,
                Mnemonic::Insw | Mnemonic::Outsw => 2,
                _ => 4,
            };
            op.dst = u8::from(input) * INPUT;
            if insn.has_rep_prefix() || insn.has_repne_prefix() {
                op.dst |= REPEAT;
            }
            op.scale = address_size(t);
            op.base = if input { 0 } else { segment_number(insn.memory_segment()) };
            t.push_end(op);
        }
        _ => return false,
    }
    true
}
