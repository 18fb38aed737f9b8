//! Conversions between integers in MMX registers and floating point in XMM registers. Their arithmetic is SSE's.

use iced_x86::Code;

use super::{operands, ready_with_xmm};
use crate::block::{Op, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::mixed::{self, Conversion};

const LOW: u128 = u64::MAX as u128;

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec = match (t.insn.code(), t.is_memory(1)) {
        (Code::Cvtpi2ps_xmm_mmm64, false) => exec!(|c: &mut Cpu, op: &Op| to_singles(c, op, true)),
        (Code::Cvtpi2ps_xmm_mmm64, true) => exec!(|c: &mut Cpu, op: &Op| to_singles(c, op, false)),
        (Code::Cvtpi2pd_xmm_mmm64, false) => exec!(to_doubles),
        (Code::Cvtpi2pd_xmm_mmm64, true) => exec!(to_doubles_from_memory),
        (Code::Cvtps2pi_mm_xmmm64, false) => exec!(|c: &mut Cpu, op: &Op| from_xmm(c, op, SINGLES)),
        (Code::Cvtps2pi_mm_xmmm64, true) => exec!(|c: &mut Cpu, op: &Op| from_memory(c, op, SINGLES)),
        (Code::Cvttps2pi_mm_xmmm64, false) => exec!(|c: &mut Cpu, op: &Op| from_xmm(c, op, CUT_SINGLES)),
        (Code::Cvttps2pi_mm_xmmm64, true) => exec!(|c: &mut Cpu, op: &Op| from_memory(c, op, CUT_SINGLES)),
        (Code::Cvtpd2pi_mm_xmmm128, false) => exec!(|c: &mut Cpu, op: &Op| from_xmm(c, op, DOUBLES)),
        (Code::Cvtpd2pi_mm_xmmm128, true) => exec!(|c: &mut Cpu, op: &Op| from_memory(c, op, DOUBLES)),
        (Code::Cvttpd2pi_mm_xmmm128, false) => exec!(|c: &mut Cpu, op: &Op| from_xmm(c, op, CUT_DOUBLES)),
        (Code::Cvttpd2pi_mm_xmmm128, true) => exec!(|c: &mut Cpu, op: &Op| from_memory(c, op, CUT_DOUBLES)),
        _ => return false,
    };
    let mut op = t.op(exec);
    operands(t, &mut op);
    t.push(op);
    true
}

const SINGLES: Conversion = Conversion::SinglesToIntegers { truncate: false };
const CUT_SINGLES: Conversion = Conversion::SinglesToIntegers { truncate: true };
const DOUBLES: Conversion = Conversion::DoublesToIntegers { truncate: false };
const CUT_DOUBLES: Conversion = Conversion::DoublesToIntegers { truncate: true };

/// The high half of the XMM register stays. From memory no MMX register is used, so that the x87 unit does not enter
/// MMX mode.
fn to_singles(cpu: &mut Cpu, op: &Op, register: bool) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    let source = if register {
        cpu.fpu.mmx(op.src)
    } else {
        let address = cpu.address(op);
        cpu.load(address)?
    };
    let value = mixed::convert(cpu, Conversion::IntegersToSingles, u128::from(source))?;
    if register {
        cpu.fpu.enter_mmx();
    }
    let xmm = &mut cpu.xmm[op.dst as usize & 15];
    *xmm = *xmm & !LOW | value & LOW;
    Ok(())
}

fn to_doubles(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    let source = u128::from(cpu.fpu.mmx(op.src));
    let value = mixed::convert(cpu, Conversion::IntegersToDoubles, source)?;
    cpu.fpu.enter_mmx();
    cpu.xmm[op.dst as usize & 15] = value;
    Ok(())
}

/// This form is an SSE2 instruction, which pending x87 exceptions do not concern.
fn to_doubles_from_memory(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    mixed::check(cpu)?;
    let address = cpu.address(op);
    let source = cpu.load::<u64>(address)?;
    cpu.xmm[op.dst as usize & 15] = mixed::convert(cpu, Conversion::IntegersToDoubles, u128::from(source))?;
    Ok(())
}

fn put_integers(cpu: &mut Cpu, op: &Op, conversion: Conversion, source: u128) -> Result<(), Trap> {
    let value = mixed::convert(cpu, conversion, source)?;
    cpu.fpu.enter_mmx();
    cpu.fpu.set_mmx(op.dst, (value & LOW) as u64);
    Ok(())
}

fn from_xmm(cpu: &mut Cpu, op: &Op, conversion: Conversion) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    put_integers(cpu, op, conversion, cpu.xmm[op.src as usize & 15])
}

/// Two singles, or two doubles, which must be aligned.
fn from_memory(cpu: &mut Cpu, op: &Op, conversion: Conversion) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    let address = cpu.address(op);
    let source = if matches!(conversion, Conversion::SinglesToIntegers { .. }) {
        u128::from(cpu.load::<u64>(address)?)
    } else if address & 15 == 0 {
        cpu.load_u128(address)?
    } else {
        return Err(cpu.general_protection());
    };
    put_integers(cpu, op, conversion, source)
}
