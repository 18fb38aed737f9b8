//! Virtio (OASIS Virtual I/O Device, version 1.2): devices, their queues, and how a guest reaches them.
//!
//! ```text
//! guest ─▶ transport: VirtioPci | VirtioMmio ─▶ Registers ─▶ VirtioDevice: start_queue, notify, stop_queue
//!                                                            └ its workers ─▶ Queue: pop ─▶ Chain ─▶ complete, signal
//! guest ◀─ MSI-X, INTx or line ◀─ TransportInterrupt ◀───────────────────────────────────────────────────┘
//! ```
//!
//! A device gets its queues by ownership when the driver has set them up, and gives them back when they are stopped: a
//! stopped queue has no request in flight. What a driver cannot do right (a chain that leaves memory, a ring index that
//! jumps) breaks its queue: the device asks for a reset (DEVICE_NEEDS_RESET) and serves nothing more from it.

pub mod balloon;
pub mod blk;
pub mod console;
mod device;
#[cfg(test)]
mod echo_device;
mod idle;
mod in_turn;
#[cfg(any(test, feature = "mock"))]
pub mod mock;
pub mod net;
pub mod p9;
mod queue;
mod registers;
pub mod rng;
pub mod spec;
mod transport;
pub mod vsock;
mod worker;

pub use device::{Activation, ActivationError, DeviceKind, DeviceLink, VirtioDevice, copy_config};
pub use in_turn::InTurn;
pub use queue::{Chain, Queue, QueueError, QueueLayout, Reader, ShortChain, Signal, Writer};
pub use registers::{Registers, TransportInterrupt};
pub use transport::{MMIO_BYTES, VirtioMmio, VirtioPci};
pub use worker::{QueueWorker, Serve, Serving, SharedWorker, WorkerSlot};
