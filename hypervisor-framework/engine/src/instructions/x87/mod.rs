//! x87, MMX, and saving and restoring of the state they share with SSE.
//!
//! Values and their arithmetic are in `float`, which knows nothing of a CPU. `state` is the register stack with its
//! control and status words; the other files are instructions over both.

mod arithmetic;
mod compare;
mod control;
mod environment;
mod float;
mod functions;
mod fxsave;
mod image;
mod legacy;
mod mmx;
mod pointers;
mod state;
mod transfer;
mod xsave;

pub use image::XsaveImageError;
pub(crate) use state::Fpu;

use crate::block::Translator;
use crate::cpu::{Cpu, Trap, trap_vector as vector};

/// Translates an x87, MMX or state-saving instruction; false if it is none.
pub(crate) fn translate(t: &mut Translator<'_>) -> bool {
    control::translate(t)
        || transfer::translate(t)
        || arithmetic::translate(t)
        || compare::translate(t)
        || functions::translate(t)
        || environment::translate(t)
        || fxsave::translate(t)
        || xsave::translate(t)
        || mmx::translate(t)
}

/// What every waiting x87 instruction checks first: #NM when CR0 says so, #MF for a pending exception. CR0.NE = 0, which
/// reports through IRQ 13 instead, raises #MF as well.
#[inline(always)]
fn ready(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.fpu_blocked & 1 != 0 || cpu.fpu.pending() { Err(not_ready(cpu)) } else { Ok(()) }
}

#[cold]
#[inline(never)]
fn not_ready(cpu: &mut Cpu) -> Trap {
    let vector = if cpu.fpu_blocked & 1 != 0 { vector::NM } else { vector::MF };
    cpu.fault(vector)
}

/// The check of x87 instructions that do not wait.
#[inline(always)]
fn available(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.fpu_blocked & 1 != 0 { Err(cpu.fault(vector::NM)) } else { Ok(()) }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod against_host;
