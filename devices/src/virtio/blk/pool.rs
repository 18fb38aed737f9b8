//! The threads that serve a disk's queues.
//!
//! A thread takes requests out of a queue, carries them out, and puts them into the used ring itself. While requests are
//! quick (the host has the data in memory) one thread takes several at a time, and the others sleep: waking them would
//! cost more than the work. As soon as requests take long, each thread takes one, and up to [`MAX_THREADS`] are in flight.
//!
//! ```text
//! ring ─pop─▶ Batch ─▶ a thread: image ─▶ complete, signal ─▶ used ring
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::request::{Request, Terms, serve};
use crate::Patience;
use crate::disk::DiskImage;
use crate::lock;
use crate::virtio::idle::{self, Idle};
use crate::virtio::{Chain, Queue, Signal};

/// Most threads of a disk: as many requests are with the host at a time.
const MAX_THREADS: usize = 8;

/// Requests that a thread takes at once while they are quick.
const BATCH: usize = 16;

/// Requests between two looks at the clock.
const BETWEEN_LOOKS: usize = 4;

/// Threads that share quick requests when there are enough: more would take turns at the ring.
const QUICK_THREADS: usize = 2;

/// A batch of requests that take less on average, nanoseconds, is done before a second thread is awake.
const TINY_NS: u64 = 2_000;

/// A request that takes longer on average, nanoseconds, is worth a thread of its own: waking one costs a few thousand.
const QUICK_NS: u64 = 30_000;

/// A request that takes longer than this, nanoseconds, waits for a drive: others are not to wait for it.
const BLOCKED_NS: u64 = 200_000;

/// A queue and its requests.
struct Lane {
    queue: Queue,
    /// Taken from the ring, with no thread; the oldest first. At most [`BATCH`] for each thread, and one.
    waiting: VecDeque<Request>,
    /// With a thread; at most [`BATCH`] for each.
    in_service: usize,
    /// The ring may hold something new.
    rung: bool,
    /// Nothing more is taken from the ring.
    stopping: bool,
}

impl Lane {
    fn new(queue: Queue) -> Self {
        Self { queue, waiting: VecDeque::new(), in_service: 0, rung: true, stopping: false }
    }

    fn pop(&mut self) -> Option<Chain> {
        while self.rung && !self.stopping {
            match self.queue.pop() {
                Some(chain) => return Some(chain),
                None => self.rung = self.queue.enable_notifications(),
            }
        }
        None
    }

    /// Takes `most` quick requests, or one that may take long, into `requests`, which is empty; whether there was one.
    fn take(&mut self, most: usize, requests: &mut Vec<Request>) -> bool {
        let left_over = self.waiting.len().min(most);
        requests.extend(self.waiting.drain(..left_over));
        // One more than may be taken tells that others are needed.
        while requests.len() + self.waiting.len() <= most {
            let Some(chain) = self.pop() else { break };
            requests.push(Request::new(chain));
        }
        // The driver has just written these on another processor: one fetch does not wait for the other.
        requests.iter_mut().skip(left_over).for_each(Request::read_header);
        let quick = requests.iter().take(most).take_while(|request| !request.may_take_long()).count();
        for request in requests.drain(quick.max(1).min(requests.len())..).rev() {
            self.waiting.push_front(request);
        }
        if !requests.is_empty() && self.rung {
            // Until the ring is found empty. When it was already, and only left-overs are taken, nobody would look again.
            self.queue.disable_notifications();
        }
        self.in_service += requests.len();
        !requests.is_empty()
    }

    /// Gives the first `served` chains back to the driver, and takes the requests behind them back. The chains count as in
    /// service until the interrupt that may be due is sent.
    fn finish(&mut self, batch: &mut Batch, served: usize) -> Option<Signal> {
        while batch.requests.len() > served {
            if let Some(request) = batch.requests.pop() {
                self.waiting.push_front(request);
            }
            self.in_service -= 1;
        }
        self.queue.complete_all(batch.requests.drain(..).map(|request| (request.chain, request.written)));
        self.queue.signal_due()
    }

    fn is_drained(&self) -> bool {
        self.in_service == 0 && self.waiting.is_empty()
    }
}

