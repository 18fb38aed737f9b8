//! x86-64 guests.

pub mod cpuid;
pub mod mmio;
pub mod msr;
pub mod paging;
