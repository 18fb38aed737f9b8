//! Guest physical memory as the engine sees it.

mod host;
mod mailbox;
mod physical;

pub use guest_memory::{HostRegion, WriteWatch};
pub(crate) use host::{HostPtr, Scalar};
pub(crate) use mailbox::{Mailbox, Message, pending};
pub(crate) use physical::{Map, PAGE_SIZE};
pub use physical::{MapError, PhysicalMemory, Rights};
