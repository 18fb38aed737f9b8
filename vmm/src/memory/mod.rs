//! Guest-physical memory: what lies where, and the RAM behind it.

mod map;
mod ram;

pub use map::{MapError, MemoryMap, Region, RegionKind};
pub use ram::{GuestRam, RamError};
