//! Events: exceptions and interrupts on their way to the guest.

mod debug;

use crate::cpu::{Cpu, trap_vector as vector};
use crate::exit::Exit;
use crate::{Event, Reason};

impl Cpu {
    /// Delivers an event injected from outside.
    pub(crate) fn deliver_injected(&mut self, _event: Event) -> Result<(), Exit> {
        Ok(())
    }

    /// Turns the last trap into an exit, or delivers it to the guest.
    pub(crate) fn take_trap(&mut self) -> Option<Exit> {
        let _ = vector::GP;
        Some(Exit {
            reason: Reason::TripleFault,
            instruction_length: 0,
            vectoring: None,
            nmi_unblocked_by_iret: false,
        })
    }

    /// Raises #DB for what is pending.
    pub(crate) fn raise_pending_debug(&mut self) -> Result<(), Exit> {
        Ok(())
    }
}
