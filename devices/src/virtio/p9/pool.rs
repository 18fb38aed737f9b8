//! Threads that serve one queue together.
//!
//! A thread that finds the queue rung takes all that is in it, in order, for everyone; wakes as many others as there are
//! requests for; and serves the first itself. So a guest that sends one request at a time is served with one wake-up, and
//! one that sends several, by several threads. The queue's lock is held to take and to give back, never to serve.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::Patience;
use crate::lock;
use crate::p9::{Frame, GuestReply, GuestRequest, Server};
use crate::virtio::{Chain, Queue};

/// The threads. Dropping them ends them; the queue is stopped before.
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    server: Arc<Server>,
    /// Counts what the lookout is to see.
    news: AtomicU64,
    state: Mutex<State>,
    /// There is something to do, or an end to it.
    work: Condvar,
    /// Nothing is in flight any more.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    queue: Option<Queue>,
    /// The driver has rung since the queue was last found empty.
    rung: bool,
    /// Taken from the queue, in its order. At most its entries.
    waiting: VecDeque<(Frame, Chain)>,
    /// Being served.
    serving: usize,
    /// Threads that sleep.
    idle: usize,
    /// A thread has nothing to do and looks out for a ring.
    is_lookout: bool,
    /// The queue is to be given back: nothing more is taken from it.
    stopping: bool,
    ending: bool,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The host has no more threads.
    pub(super) fn spawn(server: &Arc<Server>, threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            server: Arc::clone(server),
            news: AtomicU64::new(0),
            state: Mutex::default(),
            work: Condvar::new(),
            drained: Condvar::new(),
        });
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let thread = thread::Builder::new().name(format!("virtio-9p-{number}"));
            pool.threads.push(thread.spawn(move || shared.run())?);
        }
        Ok(pool)
    }

    /// Serves a queue, and what is in it already.
    pub(super) fn start(&self, queue: Queue) {
        let mut state = lock(&self.shared.state);
        state.queue = Some(queue);
        state.rung = true;
        state.stopping = false;
        self.shared.news.fetch_add(1, Ordering::SeqCst);
        drop(state);
        self.shared.work.notify_one();
    }

    /// Gives the queue back when what was taken from it is done.
    pub(super) fn stop(&self) -> Option<Queue> {
        let mut state = lock(&self.shared.state);
        state.stopping = true;
        let in_flight = |state: &mut State| state.serving > 0 || !state.waiting.is_empty();
        let state = self.shared.drained.wait_while(state, in_flight);
        state.unwrap_or_else(PoisonError::into_inner).queue.take()
    }

    /// Waits until the queue was found empty and all that was taken from it is done.
    pub(super) fn settle(&self) {
        let busy = |state: &mut State| state.rung || state.serving > 0 || !state.waiting.is_empty();
        let state = self.shared.drained.wait_while(lock(&self.shared.state), busy);
        drop(state.unwrap_or_else(PoisonError::into_inner));
    }

    /// The driver has put something into the queue.
    pub(super) fn notify(&self) {
        let mut state = lock(&self.shared.state);
        state.rung = true;
        self.shared.news.fetch_add(1, Ordering::SeqCst);
        let wake = state.idle > 0 && !state.is_lookout;
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.ending = true;
        // With the lock held: a thread that has seen no news sleeps before this, and is woken.
        self.shared.news.fetch_add(1, Ordering::SeqCst);
        drop(state);
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of a shared folder panicked");
            }
        }
    }
}

impl State {
    /// Takes what is in the queue. Requests are admitted here, one by one in the driver's order.
    fn take_all(&mut self, server: &Server) {
        let Some(queue) = self.queue.as_mut().filter(|_| self.rung && !self.stopping) else { return };
        self.rung = false;
        let mut unanswerable = false;
        loop {
            while let Some(chain) = queue.pop() {
                let frame = {
                    let header = chain.reader().slices(GuestRequest::HEADER_LEN);
                    server.admit(&mut GuestRequest::new(&header))
                };
                match frame {
                    Some(frame) => self.waiting.push_back((frame, chain)),
                    None => {
                        queue.complete(chain, 0);
                        unanswerable = true;
                    }
                }
            }
            if !queue.enable_notifications() {
                break;
            }
        }
        if unanswerable {
            queue.signal();
        }
    }
}

impl Shared {
    /// A thread's life.
    fn run(&self) {
        let mut patience = Patience::default();
        let mut state = lock(&self.state);
        while !state.ending {
            state.take_all(&self.server);
            match state.waiting.pop_front() {
                Some(request) => state = self.serve(state, request),
                None => {
                    self.drained.notify_all();
                    state = self.wait(state, &mut patience);
                }
            }
        }
    }

    /// Waits for work, which may have come to an end or gone to another thread when this returns. One thread at a time looks
    /// out before it sleeps.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        patience: &mut Patience,
    ) -> MutexGuard<'a, State> {
        if state.is_lookout {
            return self.sleep(state);
        }
        state.is_lookout = true;
        let known = self.news.load(Ordering::SeqCst);
        drop(state);
        let is_news = || self.news.load(Ordering::SeqCst) != known;
        let (wait, _) = patience.look_out(None, is_news);
        let mut state = lock(&self.state);
        state.is_lookout = false;
        // With the lock held, so that nobody can think that this thread still looks out.
        if !is_news() && state.waiting.is_empty() {
            state = self.sleep(state);
        }
        patience.learn(&wait);
        state
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.idle += 1;
        let mut state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state
    }

    /// Serves a request with the queue unlocked, and gives it back.
    fn serve<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        request: (Frame, Chain),
    ) -> MutexGuard<'a, State> {
        let (frame, chain) = request;
        state.serving += 1;
        let others = state.waiting.len().min(state.idle);
        drop(state);
        for _ in 0..others {
            self.work.notify_one();
        }
        let written = {
            let (reader, writer) = (chain.reader(), chain.writer());
            let (readable, writable) = (reader.slices(u64::MAX), writer.slices(u64::MAX));
            let mut request = GuestRequest::behind_header(&readable);
            self.server.serve(&frame, &mut request, &mut GuestReply::new(&writable))
        };
        let mut state = lock(&self.state);
        if let Some(queue) = &mut state.queue {
            // Replies are no longer than a message.
            queue.complete(chain, u32::try_from(written).unwrap_or(0));
            queue.signal();
        }
        // Only now: a flush of this request must be answered behind it.
        drop(frame);
        state.serving -= 1;
        if state.serving == 0 && state.waiting.is_empty() {
            self.drained.notify_all();
        }
        state
    }
}
