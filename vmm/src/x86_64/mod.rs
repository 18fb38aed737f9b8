//! x86-64 guests.

pub mod cpuid;
pub mod mmio;
pub mod msr;
pub mod paging;

pub(crate) mod memory_map;
mod msr_log;
mod physical;
pub(crate) mod platform;
pub(crate) mod vcpu;
pub(crate) mod virtio;
