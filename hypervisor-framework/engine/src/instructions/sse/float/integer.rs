//! Instructions from and to general registers, and those that set flags.

use iced_x86::Code;

use super::compare;
use super::context::{Context, Rounding};
use super::format::Hosted;
use crate::block::{Exec, Mem, Op, Reg, Source, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::lane::{LOW, LOW32};
use crate::instructions::sse::operand::{Encoding, Legacy, Operand, Vex, Xmm, operands, xmm};
use crate::memory::Scalar;

pub(in crate::instructions::sse) fn translate(t: &mut Translator<'_>) -> bool {
    // The general form on a register operand, or on a memory operand of its size.
    macro_rules! from_general {
        ($e:ty, $t:ty, $integer:ty) => {
            (
                exec!(from_integer::<$e, Mem, $t, $integer>) as Exec,
                exec!(from_integer::<$e, Reg, $t, $integer>) as Exec,
            )
        };
    }
    macro_rules! from_xmm {
        ($f:ident, $e:ty, $t:ty, $extra:expr) => {
            (
                exec!(|cpu: &mut Cpu, op: &Op| $f::<$e, $t, $t>(cpu, op, $extra)) as Exec,
                exec!(|cpu: &mut Cpu, op: &Op| $f::<$e, Xmm, $t>(cpu, op, $extra)) as Exec,
            )
        };
    }
    const TRUNCATED: Option<Rounding> = Some(Rounding::Zero);
    let (memory, register) = match t.insn.code() {
        Code::Ucomiss_xmm_xmmm32 => from_xmm!(order, Legacy, u32, false),
        Code::Ucomisd_xmm_xmmm64 => from_xmm!(order, Legacy, u64, false),
        Code::Comiss_xmm_xmmm32 => from_xmm!(order, Legacy, u32, true),
        Code::Comisd_xmm_xmmm64 => from_xmm!(order, Legacy, u64, true),
        Code::Cvtsi2ss_xmm_rm32 => from_general!(Legacy, u32, u32),
        Code::Cvtsi2ss_xmm_rm64 => from_general!(Legacy, u32, u64),
        Code::Cvtsi2sd_xmm_rm32 => from_general!(Legacy, u64, u32),
        Code::Cvtsi2sd_xmm_rm64 => from_general!(Legacy, u64, u64),
        Code::Cvtss2si_r32_xmmm32 => from_xmm!(to_integer, Legacy, u32, (None, 32)),
        Code::Cvtss2si_r64_xmmm32 => from_xmm!(to_integer, Legacy, u32, (None, 64)),
        Code::Cvtsd2si_r32_xmmm64 => from_xmm!(to_integer, Legacy, u64, (None, 32)),
        Code::Cvtsd2si_r64_xmmm64 => from_xmm!(to_integer, Legacy, u64, (None, 64)),
        Code::Cvttss2si_r32_xmmm32 => from_xmm!(to_integer, Legacy, u32, (TRUNCATED, 32)),
        Code::Cvttss2si_r64_xmmm32 => from_xmm!(to_integer, Legacy, u32, (TRUNCATED, 64)),
        Code::Cvttsd2si_r32_xmmm64 => from_xmm!(to_integer, Legacy, u64, (TRUNCATED, 32)),
        Code::Cvttsd2si_r64_xmmm64 => from_xmm!(to_integer, Legacy, u64, (TRUNCATED, 64)),
        Code::VEX_Vucomiss_xmm_xmmm32 => from_xmm!(order, Vex, u32, false),
        Code::VEX_Vucomisd_xmm_xmmm64 => from_xmm!(order, Vex, u64, false),
        Code::VEX_Vcomiss_xmm_xmmm32 => from_xmm!(order, Vex, u32, true),
        Code::VEX_Vcomisd_xmm_xmmm64 => from_xmm!(order, Vex, u64, true),
        Code::VEX_Vcvtsi2ss_xmm_xmm_rm32 => from_general!(Vex, u32, u32),
        Code::VEX_Vcvtsi2ss_xmm_xmm_rm64 => from_general!(Vex, u32, u64),
        Code::VEX_Vcvtsi2sd_xmm_xmm_rm32 => from_general!(Vex, u64, u32),
        Code::VEX_Vcvtsi2sd_xmm_xmm_rm64 => from_general!(Vex, u64, u64),
        Code::VEX_Vcvtss2si_r32_xmmm32 => from_xmm!(to_integer, Vex, u32, (None, 32)),
        Code::VEX_Vcvtss2si_r64_xmmm32 => from_xmm!(to_integer, Vex, u32, (None, 64)),
        Code::VEX_Vcvtsd2si_r32_xmmm64 => from_xmm!(to_integer, Vex, u64, (None, 32)),
        Code::VEX_Vcvtsd2si_r64_xmmm64 => from_xmm!(to_integer, Vex, u64, (None, 64)),
        Code::VEX_Vcvttss2si_r32_xmmm32 => from_xmm!(to_integer, Vex, u32, (TRUNCATED, 32)),
        Code::VEX_Vcvttss2si_r64_xmmm32 => from_xmm!(to_integer, Vex, u32, (TRUNCATED, 64)),
        Code::VEX_Vcvttsd2si_r32_xmmm64 => from_xmm!(to_integer, Vex, u64, (TRUNCATED, 32)),
        Code::VEX_Vcvttsd2si_r64_xmmm64 => from_xmm!(to_integer, Vex, u64, (TRUNCATED, 64)),
        _ => return false,
    };
    let mut op = t.op(register);
    if operands(t, &mut op) {
        op.exec = memory;
    }
    t.push(op);
    true
}

/// `S` is where the integer comes from, `T` the format, `I` the integer's size.
#[inline(always)]
fn from_integer<E: Encoding, S: Source, T: Hosted, I: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    E::ready(cpu)?;
    let unused = 64 - 8 * I::SIZE as u32;
    let value = (S::get::<I>(cpu, op)?.widen() << unused) as i64 >> unused;
    let mut context = Context::new(cpu.mxcsr);
    let result: T = super::from_integer(&mut context, value);
    context.finish(cpu)?;
    let mask = if T::FRACTION == 23 { LOW32 } else { LOW };
    let rest = E::first(cpu, op) & !mask;
    E::set(cpu, op.dst, rest | u128::from(result.bits()));
    Ok(())
}

