use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::*;

/// Long enough for a thread to have gone wrong.
const A_WHILE: Duration = Duration::from_millis(50);

#[test]
fn waits_for_earlier_requests_of_the_tag_only() {
    let flight = Arc::<Flight>::default();
    let (first, other) = (flight.admit(5), flight.admit(6));
    let flush = flight.admit(9);
    let later = flight.admit(5);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            flush.wait_for_earlier(Some(5));
            done.store(true, Ordering::SeqCst);
        });
        thread::sleep(A_WHILE);
        assert!(!done.load(Ordering::SeqCst));
        drop(first);
    });
    assert!(done.load(Ordering::SeqCst));
    drop((later, other));
}

#[test]
fn nothing_waits_for_itself_or_for_what_comes_later() {
    let flight = Arc::<Flight>::default();
    let flush = flight.admit(5);
    let _later = flight.admit(5);
    flush.wait_for_earlier(Some(5));
    flush.wait_for_earlier(None);
}

#[test]
fn a_version_waits_for_all() {
    let flight = Arc::<Flight>::default();
    let seats = [flight.admit(1), flight.admit(2)];
    let version = flight.admit(0xffff);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| version.wait_for_earlier(None));
        for seat in seats {
            thread::sleep(A_WHILE / 5);
            assert!(!waiter.is_finished());
            drop(seat);
        }
    });
}
