//! Requests under way: what Tflush and Tversion wait for.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::lock;

/// Requests admitted and not yet answered, by their order of admission.
#[derive(Debug, Default)]
pub(super) struct Flight {
    under_way: Mutex<UnderWay>,
    /// Told when a request is done while somebody waits.
    done: Condvar,
}

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    tags: BTreeMap<u64, u16>,
    waiting: usize,
}

/// A request's part in the flight; it is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    flight: Arc<Flight>,
    order: u64,
}

impl Flight {
    pub(super) fn admit(self: &Arc<Self>, tag: u16) -> Seat {
        let mut under_way = lock(&self.under_way);
        let order = under_way.next;
        under_way.next += 1;
        under_way.tags.insert(order, tag);
        Seat { flight: Arc::clone(self), order }
    }
}

impl Seat {
    /// Waits until all requests that were admitted before this one, and have this tag if one is given, are done.
    ///
    /// Only earlier requests: those have begun when this one has, if requests are begun in the order of their admission. So
    /// however few threads there are, one of them always goes on.
    pub(super) fn wait_for_earlier(&self, tag: Option<u16>) {
        let in_the_way = |under_way: &mut UnderWay| {
            under_way.tags.range(..self.order).any(|(_, t)| tag.is_none_or(|tag| *t == tag))
        };
        let mut under_way = lock(&self.flight.under_way);
        under_way.waiting += 1;
        let mut under_way =
            self.flight.done.wait_while(under_way, in_the_way).unwrap_or_else(PoisonError::into_inner);
        under_way.waiting -= 1;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut under_way = lock(&self.flight.under_way);
        under_way.tags.remove(&self.order);
        let waiting = under_way.waiting > 0;
        drop(under_way);
        if waiting {
            self.flight.done.notify_all();
        }
    }
}

#[cfg(test)]
#[path = "flight_test.rs"]
mod flight_test;
