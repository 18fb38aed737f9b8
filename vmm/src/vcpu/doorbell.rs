//! Kicking a vCPU without losing the kick.
//!
//! The framework forgets an interrupt sent to a vCPU that is outside the guest. So whoever has news for a vCPU first
//! publishes them, then rings; and the vCPU announces that it enters, then looks for a ring, then enters:
//!
//! ```text
//! sender: news = …; rung = true; if place == GUEST → interrupt, if SLEEPING → notify
//! vCPU:   rung = false; look at the news; place = GUEST; if rung → place = OUTSIDE and look again; run
//! ```
//!
//! Sequentially consistent order leaves one gap: the interrupt may arrive after the vCPU has looked and before the processor
//! has entered. It is closed by time: every run is bounded by [`MAX_RUN`].

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use devices::Patience;
use hypervisor_framework::x86_64::{VcpuId, Vm};

/// The longest stay in the guest, and so the longest a kick can be late when it falls into the gap.
pub(crate) const MAX_RUN: Duration = Duration::from_millis(10);

/// In the VMM's code; it will look by itself.
const OUTSIDE: u8 = 0;
/// In the guest, or about to enter.
const GUEST: u8 = 1;
/// Waiting in [`Doorbell::sleep_until`].
const SLEEPING: u8 = 2;

/// One vCPU's bell. Any thread rings; the vCPU's own thread does the rest.
pub(crate) struct Doorbell {
    rung: AtomicBool,
    place: AtomicU8,
    id: OnceLock<VcpuId>,
    vm: Arc<dyn Vm>,
    // Leaf lock: guards the step from looking at `rung` to waiting.
    bed: Mutex<()>,
    woken: Condvar,
}

impl Doorbell {
    pub(crate) fn new(vm: Arc<dyn Vm>) -> Self {
        Self {
            rung: AtomicBool::new(false),
            place: AtomicU8::new(OUTSIDE),
            id: OnceLock::new(),
            vm,
            bed: Mutex::new(()),
            woken: Condvar::new(),
        }
    }

    /// The vCPU now exists under this number.
    pub(crate) fn set_id(&self, id: VcpuId) {
        // A vCPU is claimed once; a second number would be the same one.
        let _ = self.id.set(id);
    }

    /// Gets the vCPU to look around soon. Does not block.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        match self.place.load(Ordering::SeqCst) {
            GUEST => {
                if let Some(id) = self.id.get()
                    && let Err(error) = self.vm.interrupt(&[*id])
                {
                    // The bound on every run makes up for it.
                    log::warn!("vCPU {id} cannot be kicked: {error}");
                }
            }
            SLEEPING => {
                drop(crate::lock(&self.bed));
                self.woken.notify_one();
            }
            _ => {}
        }
    }

    /// The vCPU is about to look at everything that may be new. True if somebody rang.
    pub(crate) fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::SeqCst)
    }

    /// Has somebody rung since the last [`Self::answer`]?
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    /// Announces that the vCPU enters the guest. False if it must look around again first.
    pub(crate) fn enter(&self) -> bool {
        self.place.store(GUEST, Ordering::SeqCst);
        let free = !self.rung.load(Ordering::SeqCst);
        if !free {
            self.leave();
        }
        free
    }

    /// The vCPU has left the guest.
    pub(crate) fn leave(&self) {
        self.place.store(OUTSIDE, Ordering::SeqCst);
    }

    /// Waits until somebody rings or `until` is reached; `None` waits for a ring. Sleeps when patience is at its end.
    pub(crate) fn sleep_until(&self, until: Option<Instant>, patience: &mut Patience) {
        let since = Instant::now();
        if !patience.look_out(until, || self.is_rung()) {
            self.sleep(until);
        }
        patience.learn(since.elapsed());
    }

    fn sleep(&self, until: Option<Instant>) {
        let mut bed = crate::lock(&self.bed);
        self.place.store(SLEEPING, Ordering::SeqCst);
        while !self.rung.load(Ordering::SeqCst) {
            bed = match until {
                None => self.woken.wait(bed).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.woken.wait_timeout(bed, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        self.place.store(OUTSIDE, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[path = "doorbell_test.rs"]
mod doorbell_test;
