//! Device models: buses, interrupt controllers, timers, serial, power, PCI.
//!
//! A device here is a state machine. Whatever it does to the world (an interrupt line, a byte to a console, a reset)
//! and whatever it needs to know of it (the time) is given to it when it is made, so each is tested without a VM.
//! This crate knows neither the hypervisor nor the machine it becomes part of.
//!
//! # A PC's interrupts and a timer, wired
//! ```
//! use std::sync::{Arc, Mutex};
//! use devices::bus::{MmioBus, PortBus, Width};
//! use devices::interrupt::{
//!     InterruptFabric, IoApic, IsaWiring, LineSplit, LocalApic, LocalApicConfig, Pic8259Pair, VcpuWaker,
//! };
//! use devices::platform_map::{isa_irq, mmio, port};
//! use devices::time::{Clock, ManualClock, TimerSet};
//! use devices::timer::Pit8254;
//!
//! struct Waker;
//! impl VcpuWaker for Waker {
//!     fn wake(&self, vcpu: usize) {
//!         // Ring the vCPU's doorbell: out of its sleep or out of the guest.
//!         let _ = vcpu;
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = Arc::new(ManualClock::new(1_000_000_000));
//! let fabric = InterruptFabric::new(&[0], Arc::new(Waker));
//! let io_apic = IoApic::new(1, fabric.clone());
//! // The 8259's output goes to LINT0 of every local APIC and to pin 0 of the I/O APIC.
//! let pic = Pic8259Pair::new(LineSplit::line(vec![fabric.lint0(), IoApic::line(&io_apic, 0)]));
//! let isa = IsaWiring::new(pic.clone(), io_apic.clone());
//! // `()` is a listener for machines that ask for deadlines each turn.
//! let pit = Pit8254::new(isa.line(isa_irq::TIMER), clock.clone(), Arc::new(()));
//! let pit = Arc::new(Mutex::new(pit));
//!
//! let (ports, memory) = (PortBus::new(), MmioBus::new());
//! ports.attach("8259", &port::PIC, pic.clone())?;
//! ports.attach("8254", &port::PIT, pit.clone())?;
//! memory.attach("I/O APIC", mmio::IO_APIC, io_apic)?;
//! let mut timers = TimerSet::new();
//! timers.add(pit);
//!
//! let config = LocalApicConfig {
//!     vcpu: 0, apic_id: 0, bootstrap: true, timer_hz: 1_000_000_000, x2apic: true, tsc_deadline: true,
//! };
//! let mut apic = LocalApic::new(config, fabric, clock.clone(), pic)?;
//! apic.set_firmware_state();
//!
//! // The guest routes the timer to vector 0x30 and starts it: mode 2, 1,193 ticks.
//! memory.write(0xfec0_0000, Width::Four, 0x14);
//! memory.write(0xfec0_0010, Width::Four, 0x30);
//! ports.write(0x43, Width::One, 0x34);
//! ports.write(0x40, Width::One, 0xa9);
//! ports.write(0x40, Width::One, 0x04);
//!
//! // The event loop sleeps until the next deadline and serves it.
//! let due = timers.next_deadline_ns().ok_or("the timer runs")?;
//! timers.advance(clock.advance_to(due));
//! assert_eq!(apic.acknowledge(), Some(0x30));
//! # Ok(())
//! # }
//! ```
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
pub mod disk;
pub mod interrupt;
pub mod net;
pub mod p9;
pub mod pci;
pub mod platform_map;
pub mod power;
pub mod serial;
pub mod time;
pub mod timer;
pub mod virtio;

mod patience;

#[cfg(test)]
mod any_access;

pub use patience::Patience;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a panic elsewhere poisoned it: device state is plain values, valid at every step.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
