//! Guest physical memory as the engine sees it.

mod physical;
mod watch;

pub use physical::PhysicalMemory;
pub use watch::WriteWatch;

/// Host memory that can be mapped into a guest; its [`WriteWatch`] tells the engine of writes by the host (DMA).
pub type HostRegion = vm_memory::MmapRegion<WriteWatch>;
