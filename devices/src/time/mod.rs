//! Time: one virtual clock per machine, and devices that wait for it.

mod clock;
mod timed;
mod wall_clock;

pub use clock::{Clock, HostClock, ManualClock, NANOS_PER_SECOND, nanos_to_ticks, ticks_to_nanos};
pub use timed::{DeadlineListener, TimedDevice, TimerSet};
pub use wall_clock::{FixedWallClock, HostWallClock, WallClock};
