use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::super::counting_vm::CountingVm;
use super::*;

struct Crew {
    group: Arc<VcpuGroup<u32>>,
    steps: Arc<AtomicUsize>,
    boots: Arc<AtomicU32>,
    threads: Vec<JoinHandle<()>>,
}

fn crew(count: usize) -> Crew {
    let vm = Arc::new(CountingVm::default());
    let bells = (0..count).map(|_| Arc::new(Doorbell::new(vm.clone()))).collect();
    let group = Arc::new(VcpuGroup::new(bells, 1));
    let steps = Arc::new(AtomicUsize::new(0));
    let boots = Arc::new(AtomicU32::new(0));
    let threads = (0..count)
        .map(|index| {
            let (group, steps, boots) = (group.clone(), steps.clone(), boots.clone());
            thread::spawn(move || {
                loop {
                    match group.order(index) {
                        Order::Run => {
                            steps.fetch_add(1, Ordering::SeqCst);
                            thread::yield_now();
                        }
                        Order::Reset(boot) => {
                            boots.fetch_add(*boot, Ordering::SeqCst);
                            group.reset_done(index);
                        }
                        Order::Exit => break,
                    }
                }
                group.gone(index);
            })
        })
        .collect();
    Crew { group, steps, boots, threads }
}

impl Crew {
    fn end(self) {
        self.group.end();
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.group.wait_parked();
    }

    fn wait_for_steps(&self) {
        let before = self.steps.load(Ordering::SeqCst);
        while self.steps.load(Ordering::SeqCst) == before {
            thread::yield_now();
        }
    }
}

#[test]
fn a_new_group_resets_and_stands_still() {
    let crew = crew(3);
    crew.group.wait_reset();
    crew.group.wait_parked();
    assert_eq!(crew.boots.load(Ordering::SeqCst), 3);
    assert_eq!(crew.steps.load(Ordering::SeqCst), 0);
    crew.end();
}

#[test]
fn after_wait_parked_nobody_runs() {
    let crew = crew(2);
    for _ in 0..100 {
        crew.group.release(Hold::Owner);
        crew.wait_for_steps();
        crew.group.hold(Hold::Owner);
        crew.group.wait_parked();
        let at = crew.steps.load(Ordering::SeqCst);
        thread::yield_now();
        assert_eq!(crew.steps.load(Ordering::SeqCst), at);
    }
    crew.end();
}

#[test]
fn holds_add_up() {
    let crew = crew(1);
    crew.group.hold(Hold::Console);
    crew.group.release(Hold::Owner);
    crew.group.wait_parked();
    assert_eq!(crew.steps.load(Ordering::SeqCst), 0);
    crew.group.release(Hold::Console);
    crew.wait_for_steps();
    crew.end();
}

#[test]
fn a_reset_reaches_every_vcpu_once() {
    let crew = crew(4);
    crew.group.wait_reset();
    crew.group.release(Hold::Owner);
    crew.wait_for_steps();
    crew.group.hold(Hold::Owner);
    crew.group.wait_parked();
    crew.group.reset(100);
    assert_eq!(crew.boots.load(Ordering::SeqCst), 404);
    crew.end();
}

#[test]
fn a_thread_that_is_gone_holds_nobody_up() {
    let vm = Arc::new(CountingVm::default());
    let group: VcpuGroup<u32> = VcpuGroup::new(vec![Arc::new(Doorbell::new(vm))], 1);
    group.gone(0);
    group.wait_parked();
    group.reset(2);
}

#[test]
fn all_asleep_is_told_by_the_last_unless_somebody_was_rung() {
    let vm = Arc::new(CountingVm::default());
    let bells: Vec<_> = (0..2).map(|_| Arc::new(Doorbell::new(vm.clone()))).collect();
    let group: VcpuGroup<u32> = VcpuGroup::new(bells.clone(), 1);
    assert!(!group.set_asleep(0, true));
    assert!(group.set_asleep(1, true));
    group.set_asleep(1, false);
    bells[0].ring();
    assert!(!group.set_asleep(1, true), "the first is about to wake");
    group.set_asleep(0, false);
    bells[0].answer();
    assert!(!group.set_asleep(1, true), "the first is awake");
    assert!(group.set_asleep(0, true));
}
