//! A thread that serves queues: for devices whose work is done where it is found.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Registry, Token, Waker};

use super::queue::Queue;
use super::{ActivationError, DeviceLink};
use crate::lock;

/// The worker's own token; what a server registers has others.
const WAKE: Token = Token(usize::MAX);

/// Events taken at once.
const EVENTS: usize = 64;

/// The queues a worker has now, by number.
#[derive(Default)]
pub struct Serving {
    queues: Vec<Option<Queue>>,
}

impl Serving {
    /// Queue `index`, if it runs.
    pub fn queue(&mut self, index: u16) -> Option<&mut Queue> {
        self.queues.get_mut(usize::from(index)).and_then(Option::as_mut)
    }

    fn put(&mut self, queue: Queue) {
        let index = usize::from(queue.index());
        if self.queues.len() <= index {
            self.queues.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.queues.get_mut(index) {
            *slot = Some(queue);
        }
    }

    fn take(&mut self, index: u16) -> Option<Queue> {
        self.queues.get_mut(usize::from(index)).and_then(Option::take)
    }
}

/// What a worker does. All of it on the worker's thread.
pub trait Serve: Send + 'static {
    /// Registers descriptors to be watched, with any tokens but `usize::MAX`.
    ///
    /// # Errors
    /// The host refuses; the device is not activated.
    fn register(&mut self, _registry: &Registry) -> io::Result<()> {
        Ok(())
    }

    /// Queue `index` was started, or its driver has put something into it. Serves until it is empty and has notifications
    /// enabled, or until the server waits for something else.
    fn serve(&mut self, queues: &mut Serving, index: u16);

    /// A registered descriptor is ready.
    fn ready(&mut self, _queues: &mut Serving, _event: &Event) {}

    /// Queue `index` is about to be taken away: what is in flight on it is completed or given back now.
    fn drain(&mut self, _queues: &mut Serving, _index: u16) {}

    /// When [`Serve::tick`] is due.
    fn deadline(&mut self) -> Option<Instant> {
        None
    }

    /// The deadline has passed.
    fn tick(&mut self, _queues: &mut Serving) {}
}

enum Order {
    Start(Queue),
    Stop(u16, Sender<Option<Queue>>),
    /// End the thread; give the server back.
    End,
}

/// A device's only worker. Dropping it ends the thread.
pub struct QueueWorker<S> {
    orders: Mutex<Sender<Order>>,
    rings: Arc<Rings>,
    thread: Option<JoinHandle<S>>,
}

/// Queues rung since the worker looked, as bits.
struct Rings {
    rung: AtomicU64,
    waker: Waker,
}

impl Rings {
    fn ring(&self, bits: u64) {
        // Whoever rings first wakes; the others' bits are found at the same look.
        if self.rung.fetch_or(bits, Ordering::SeqCst) == 0
            && let Err(error) = self.waker.wake()
        {
            log::error!("a device's worker cannot be woken: {error}");
        }
    }
}

/// The bit that says there are orders. Devices have fewer than 63 queues.
const ORDERS: u64 = 1 << 63;

impl<S: Serve> QueueWorker<S> {
    /// Starts a thread called `name` that serves with `server`.
    ///
    /// # Errors
    /// The host has no thread or no descriptors left, or the server's cannot be watched.
    pub fn spawn(name: &str, mut server: S) -> io::Result<Self> {
        let poll = Poll::new()?;
        let rings = Arc::new(Rings { rung: AtomicU64::new(0), waker: Waker::new(poll.registry(), WAKE)? });
        server.register(poll.registry())?;
        let (orders, receiver) = mpsc::channel();
        let turn = Turn { poll, orders: receiver, rings: rings.clone(), queues: Serving::default(), server };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || turn.run())?;
        Ok(Self { orders: Mutex::new(orders), rings, thread: Some(thread) })
    }

    fn order(&self, order: Order) {
        // A worker that is gone has panicked; there is nobody to serve.
        let _ = lock(&self.orders).send(order);
        self.rings.ring(ORDERS);
    }

    /// Hands a queue to the worker.
    pub fn start_queue(&self, queue: Queue) {
        self.order(Order::Start(queue));
    }

    /// Takes a queue back when nothing is in flight on it.
    pub fn stop_queue(&self, index: u16) -> Option<Queue> {
        let (sender, receiver) = mpsc::channel();
        self.order(Order::Stop(index, sender));
        receiver.recv().ok().flatten()
    }

    /// Something is in queue `index`. Cheap, does not block.
    pub fn notify(&self, index: u16) {
        self.rings.ring(1 << (index % 63));
    }

    /// Ends the thread and gives the server back; `None` if it panicked.
    pub fn end(mut self) -> Option<S> {
        self.join()
    }

    fn join(&mut self) -> Option<S> {
        let thread = self.thread.take()?;
        self.order(Order::End);
        thread.join().map_err(|_| log::error!("a device's worker panicked")).ok()
    }
}

