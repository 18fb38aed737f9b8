//! Timers and clocks of the platform.

mod cmos_rtc;
mod pit8254;

pub use cmos_rtc::{CmosRtc, spec as cmos_rtc_spec};
pub use pit8254::{Pit8254, spec as pit8254_spec};
