//! Instructions from and to general registers, and those that set flags.

use iced_x86::{Code, Mnemonic};

use super::compare;
use super::context::{Context, Rounding};
use super::format::Format;
use crate::block::{Exec, Mem, Op, Reg, Source, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::lane::{LOW, LOW32};
use crate::instructions::sse::operand::{Operand, Xmm, ready, set_xmm, xmm};
use crate::memory::Scalar;

pub(in crate::instructions::sse) fn translate(t: &mut Translator<'_>) -> bool {
    let memory = t.is_memory(1);
    // The general form on a register operand, or on a memory operand of its size.
    macro_rules! from_general {
        ($f:ident, $t:ty, $integer:ty) => {
            if memory { exec!($f::<Mem, $t, $integer>) } else { exec!($f::<Reg, $t, $integer>) }
        };
    }
    macro_rules! from_xmm {
        ($f:ident, $t:ty, $extra:expr) => {
            if memory {
                exec!(|cpu: &mut Cpu, op: &Op| $f::<$t, $t>(cpu, op, $extra))
            } else {
                exec!(|cpu: &mut Cpu, op: &Op| $f::<Xmm, $t>(cpu, op, $extra))
            }
        };
    }
    let exec: Exec = match t.insn.mnemonic() {
        Mnemonic::Ucomiss => from_xmm!(order, u32, false),
        Mnemonic::Ucomisd => from_xmm!(order, u64, false),
        Mnemonic::Comiss => from_xmm!(order, u32, true),
        Mnemonic::Comisd => from_xmm!(order, u64, true),
        _ => match t.insn.code() {
            Code::Cvtsi2ss_xmm_rm32 => from_general!(from_integer, u32, u32),
            Code::Cvtsi2ss_xmm_rm64 => from_general!(from_integer, u32, u64),
            Code::Cvtsi2sd_xmm_rm32 => from_general!(from_integer, u64, u32),
            Code::Cvtsi2sd_xmm_rm64 => from_general!(from_integer, u64, u64),
            Code::Cvtss2si_r32_xmmm32 => from_xmm!(to_integer, u32, (None, 32)),
            Code::Cvtss2si_r64_xmmm32 => from_xmm!(to_integer, u32, (None, 64)),
            Code::Cvtsd2si_r32_xmmm64 => from_xmm!(to_integer, u64, (None, 32)),
            Code::Cvtsd2si_r64_xmmm64 => from_xmm!(to_integer, u64, (None, 64)),
            Code::Cvttss2si_r32_xmmm32 => from_xmm!(to_integer, u32, (Some(Rounding::Zero), 32)),
            Code::Cvttss2si_r64_xmmm32 => from_xmm!(to_integer, u32, (Some(Rounding::Zero), 64)),
            Code::Cvttsd2si_r32_xmmm64 => from_xmm!(to_integer, u64, (Some(Rounding::Zero), 32)),
            Code::Cvttsd2si_r64_xmmm64 => from_xmm!(to_integer, u64, (Some(Rounding::Zero), 64)),
            _ => return false,
        },
    };
    let mut op = t.op(exec);
    op.dst = t.register(0);
    if memory {
        t.memory(&mut op);
    } else {
        op.src = t.register(1);
    }
    t.push(op);
    true
}

/// `S` is where the integer comes from, `T` the format, `I` the integer's size.
#[inline(always)]
fn from_integer<S: Source, T: Format, I: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let unused = 64 - 8 * I::SIZE as u32;
    let value = (S::get::<I>(cpu, op)?.widen() << unused) as i64 >> unused;
    let mut context = Context::new(cpu.mxcsr);
    let result: T = super::from_integer(&mut context, value);
    context.finish(cpu)?;
    let mask = if T::FRACTION == 23 { LOW32 } else { LOW };
    let rest = xmm(cpu, op.dst) & !mask;
    set_xmm(cpu, op.dst, rest | u128::from(result.bits()));
    Ok(())
}

/// The rounding (of MXCSR if none) and the bits of the integer.
#[inline(always)]
fn to_integer<S: Operand, T: Format>(
    cpu: &mut Cpu,
    op: &Op,
    (rounding, bits): (Option<Rounding>, u32),
) -> Result<(), Trap> {
    ready(cpu)?;
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
fn order<S: Operand, T: Format>(cpu: &mut Cpu, op: &Op, signal: bool) -> Result<(), Trap> {
    ready(cpu)?;
    let b = T::from_bits(S::get(cpu, op)? as u64);
    let a = T::from_bits(xmm(cpu, op.dst) as u64);
    let mut context = Context::new(cpu.mxcsr);
    let ordering = compare::order(&mut context, a, b, signal);
    context.finish(cpu)?;
    compare::set_flags(&mut cpu.flags, ordering);
    Ok(())
}
