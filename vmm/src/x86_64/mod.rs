//! x86-64 guests.

pub mod cpuid;
pub mod mmio;
pub mod msr;
pub mod paging;

pub(crate) mod memory_map;
mod physical;
pub(crate) mod platform;
pub(crate) mod vcpu;
