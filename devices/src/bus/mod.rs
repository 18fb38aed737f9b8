//! Buses: from an address and a width to the device that answers.

mod access;
mod mmio_bus;
mod port_bus;
mod ranges;
mod unclaimed;
mod width;

pub use mmio_bus::{MmioBus, MmioWindow};
pub use port_bus::{PortBus, PortWindow};
pub use ranges::BusError;
pub use unclaimed::{Direction, UnclaimedAccess, UnclaimedReport};
pub use width::Width;

use std::sync::{Arc, Mutex};

/// A device that answers accesses on a bus.
///
/// `offset` counts from the device's own origin, not from the address of the window it is seen through: a device with
/// several windows (the two 8259, say) gives each window a different first offset.
pub trait BusDevice: Send {
    /// Reads `width` bytes at `offset`. Bits above the width are ignored by the bus.
    ///
    /// # Errors
    /// [`Unclaimed`] if no register answers there in that width; the bus reads it as all ones and counts it.
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Unclaimed>;

    /// Writes the low `width` bytes of `value` at `offset`; the bus has cleared the bits above.
    ///
    /// # Errors
    /// [`Unclaimed`] if no register answers there in that width; the bus drops the write and counts it.
    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed>;
}

/// "No register answers at this offset in this width": the bus decides what the guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclaimed;

/// A device as a bus holds it: shared with whoever feeds it from the host's side.
pub type SharedDevice = Arc<Mutex<dyn BusDevice>>;

#[cfg(test)]
#[path = "bus_test.rs"]
mod bus_test;
