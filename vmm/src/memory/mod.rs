//! Guest-physical memory: what lies where, and the RAM behind it.

mod map;
mod ram;
mod resident;
mod wipe;

pub use map::{MapError, MemoryMap, Region, RegionKind};
pub use ram::{GuestRam, RamError};
pub use resident::Resident;
pub(crate) use resident::resident;
