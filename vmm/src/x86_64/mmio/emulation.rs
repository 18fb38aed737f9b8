//! One instruction being emulated.

use iced_x86::Instruction;

use super::context::{CpuMode, GuestContext, MmioAccess};
use super::error::{EmulationError, Outcome, Stop};
use super::fetch::{self, Fetched};
use super::flags;

/// RFLAGS.TF
const TRAP: u64 = 1 << 8;

/// How an instruction that did not stop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// RIP goes on.
    Complete,
    /// RIP stays: a repeated instruction has some of its count left.
    Repeat,
}

/// An instruction with everything it works on.
pub(super) struct Emulation<'a, C: GuestContext> {
    pub(super) context: &'a mut C,
    pub(super) devices: &'a mut dyn MmioAccess,
    pub(super) mode: CpuMode,
    pub(super) instruction: Instruction,
    /// RFLAGS at the start, status flags updated by the instruction.
    pub(super) rflags: u64,
}

impl<'a, C: GuestContext> Emulation<'a, C> {
    /// Fetches the instruction, lets `execute` do it, and retires it.
    pub(super) fn run(
        context: &'a mut C,
        devices: &'a mut dyn MmioAccess,
        execute: impl FnOnce(&mut Self) -> Result<Done, Stop<C::Error>>,
    ) -> Result<Outcome, EmulationError<C::Error>> {
        let mode = context.mode().map_err(EmulationError::Context)?;
        let rip = context.rip().map_err(EmulationError::Context)?;
        let mut bytes = Vec::new();
        let outcome =
            fetch::fetch(context, mode, rip, &mut bytes).and_then(|Fetched { instruction, next_rip }| {
                let rflags = context.rflags().map_err(Stop::Context)?;
                let single_step = rflags & TRAP != 0;
                let mut emulation = Self { context, devices, mode, instruction, rflags };
                let done = execute(&mut emulation)?;
                emulation.commit_flags(rflags)?;
                match done {
                    Done::Complete => {
                        emulation.context.retire(next_rip, single_step).map_err(Stop::Context)?;
                        Ok(Outcome::Retired)
                    }
                    Done::Repeat => {
                        if single_step {
                            emulation.context.retire(rip, true).map_err(Stop::Context)?;
                        }
                        Ok(Outcome::Partial)
                    }
                }
            });
        match outcome {
            Ok(outcome) => Ok(outcome),
            Err(Stop::Retry) => Ok(Outcome::Partial),
            Err(Stop::Exception(mut exception)) => {
                if !mode.protected {
                    exception.error_code = None;
                }
                Ok(Outcome::Exception(exception))
            }
            Err(Stop::Unsupported(reason)) => Err(EmulationError::Unsupported { rip, bytes, reason }),
            Err(Stop::Context(error)) => Err(EmulationError::Context(error)),
        }
    }

    /// Sets the flags in `mask` to those of `flags`.
    pub(super) fn set_flags(&mut self, mask: u64, flags: u64) {
        self.rflags = self.rflags & !mask | flags & mask;
    }

    /// Sets all six status flags.
    pub(super) fn set_status(&mut self, flags: u64) {
        self.set_flags(flags::STATUS, flags);
    }

    /// Writes RFLAGS back if they differ from `before`.
    pub(super) fn commit_flags(&mut self, before: u64) -> Result<(), Stop<C::Error>> {
        if self.rflags != before {
            self.context.set_rflags(self.rflags).map_err(Stop::Context)?;
        }
        Ok(())
    }
}
