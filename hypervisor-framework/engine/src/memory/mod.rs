//! Guest physical memory as the engine sees it.

mod host;
mod mailbox;
mod physical;
mod watch;

pub(crate) use host::{HostPtr, Scalar};
pub(crate) use mailbox::{Mailbox, Message, pending};
pub(crate) use physical::{Map, PAGE_SIZE};
pub use physical::{MapError, PhysicalMemory, Rights};
pub use watch::WriteWatch;

/// Host memory that can be mapped into a guest; its [`WriteWatch`] tells the engine of writes by the host (DMA).
pub type HostRegion = vm_memory::MmapRegion<WriteWatch>;