impl<S> Drop for QueueWorker<S> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = lock(&self.orders).send(Order::End);
            self.rings.ring(ORDERS);
            if thread.join().is_err() {
                log::error!("a device's worker panicked");
            }
        }
    }
}

/// Where a device keeps its worker: empty while its driver is not ready.
pub struct WorkerSlot<S>(Option<QueueWorker<S>>);

impl<S> Default for WorkerSlot<S> {
    fn default() -> Self {
        Self(None)
    }
}

impl<S: Serve> WorkerSlot<S> {
    /// Starts a worker called `name`, in the place of one that may be there.
    ///
    /// # Errors
    /// As [`QueueWorker::spawn`]; the server is lost.
    pub fn start(&mut self, name: &str, server: S) -> Result<(), ActivationError> {
        self.0 = Some(QueueWorker::spawn(name, server).map_err(|error| ActivationError(error.to_string()))?);
        Ok(())
    }

    /// [`QueueWorker::start_queue`].
    pub fn start_queue(&self, queue: Queue) {
        if let Some(worker) = &self.0 {
            worker.start_queue(queue);
        }
    }

    /// [`QueueWorker::stop_queue`].
    pub fn stop_queue(&self, index: u16) -> Option<Queue> {
        self.0.as_ref()?.stop_queue(index)
    }

    /// [`QueueWorker::notify`].
    pub fn notify(&self, index: u16) {
        if let Some(worker) = &self.0 {
            worker.notify(index);
        }
    }

    /// Ends the worker and gives its server back.
    pub fn end(&mut self) -> Option<S> {
        self.0.take().and_then(QueueWorker::end)
    }
}

/// A worker and the link to its driver, for devices that others reach by handles. The worker takes neither lock.
pub struct SharedWorker<S> {
    slot: Mutex<WorkerSlot<S>>,
    /// Held while the driver is told something, so that none is told after a reset.
    link: Mutex<Option<DeviceLink>>,
}

impl<S> Default for SharedWorker<S> {
    fn default() -> Self {
        Self { slot: Mutex::default(), link: Mutex::default() }
    }
}

impl<S: Serve> SharedWorker<S> {
    /// [`WorkerSlot::start`], with the way to the driver.
    ///
    /// # Errors
    /// Its errors.
    pub fn start(&self, name: &str, server: S, link: DeviceLink) -> Result<(), ActivationError> {
        lock(&self.slot).start(name, server)?;
        *lock(&self.link) = Some(link);
        Ok(())
    }

    /// [`QueueWorker::start_queue`].
    pub fn start_queue(&self, queue: Queue) {
        lock(&self.slot).start_queue(queue);
    }

    /// [`QueueWorker::stop_queue`].
    pub fn stop_queue(&self, index: u16) -> Option<Queue> {
        lock(&self.slot).stop_queue(index)
    }

    /// [`QueueWorker::notify`].
    pub fn notify(&self, index: u16) {
        lock(&self.slot).notify(index);
    }

    /// [`DeviceLink::config_changed`], if there is a driver.
    pub fn config_changed(&self) {
        if let Some(link) = &*lock(&self.link) {
            link.config_changed();
        }
    }

    /// Ends the worker; the driver is told nothing more.
    pub fn end(&self) {
        *lock(&self.link) = None;
        let worker = std::mem::take(&mut *lock(&self.slot));
        // Without the lock: a handle need not wait for the thread.
        drop(worker);
    }
}

/// The worker's thread.
struct Turn<S> {
    poll: Poll,
    orders: Receiver<Order>,
    rings: Arc<Rings>,
    queues: Serving,
    server: S,
}

impl<S: Serve> Turn<S> {
    fn run(mut self) -> S {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let rung = self.rings.rung.swap(0, Ordering::SeqCst);
            if rung & ORDERS != 0 && !self.follow() {
                return self.server;
            }
            let mut bits = rung & !ORDERS;
            while bits != 0 {
                // Below 63.
                let index = bits.trailing_zeros() as u16;
                bits &= bits - 1;
                if self.queues.queue(index).is_some() {
                    self.server.serve(&mut self.queues, index);
                }
            }
            let wait = self.server.deadline().map(|at| at.saturating_duration_since(Instant::now()));
            if wait == Some(Duration::ZERO) {
                self.server.tick(&mut self.queues);
            }
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("a device's worker cannot wait: {error}");
                return self.server;
            }
            for event in events.iter().filter(|event| event.token() != WAKE) {
                self.server.ready(&mut self.queues, event);
            }
        }
    }

    /// Carries out orders; false if the last is to end.
    fn follow(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Start(queue) => {
                    let index = queue.index();
                    self.queues.put(queue);
                    self.server.serve(&mut self.queues, index);
                }
                Order::Stop(index, answer) => {
                    self.server.drain(&mut self.queues, index);
                    // Who asked may have given up.
                    let _ = answer.send(self.queues.take(index));
                }
                Order::End => return false,
            }
        }
        true
    }
}

#[cfg(test)]
#[path = "worker_test.rs"]
mod worker_test;
