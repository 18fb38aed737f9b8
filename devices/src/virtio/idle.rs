//! The threads of a pool that have nothing to do.
//!
//! One of them at a time looks out before it sleeps, and sees news without being woken. Of those that sleep, the one that
//! was awake last is woken first: its caches are warm, and the others may stay asleep.
//!
//! All of it lies under the lock of what the pool shares, and needs `&mut`: news are told with that lock held, so a thread
//! that has not seen them sleeps by then, and can be woken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::{Patience, lock};

/// The idle ones.
#[derive(Default)]
pub(super) struct Idle {
    /// The last one was awake a moment ago.
    asleep: Vec<Thread>,
    has_lookout: bool,
    /// Counts what the lookout is to see.
    news: Arc<AtomicU64>,
}

impl Idle {
    /// Threads that sleep or look out.
    pub(super) fn count(&self) -> usize {
        self.asleep.len() + usize::from(self.has_lookout)
    }

    /// There may be something to do. Whether a thread looks out, and sees it by itself.
    pub(super) fn tell(&mut self) -> bool {
        self.news.fetch_add(1, Ordering::SeqCst);
        self.has_lookout
    }

    /// The thread to [`Thread::unpark`] next, if one sleeps.
    pub(super) fn next(&mut self) -> Option<Thread> {
        self.asleep.pop()
    }

    /// Gets all of them to look.
    pub(super) fn wake_all(&mut self) {
        self.tell();
        self.asleep.drain(..).for_each(|thread| thread.unpark());
    }
}

/// Waits until there may be something to do; it may have gone to another thread when this returns.
pub(super) fn wait<'a, S: AsMut<Idle>>(
    shared: &'a Mutex<S>,
    mut state: MutexGuard<'a, S>,
    patience: &mut Patience,
) -> MutexGuard<'a, S> {
    let idle = (*state).as_mut();
    if idle.has_lookout {
        return sleep(shared, state);
    }
    let since = Instant::now();
    idle.has_lookout = true;
    let news = Arc::clone(&idle.news);
    let known = news.load(Ordering::SeqCst);
    drop(state);
    let is_news = || news.load(Ordering::SeqCst) != known;
    patience.look_out(None, is_news);
    let mut state = lock(shared);
    (*state).as_mut().has_lookout = false;
    // With the lock held: what is told from now on finds a thread that sleeps.
    if !is_news() {
        state = sleep(shared, state);
    }
    patience.learn(since.elapsed());
    state
}

fn sleep<'a, S: AsMut<Idle>>(shared: &'a Mutex<S>, mut state: MutexGuard<'a, S>) -> MutexGuard<'a, S> {
    let this = thread::current();
    (*state).as_mut().asleep.push(this.clone());
    // Until somebody takes this thread off the list; it may wake without.
    while (*state).as_mut().asleep.iter().any(|thread| thread.id() == this.id()) {
        drop(state);
        thread::park();
        state = lock(shared);
    }
    state
}

#[cfg(test)]
#[path = "idle_test.rs"]
mod idle_test;
