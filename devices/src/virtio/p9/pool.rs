//! Threads that serve one queue together.
//!
//! A thread that finds the queue rung takes all that is in it, in order, for everyone; wakes as many others as there are
//! requests for; and serves the first itself. So a guest that sends one request at a time is served with one wake-up, and
//! one that sends several, by several threads. The queue's lock is held to take and to give back, never to serve.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::Patience;
use crate::lock;
use crate::p9::{Frame, GuestReply, GuestRequest, Server};
use crate::virtio::idle::{self, Idle};
use crate::virtio::{Chain, Queue};

/// The threads. Dropping them ends them; the queue is stopped before.
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    server: Arc<Server>,
    state: Mutex<State>,
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
    idle: Idle,
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
        let shared =
            Arc::new(Shared { server: Arc::clone(server), state: Mutex::default(), drained: Condvar::new() });
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
        state.call(1);
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
        state.call(1);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.ending = true;
        state.idle.wake_all();
        drop(state);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of a shared folder panicked");
            }
        }
    }
}

impl AsMut<Idle> for State {
    fn as_mut(&mut self) -> &mut Idle {
        &mut self.idle
    }
}

impl State {
    /// Gets so many idle threads to look, if there are.
    fn call(&mut self, mut threads: usize) {
        if threads > 0 && self.idle.tell() {
            threads -= 1;
        }
        for _ in 0..threads {
            let Some(thread) = self.idle.next() else { break };
            thread.unpark();
        }
    }

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
                    state = idle::wait(&self.state, state, &mut patience);
                }
            }
        }
    }

    /// Serves a request with the queue unlocked, and gives it back.
    fn serve<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        request: (Frame, Chain),
    ) -> MutexGuard<'a, State> {
        let (frame, chain) = request;
        state.serving += 1;
        let others = state.waiting.len();
        state.call(others);
        drop(state);
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
