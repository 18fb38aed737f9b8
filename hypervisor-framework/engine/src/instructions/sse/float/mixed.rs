//! The arithmetic of conversions between MMX and XMM registers, for the family that owns the MMX registers.

use super::context::{Context, Rounding};
use super::{from_integer, to_integer};
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::lane::{Lane, build};
use crate::instructions::sse::operand;

/// CVTPI2PS and its kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// CVTPI2PS: two doublewords to two singles.
    IntegersToSingles,
    /// CVTPI2PD: two doublewords to two doubles.
    IntegersToDoubles,
    /// CVTPS2PI, or CVTTPS2PI if truncating: two singles to two doublewords.
    SinglesToIntegers { truncate: bool },
    /// CVTPD2PI, or CVTTPD2PI if truncating: two doubles to two doublewords.
    DoublesToIntegers { truncate: bool },
}

/// #UD or #NM if SSE instructions cannot run now.
pub(crate) fn check(cpu: &mut Cpu) -> Result<(), Trap> {
    operand::ready(cpu)
}

/// Converts the low two lanes of `source`; the rest of the result is 0. Sets the flags of MXCSR, and raises #XM (or #UD)
/// for exceptions that are not masked. The caller has checked that the unit is available.
pub(crate) fn convert(cpu: &mut Cpu, conversion: Conversion, source: u128) -> Result<u128, Trap> {
    let mut context = Context::new(cpu.mxcsr);
    let c = &mut context;
    let mode = |c: &Context, truncate| if truncate { Rounding::Zero } else { c.rounding() };
    let (integers, singles, doubles) = (i32::split(source), u32::split(source), u64::split(source));
    let result = match conversion {
        Conversion::IntegersToSingles => {
            build::<u32>(|i| if i < 2 { from_integer(c, i64::from(integers[i])) } else { 0 })
        }
        Conversion::IntegersToDoubles => build::<u64>(|i| from_integer(c, i64::from(integers[i]))),
        Conversion::SinglesToIntegers { truncate } => {
            let rounding = mode(c, truncate);
            build::<u32>(|i| if i < 2 { to_integer(c, singles[i], rounding, 32) as u32 } else { 0 })
        }
        Conversion::DoublesToIntegers { truncate } => {
            let rounding = mode(c, truncate);
            build::<u32>(|i| if i < 2 { to_integer(c, doubles[i], rounding, 32) as u32 } else { 0 })
        }
    };
    context.finish(cpu)?;
    Ok(result)
}
