//! How a guest reaches a virtio device.

mod mmio;
mod pci;
mod pci_interrupt;
mod pci_layout;

#[cfg(test)]
#[path = "driving_test.rs"]
mod driving;

pub use mmio::{MMIO_BYTES, VirtioMmio};
pub use pci::VirtioPci;
