use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;

#[derive(Default)]
struct Shared {
    idle: Idle,
    jobs: u32,
    end: bool,
}

impl AsMut<Idle> for Shared {
    fn as_mut(&mut self) -> &mut Idle {
        &mut self.idle
    }
}

/// Does jobs, and says who did.
fn work(shared: &Mutex<Shared>, number: usize, done: &Sender<usize>) {
    let mut patience = Patience::default();
    let mut state = lock(shared);
    while !state.end {
        if state.jobs > 0 {
            state.jobs -= 1;
            done.send(number).unwrap();
        } else {
            state = wait(shared, state, &mut patience);
        }
    }
}

/// Gives a job to those who are idle, as pools do.
fn give(shared: &Mutex<Shared>) {
    let mut state = lock(shared);
    state.jobs += 1;
    if !state.idle.tell()
        && let Some(thread) = state.idle.next()
    {
        thread.unpark();
    }
}

fn all_asleep(shared: &Mutex<Shared>, count: usize) {
    while lock(shared).idle.asleep.len() < count {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Ends the workers when a test is done, also when it fails.
struct Ending<'a>(&'a Mutex<Shared>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut state = lock(self.0);
        state.end = true;
        state.idle.wake_all();
    }
}

/// Runs `body` beside three workers, who answer with their numbers.
fn beside_workers(body: impl FnOnce(&Mutex<Shared>, &Receiver<usize>)) {
    let shared = Mutex::new(Shared::default());
    let (done, answers) = channel();
    thread::scope(|scope| {
        for number in 0..3 {
            let (shared, done) = (&shared, done.clone());
            scope.spawn(move || work(shared, number, &done));
        }
        let _ending = Ending(&shared);
        body(&shared, &answers);
    });
}

#[test]
fn no_job_is_left_lying_and_all_end() {
    for round in 0..200 {
        beside_workers(|shared, answers| {
            for _ in 0..20 {
                give(shared);
                if round % 2 == 0 {
                    answers.recv_timeout(Duration::from_secs(60)).expect("a job is left lying");
                }
            }
            if round % 2 == 1 {
                for _ in 0..20 {
                    answers.recv_timeout(Duration::from_secs(60)).expect("a job is left lying");
                }
            }
        });
    }
}

#[test]
fn who_was_awake_last_is_woken_first() {
    beside_workers(|shared, answers| {
        all_asleep(shared, 3);
        give(shared);
        let first = answers.recv().unwrap();
        for _ in 0..10 {
            all_asleep(shared, 3);
            give(shared);
            assert_eq!(answers.recv().unwrap(), first);
        }
    });
}
