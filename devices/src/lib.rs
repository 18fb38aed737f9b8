//! Device models: buses, interrupt controllers, timers, serial, power, PCI.
//!
//! A device here is a state machine. Whatever it does to the world (an interrupt line, a byte to a console, a reset)
//! and whatever it needs to know of it (the time) is given to it when it is made, so each is tested without a VM.
//! This crate knows neither the hypervisor nor the machine it becomes part of.
//!
//! # Locks
//! Locks are taken downwards only, and never two of one level:
//!
//! 1. a device behind a bus (`Arc<Mutex<dyn BusDevice>>`): serial, PIT, RTC, power, the PCI root and then its function;
//! 2. an interrupt line's wiring ([`interrupt::WiredOr`]), then an interrupt controller
//!    ([`interrupt::Pic8259Pair`], then [`interrupt::IoApic`]) and a bus's table of ranges;
//! 3. nothing: what goes to a vCPU is posted with atomics into its [`interrupt::ApicMailbox`].
//!
//! A bus holds no lock of its own while it calls a device. A [`interrupt::LocalApic`] belongs to its vCPU's thread and
//! has no lock at all. The effects given to devices (wakers, sinks, event receivers) are leaves: they may be called with
//! a device locked, so they must not call back into a device and must not block for long.

pub mod bus;
pub mod interrupt;
pub mod pci;
pub mod platform_map;
pub mod power;
pub mod serial;
pub mod time;
pub mod timer;

#[cfg(test)]
mod any_access;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a panic elsewhere poisoned it: device state is plain values, valid at every step.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
