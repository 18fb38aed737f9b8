//! AVX, AVX2, FMA and F16C: what is VEX-encoded on XMM and YMM registers (SDM vol. 1, chapter 14).
//!
//! Most are SSE's operations with a destination of their own, on one or two 128-bit lanes. Such an instruction is
//! several micro-ops: its sources are read into [`Lanes`] (`steps`), SSE's operation is applied to each lane, and the
//! result is written. So nothing changes before all that can fault has been done. `names` says which operation an
//! instruction is; the other files are what SSE has no counterpart of.

mod crossing;
mod elements;
mod fused;
mod gather;
mod half;
pub(crate) mod lanes;
mod masked;
mod moves;
pub(crate) mod names;
mod special;
mod steps;
mod test_bits;

pub(crate) use lanes::Lanes;

use iced_x86::{EncodingKind, Instruction};

use super::sse;
use crate::Level;
use crate::block::Translator;
use crate::cpu::control::{Mode, cr4};
use crate::cpu::trap_vector as vector;
use crate::cpu::{Cpu, Trap};

/// Bit of [`Cpu::fpu_blocked`] that stands for AVX.
pub(crate) const AVX_BLOCKED: u8 = 4;
/// XCR0: SSE and AVX state.
const AVX_STATE: u64 = 6;

/// Is it VEX-encoded?
pub(crate) fn is_vex(insn: &Instruction) -> bool {
    insn.code().encoding() == EncodingKind::VEX
}

/// Can AVX instructions run (SDM vol. 2, 2.4)?
#[inline(always)]
pub(super) fn ready(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.fpu_blocked & AVX_BLOCKED == 0 { Ok(()) } else { Err(blocked(cpu)) }
}

#[cold]
#[inline(never)]
fn blocked(cpu: &mut Cpu) -> Trap {
    let enabled = cpu.cr4 & cr4::OSXSAVE != 0 && cpu.xcr0 & AVX_STATE == AVX_STATE;
    if enabled && !cpu.real_mode() { cpu.fault(vector::NM) } else { cpu.undefined() }
}

/// Translates an AVX instruction; false if it is none.
pub(crate) fn translate(t: &mut Translator<'_>) -> bool {
    if t.level < Level::V3 || !is_vex(t.insn) || t.mode.has(Mode::REAL) {
        return false;
    }
    moves::translate(t)
        || names::translate(t)
        || special::translate(t)
        || crossing::translate(t)
        || fused::translate(t)
        || half::translate(t)
        || test_bits::translate(t)
        || masked::translate(t)
        || gather::translate(t)
        || sse::translate_alone(t)
}
