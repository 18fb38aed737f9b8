//! All vCPUs of a machine, as its owner commands them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Doorbell;

/// A reason for vCPUs to stand still. They run while there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Hold {
    /// The machine's owner wants it: paused, being reset, or ending.
    Owner = 1 << 0,
    /// The guest has asked for something (reset, power-off) that comes before its next instruction.
    Guest = 1 << 1,
    /// The console's reader does not keep up.
    Console = 1 << 2,
}

/// What a vCPU's thread is told when it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order<B> {
    /// Go on.
    Run,
    /// Take the reset state; the boot processor then starts as this says. Ask again.
    Reset(Arc<B>),
    /// Destroy the vCPU and end the thread.
    Exit,
}

struct Gate<B> {
    holds: u8,
    exit: bool,
    /// Counts resets; each thread follows.
    epoch: u64,
    boot: Option<Arc<B>>,
    threads: Vec<Seat>,
}

#[derive(Clone, Copy, Default)]
struct Seat {
    parked: bool,
    gone: bool,
    /// Waits for something that only another vCPU can do.
    asleep: bool,
    epoch: u64,
}

/// Commands all vCPU threads. `B` is what a boot processor starts with.
pub(crate) struct VcpuGroup<B> {
    bells: Vec<Arc<Doorbell>>,
    // Leaf lock; never held while a bell is rung.
    gate: Mutex<Gate<B>>,
    changed: Condvar,
}

impl<B> VcpuGroup<B> {
    /// A group that stands still, with a first reset to `boot` ordered.
    pub(crate) fn new(bells: Vec<Arc<Doorbell>>, boot: B) -> Self {
        let threads = vec![Seat::default(); bells.len()];
        let gate =
            Gate { holds: Hold::Owner as u8, exit: false, epoch: 1, boot: Some(Arc::new(boot)), threads };
        Self { bells, gate: Mutex::new(gate), changed: Condvar::new() }
    }

    /// The bell of vCPU `index`.
    pub(crate) fn bell(&self, index: usize) -> Option<&Arc<Doorbell>> {
        self.bells.get(index)
    }

    /// Makes vCPUs stop before their next instruction. Does not wait; any thread.
    pub(crate) fn hold(&self, reason: Hold) {
        let mut gate = self.lock();
        let news = gate.holds & reason as u8 == 0;
        gate.holds |= reason as u8;
        drop(gate);
        if news {
            self.ring_all();
        }
    }

    /// Takes a hold back; vCPUs run when it was the last.
    pub(crate) fn release(&self, reason: Hold) {
        self.lock().holds &= !(reason as u8);
        self.changed.notify_all();
    }

    /// Waits until no vCPU is in the guest. Called with a hold in place.
    pub(crate) fn wait_parked(&self) {
        let gate = self.lock();
        let busy = |gate: &mut Gate<B>| gate.threads.iter().any(|seat| !seat.parked && !seat.gone);
        drop(self.changed.wait_while(gate, busy).unwrap_or_else(PoisonError::into_inner));
    }

    /// Makes all vCPUs take their reset state and waits until they have. Called with a hold in place.
    pub(crate) fn reset(&self, boot: B) {
        let mut gate = self.lock();
        gate.epoch = gate.epoch.wrapping_add(1);
        gate.boot = Some(Arc::new(boot));
        drop(gate);
        self.changed.notify_all();
        self.wait_reset();
    }

    /// Waits until all vCPUs have taken the reset state last ordered.
    pub(crate) fn wait_reset(&self) {
        let gate = self.lock();
        let busy = |gate: &mut Gate<B>| {
            let epoch = gate.epoch;
            gate.threads.iter().any(|seat| seat.epoch != epoch && !seat.gone)
        };
        drop(self.changed.wait_while(gate, busy).unwrap_or_else(PoisonError::into_inner));
    }

    /// Makes all threads end; they are then to be joined.
    pub(crate) fn end(&self) {
        self.lock().exit = true;
        self.changed.notify_all();
        self.ring_all();
    }

    /// vCPU thread: what to do next. Blocks while there is a hold.
    pub(crate) fn order(&self, index: usize) -> Order<B> {
        let mut gate = self.lock();
        loop {
            if gate.exit {
                return Order::Exit;
            }
            let epoch = gate.epoch;
            let holds = gate.holds;
            let boot = gate.boot.clone();
            let Some(seat) = gate.threads.get_mut(index) else { return Order::Exit };
            if seat.epoch != epoch
                && let Some(boot) = boot
            {
                seat.parked = false;
                return Order::Reset(boot);
            }
            if holds == 0 {
                seat.parked = false;
                return Order::Run;
            }
            if !seat.parked {
                seat.parked = true;
                self.changed.notify_all();
            }
            gate = self.changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// vCPU thread: the reset ordered is done.
    pub(crate) fn reset_done(&self, index: usize) {
        let mut gate = self.lock();
        let epoch = gate.epoch;
        if let Some(seat) = gate.threads.get_mut(index) {
            seat.epoch = epoch;
        }
        drop(gate);
        self.changed.notify_all();
    }

    /// vCPU thread: it is about to sleep until another vCPU does something (`true`), or is awake again. Awake must be told before
    /// the bell is answered. True if now every vCPU sleeps so, and none has been rung: nothing will happen any more.
    pub(crate) fn set_asleep(&self, index: usize, asleep: bool) -> bool {
        let mut gate = self.lock();
        if let Some(seat) = gate.threads.get_mut(index) {
            seat.asleep = asleep;
        }
        let seats = gate.threads.iter().zip(&self.bells);
        asleep && seats.into_iter().all(|(seat, bell)| (seat.asleep || seat.gone) && !bell.is_rung())
    }

    /// vCPU thread: it ends, whatever the reason; nobody waits for it any more.
    pub(crate) fn gone(&self, index: usize) {
        if let Some(seat) = self.lock().threads.get_mut(index) {
            seat.gone = true;
        }
        self.changed.notify_all();
    }

    fn ring_all(&self) {
        self.bells.iter().for_each(|bell| bell.ring());
    }

    fn lock(&self) -> MutexGuard<'_, Gate<B>> {
        crate::lock(&self.gate)
    }
}

#[cfg(test)]
#[path = "group_test.rs"]
mod group_test;
