use std::sync::atomic::AtomicUsize;
use std::thread;

use super::super::counting_vm::CountingVm;
use super::*;

fn bell() -> (Arc<CountingVm>, Arc<Doorbell>) {
    let vm = Arc::new(CountingVm::default());
    let bell = Arc::new(Doorbell::new(vm.clone()));
    bell.set_id(0);
    (vm, bell)
}

#[test]
fn a_ring_outside_keeps_the_vcpu_from_entering_once() {
    let (vm, bell) = bell();
    bell.answer();
    bell.ring();
    assert!(!bell.enter());
    bell.answer();
    assert!(bell.enter());
    assert_eq!(vm.0.load(Ordering::SeqCst), 0, "nobody was in the guest");
}

#[test]
fn a_ring_in_the_guest_interrupts() {
    let (vm, bell) = bell();
    bell.answer();
    assert!(bell.enter());
    bell.ring();
    assert_eq!(vm.0.load(Ordering::SeqCst), 1);
    bell.leave();
    bell.ring();
    assert_eq!(vm.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_ring_before_sleep_is_not_slept_through() {
    let (_, bell) = bell();
    bell.answer();
    bell.ring();
    bell.sleep_until(None, &mut Patience::default());
}

#[test]
fn sleep_ends_at_its_time() {
    let (_, bell) = bell();
    bell.answer();
    bell.sleep_until(Some(Instant::now()), &mut Patience::default());
    bell.sleep_until(Some(Instant::now() + Duration::from_millis(1)), &mut Patience::default());
}

#[test]
fn rings_from_another_thread_always_wake() {
    const ROUNDS: usize = 2000;
    let (_, bell) = bell();
    let seen = Arc::new(AtomicUsize::new(0));
    let sent = Arc::new(AtomicUsize::new(0));
    let ringer = {
        let (bell, seen, sent) = (bell.clone(), seen.clone(), sent.clone());
        thread::spawn(move || {
            for round in 1..=ROUNDS {
                sent.store(round, Ordering::SeqCst);
                bell.ring();
                while seen.load(Ordering::SeqCst) < round {
                    thread::yield_now();
                }
            }
        })
    };
    let mut patience = Patience::default();
    while seen.load(Ordering::SeqCst) < ROUNDS {
        bell.answer();
        let news = sent.load(Ordering::SeqCst);
        if news > seen.load(Ordering::SeqCst) {
            seen.store(news, Ordering::SeqCst);
            continue;
        }
        bell.sleep_until(None, &mut patience);
    }
    ringer.join().unwrap();
}