/// The rounding (of MXCSR if none) and the bits of the integer.
#[inline(always)]
fn to_integer<E: Encoding, S: Operand, T: Hosted>(
    cpu: &mut Cpu,
    op: &Op,
    (rounding, bits): (Option<Rounding>, u32),
) -> Result<(), Trap> {
    E::ready(cpu)?;
    let source = T::from_bits(S::get(cpu, op)? as u64);
    let mut context = Context::new(cpu.mxcsr);
    let rounding = rounding.unwrap_or(context.rounding());
    let result = super::to_integer(&mut context, source, rounding, bits);
    context.finish(cpu)?;
    if bits == 32 {
        cpu.set_reg::<u32>(op.dst, result as u32);
    } else {
        cpu.set_reg::<u64>(op.dst, result as u64);
    }
    Ok(())
}

/// COMIS and UCOMIS.
#[inline(always)]
fn order<E: Encoding, S: Operand, T: Hosted>(cpu: &mut Cpu, op: &Op, signal: bool) -> Result<(), Trap> {
    E::ready(cpu)?;
    let b = T::from_bits(S::get(cpu, op)? as u64);
    let a = T::from_bits(xmm(cpu, op.dst) as u64);
    let mut context = Context::new(cpu.mxcsr);
    let ordering = compare::order(&mut context, a, b, signal);
    context.finish(cpu)?;
    compare::set_flags(&mut cpu.flags, ordering);
    Ok(())
}