#[derive(Default)]
struct State {
    /// By number of the queue.
    lanes: Vec<Option<Lane>>,
    /// The lane that is looked at first: they take turns.
    turn: usize,
    threads: Vec<JoinHandle<()>>,
    idle: Idle,
    /// Threads with a request that takes as long as it takes, such as a flush.
    long: usize,
    /// How long a request takes, nanoseconds: a moving average.
    request_ns: u64,
    /// The last one to be learnt from took longer than [`BLOCKED_NS`].
    was_blocked: bool,
    end: bool,
}

impl AsMut<Idle> for State {
    fn as_mut(&mut self) -> &mut Idle {
        &mut self.idle
    }
}

/// Requests on their way through a thread.
#[derive(Default)]
struct Batch {
    /// Of one lane.
    lane: usize,
    requests: Vec<Request>,
    /// There is one, and it may take long.
    is_long: bool,
}

impl State {
    fn is_slow(&self) -> bool {
        self.request_ns > QUICK_NS
    }

    /// Learns how long a request took. One that took very long may have been this thread that lost its processor: only the
    /// second in a row tells of a slow drive.
    fn took(&mut self, took_ns: u64) {
        let is_blocked = took_ns > BLOCKED_NS;
        let was_blocked = std::mem::replace(&mut self.was_blocked, is_blocked);
        if is_blocked && !was_blocked {
            return;
        }
        let weight = if is_blocked { 1 } else { 8 };
        self.request_ns = self.request_ns - self.request_ns / weight + took_ns.min(2 * QUICK_NS) / weight;
    }

    /// Takes the next requests, into `batch`, which is empty; whether there are any.
    fn take(&mut self, batch: &mut Batch) -> bool {
        let most = if self.is_slow() { 1 } else { BATCH };
        let count = self.lanes.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some(lane) = self.lanes.get_mut(index).and_then(Option::as_mut) else { continue };
            if lane.take(most, &mut batch.requests) {
                batch.lane = index;
                batch.is_long = batch.requests.first().is_some_and(Request::may_take_long);
                self.turn = index + 1;
                self.long += usize::from(batch.is_long);
                return true;
            }
        }
        false
    }

    /// Whether requests wait for a thread.
    fn is_behind(&self) -> bool {
        self.lanes.iter().flatten().any(|lane| !lane.waiting.is_empty())
    }

    /// Whether another thread should look. One that is busy with quick requests will look soon itself, but if there are
    /// more than it could take, two are quicker.
    fn needs_help(&self) -> bool {
        let busy = self.threads.len().saturating_sub(self.idle.count());
        let quick = busy.saturating_sub(self.long);
        let several = self.request_ns > TINY_NS && quick < QUICK_THREADS;
        quick == 0 || self.is_slow() || several && self.is_behind()
    }
}

/// What the threads share.
struct Shared {
    image: Arc<DiskImage>,
    /// The features agreed on.
    features: u64,
    write_through: AtomicBool,
    /// A leaf lock but for what queues do: guest memory, and the interrupt of a transport.
    state: Mutex<State>,
    /// A lane has nothing in service any more, or a ring was found empty.
    drained: Condvar,
}

/// A disk's threads. Dropping it ends them.
pub(super) struct Pool(Arc<Shared>);

impl Pool {
    /// With one thread for now.
    ///
    /// # Errors
    /// The host has none left.
    pub(super) fn start(image: Arc<DiskImage>, terms: Terms) -> io::Result<Self> {
        let shared = Shared {
            image,
            features: terms.features,
            write_through: AtomicBool::new(terms.write_through),
            state: Mutex::default(),
            drained: Condvar::new(),
        };
        let pool = Self(Arc::new(shared));
        let mut state = lock(&pool.0.state);
        state.threads.push(spawn(&pool.0, 0)?);
        drop(state);
        Ok(pool)
    }

    /// Whether writes are safe when they are answered; for requests taken from now on.
    pub(super) fn set_write_through(&self, write_through: bool) {
        self.0.write_through.store(write_through, Ordering::Release);
    }

    pub(super) fn start_queue(&self, queue: Queue) {
        let index = usize::from(queue.index());
        let mut state = lock(&self.0.state);
        if state.lanes.len() <= index {
            state.lanes.resize_with(index + 1, || None);
        }
        if let Some(lane) = state.lanes.get_mut(index) {
            *lane = Some(Lane::new(queue));
        }
        self.0.call_help(&mut state);
    }

