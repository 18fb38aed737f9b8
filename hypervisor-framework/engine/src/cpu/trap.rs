//! Why an instruction did not complete.

use super::{Cpu, Trapped};
use crate::block::{Flow, Op};
use crate::exit::{EventKind, Reason};

/// Exception vectors (SDM vol. 3, table 6-1).
pub(crate) mod vector {
    pub(crate) const DE: u8 = 0;
    pub(crate) const DB: u8 = 1;
    pub(crate) const BP: u8 = 3;
    pub(crate) const OF: u8 = 4;
    pub(crate) const BR: u8 = 5;
    pub(crate) const UD: u8 = 6;
    pub(crate) const NM: u8 = 7;
    pub(crate) const DF: u8 = 8;
    pub(crate) const TS: u8 = 10;
    pub(crate) const NP: u8 = 11;
    pub(crate) const SS: u8 = 12;
    pub(crate) const GP: u8 = 13;
    pub(crate) const PF: u8 = 14;
    pub(crate) const MF: u8 = 16;
    pub(crate) const AC: u8 = 17;
    pub(crate) const XM: u8 = 19;
}

/// The instruction cannot complete; the cause is in [`Cpu::cause`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trap;

/// What a [`Trap`] stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrapCause {
    /// A fault: delivered with RIP at the instruction.
    Fault { vector: u8, error_code: Option<u32> },
    /// A page fault: as above, and CR2 is loaded.
    PageFault { address: u64, error_code: u32 },
    /// An access to a non-canonical address or past a limit: #SS(0) through SS, else #GP(0).
    BadAddress,
    /// The guest exits with the instruction not executed.
    Exit(Reason),
    /// A software interrupt or exception: delivered with RIP behind the instruction.
    Software { vector: u8, kind: EventKind },
    /// The instruction is executed again, in a block of its own.
    Retry,
}

impl Cpu {
    /// A fault without an error code.
    #[cold]
    pub(crate) fn fault(&mut self, vector: u8) -> Trap {
        self.cause = TrapCause::Fault { vector, error_code: None };
        Trap
    }

    /// A fault with an error code.
    #[cold]
    pub(crate) fn fault_with(&mut self, vector: u8, error_code: u32) -> Trap {
        self.cause = TrapCause::Fault { vector, error_code: Some(error_code) };
        Trap
    }

    /// #GP(0)
    #[cold]
    pub(crate) fn general_protection(&mut self) -> Trap {
        self.fault_with(vector::GP, 0)
    }

    /// #UD
    #[cold]
    pub(crate) fn undefined(&mut self) -> Trap {
        self.fault(vector::UD)
    }

    /// The guest exits.
    #[cold]
    pub(crate) fn leave(&mut self, reason: Reason) -> Trap {
        self.cause = TrapCause::Exit(reason);
        Trap
    }

    /// Ends the block at an instruction that trapped.
    #[cold]
    #[inline(never)]
    pub(crate) fn trapped(&mut self, op: &Op) -> Flow {
        self.trapped =
            Trapped { start: op.start, len: op.len, stack_segment: op.flags & Op::STACK_SEGMENT != 0 };
        Flow::Trap
    }
}
