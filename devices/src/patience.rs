//! Looking out for news a little while before sleeping.
//!
//! To wake a sleeping thread costs the waker a system call and the sleeper tens of microseconds. A guest that sends one
//! request at a time pays it twice for each: for the device's thread, and for the vCPU that waits for the answer. So who
//! waits looks out for as long as lately would have been enough, and not at all when nothing comes soon: the way of KVM's
//! halt polling (Linux, Documentation/virt/kvm/halt-polling.rst).

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Longest look-out. What takes longer is not made much slower by a wake-up.
const MOST: Duration = Duration::from_micros(200);

/// The first look-out after news came soon.
const FIRST: Duration = Duration::from_micros(10);

/// Looks between two offers of the processor to other threads.
const LOOKS: u32 = 32;

/// How long one thread looks out before it sleeps.
#[derive(Debug, Default)]
pub struct Patience {
    /// Zero: it sleeps at once.
    now: Duration,
}

impl Patience {
    /// Looks out until `news` says that there are, or patience or `until` ends; whether there are. The wait may go on by
    /// sleeping: [`Patience::learn`] wants to know how long it took in all.
    pub fn look_out(&self, until: Option<Instant>, news: impl Fn() -> bool) -> bool {
        let since = Instant::now();
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(since));
        let patience = self.now.min(left);
        while since.elapsed() < patience {
            for _ in 0..LOOKS {
                if news() {
                    return true;
                }
                std::hint::spin_loop();
            }
            // Whoever is to bring the news may have no other processor.
            thread::yield_now();
        }
        news()
    }

    /// What a wait took tells how long to look out next time.
    pub fn learn(&mut self, took: Duration) {
        if took > MOST || !can_afford() {
            self.now = Duration::ZERO;
        } else if took > self.now {
            self.now = (2 * self.now).clamp(FIRST, MOST);
        }
    }
}

/// With a single processor, whoever looks out keeps the news from coming.
fn can_afford() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| thread::available_parallelism().is_ok_and(|count| count.get() > 1))
}

#[cfg(test)]
#[path = "patience_test.rs"]
mod patience_test;