    /// Waits until all that was taken from the queue is done, which is a bounded number of requests, and gives it back.
    pub(super) fn stop_queue(&self, index: u16) -> Option<Queue> {
        let index = usize::from(index);
        let mut state = lock(&self.0.state);
        state.lanes.get_mut(index)?.as_mut()?.stopping = true;
        while state.lanes.get(index).and_then(Option::as_ref).is_some_and(|lane| !lane.is_drained()) {
            state = self.0.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.lanes.get_mut(index)?.take().map(|lane| lane.queue)
    }

    /// Waits until the ring was found empty and all that was taken from it is done.
    pub(super) fn settle(&self, index: u16) {
        let busy = |state: &mut State| {
            let lane = state.lanes.get(usize::from(index)).and_then(Option::as_ref);
            lane.is_some_and(|lane| lane.rung || !lane.is_drained())
        };
        drop(self.0.drained.wait_while(lock(&self.0.state), busy).unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn notify(&self, index: u16) {
        let mut state = lock(&self.0.state);
        if let Some(Some(lane)) = state.lanes.get_mut(usize::from(index)) {
            lane.rung = true;
            self.0.call_help(&mut state);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.end = true;
        state.idle.wake_all();
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a disk's thread panicked");
            }
        }
    }
}

fn spawn(shared: &Arc<Shared>, number: usize) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name(format!("virtio-blk {number}")).spawn(move || shared.run())
}

impl Shared {
    /// Gets a thread to look if one is needed: the one that looks out, one that sleeps, or a new one.
    fn call_help(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        if !state.needs_help() || state.idle.tell() {
            return;
        }
        if let Some(thread) = state.idle.next() {
            thread.unpark();
        } else if state.threads.len() < MAX_THREADS && !state.end {
            match spawn(self, state.threads.len()) {
                Ok(thread) => state.threads.push(thread),
                // Those that are there do the work.
                Err(error) => log::debug!("a disk gets no more threads: {error}"),
            }
        }
    }

    fn run(self: Arc<Self>) {
        // One allocation for all of them.
        let mut batch = Batch::default();
        let mut patience = Patience::default();
        let mut state = lock(&self.state);
        while !state.end {
            if !state.take(&mut batch) {
                self.drained.notify_all();
                state = idle::wait(&self.state, state, &mut patience);
                continue;
            }
            if state.is_behind() {
                self.call_help(&mut state);
            }
            drop(state);
            let (served, took_ns) = self.serve(&mut batch.requests);
            state = lock(&self.state);
            if batch.is_long {
                state.long -= 1;
            } else {
                state.took(took_ns);
            }
            let lane = state.lanes.get_mut(batch.lane).and_then(Option::as_mut);
            if let Some(signal) = lane.and_then(|lane| lane.finish(&mut batch, served)) {
                // The interrupt wakes a vCPU, which is to find the lock free.
                drop(state);
                signal.send();
                state = lock(&self.state);
            }
            if let Some(lane) = state.lanes.get_mut(batch.lane).and_then(Option::as_mut) {
                lane.in_service -= served;
                if lane.is_drained() {
                    self.drained.notify_all();
                }
            }
        }
    }

    /// Serves requests in order, up to a few that the drive was waited for; answers how many, and the time of one in
    /// nanoseconds.
    fn serve(&self, requests: &mut [Request]) -> (usize, u64) {
        let terms =
            Terms { features: self.features, write_through: self.write_through.load(Ordering::Acquire) };
        let since = Instant::now();
        let (mut served, mut before_ns) = (0, 0);
        for few in requests.chunks_mut(BETWEEN_LOOKS) {
            for request in few.iter_mut() {
                request.written = serve(request, &self.image, terms);
            }
            served += few.len();
            let now_ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            if now_ns - before_ns > BLOCKED_NS {
                return (served, now_ns - before_ns);
            }
            before_ns = now_ns;
        }
        (served, before_ns / served.max(1) as u64)
    }
}

#[cfg(test)]
#[path = "pool_test.rs"]
mod pool_test;
