//! A full-system x86-64 CPU engine: registers, paging, exceptions and instructions; nothing of a VMM.
//!
//! A [`Cpu`] runs guest code over a [`PhysicalMemory`] until something leaves it: an [`Exit`]. What leaves and what
//! the engine does by itself is chosen by [`Intercepts`]. Exits are fault-like: the instruction that caused one has
//! not executed, `rip` still points at it, and [`Exit::instruction_length`] says how to step over it.

mod exit;
mod intercept;
mod memory;

pub use exit::{
    Access, ControlRegisterAccess, DebugRegisterAccess, Event, EventKind, Exit, Io, MemoryViolation, Reason, TaskSwitchSource,
};
pub use intercept::{Controls, Intercepts, MsrRight};
pub use memory::{HostRegion, PhysicalMemory, WriteWatch};
