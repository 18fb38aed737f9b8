//! A full-system x86-64 CPU engine: registers, paging, exceptions and instructions; nothing of a VMM.
//!
//! An [`Engine`] runs a [`Cpu`]'s guest code over a [`PhysicalMemory`] until something leaves it: an [`Exit`]. What leaves and what
//! the engine does by itself is chosen by [`Intercepts`]. Exits are fault-like: the instruction that caused one has
//! not executed, `rip` still points at it, and [`Exit::instruction_length`] says how to step over it.

mod block;
mod cpu;
mod engine;
mod event;
mod exit;
mod instructions;
mod intercept;
mod memory;
mod mmu;
mod os;
mod sequence;

pub use cpu::control::PHYSICAL_ADDRESS_BITS;
pub use cpu::segment::{DescriptorTable, Segment, SegmentRegister};
pub use cpu::snapshot::{Snapshot, same_but_flags};
pub use cpu::{Cpu, Interruptibility, Level, Msrs, TimeSource};
pub use engine::{Engine, EngineOptions, Kicker, Statistics};
pub use exit::{
    Access, ControlRegisterAccess, DebugRegisterAccess, Event, EventKind, Exit, Io, MemoryViolation, Reason,
    TaskSwitchSource,
};
pub use instructions::x87::XsaveImageError;
pub use intercept::{Controls, Intercepts, MsrRight};
pub use memory::{HostRegion, MapError, PhysicalMemory, Rights, WriteWatch};
pub use sequence::Sequence;
