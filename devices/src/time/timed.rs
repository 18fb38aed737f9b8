//! Devices that act by themselves at a time of their choosing.

use std::sync::{Arc, Mutex};

use crate::lock;

/// A device with a deadline. Devices do not sleep; the machine's event loop does, and tells them.
pub trait TimedDevice: Send {
    /// When the device wants [`TimedDevice::advance`] next, in nanoseconds of the machine's clock. It may be past.
    fn next_deadline_ns(&self) -> Option<u64>;

    /// Does what is due at `now_ns`. Harmless when nothing is, and when called often or late. Afterwards
    /// [`TimedDevice::next_deadline_ns`] is after `now_ns`.
    fn advance(&mut self, now_ns: u64);
}

/// Told when a device's next deadline may have moved forward, so that whoever sleeps for it looks again. Called with the
/// device locked: it wakes somebody and does nothing else.
pub trait DeadlineListener: Send + Sync {
    /// Some device's deadline may now be earlier.
    fn deadline_moved(&self);
}

/// Nobody sleeps, nobody needs waking: for tests and for machines that poll.
impl DeadlineListener for () {
    fn deadline_moved(&self) {}
}

/// The machine-level timed devices (PIT, RTC, PM timer, serial), as the event loop serves them. Local APIC timers are
/// not among them: they belong to their vCPUs.
#[derive(Default, Clone)]
pub struct TimerSet {
    devices: Vec<Arc<Mutex<dyn TimedDevice>>>,
}

impl TimerSet {
    /// No devices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a device.
    pub fn add(&mut self, device: Arc<Mutex<dyn TimedDevice>>) {
        self.devices.push(device);
    }

    /// The earliest deadline of all.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.devices.iter().filter_map(|device| lock(device).next_deadline_ns()).min()
    }

    /// Lets every device do what is due at `now_ns`.
    pub fn advance(&self, now_ns: u64) {
        for device in &self.devices {
            lock(device).advance(now_ns);
        }
    }
}
