//! Which nodes, and which open files, keep a descriptor.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::lock;
use crate::p9::os::Handle;

/// What may have a descriptor.
pub(super) trait Holder {
    /// Where it is kept.
    fn handle_slot(&self) -> &HandleSlot;

    /// Is there no way, or not in all cases, by which it could be had again?
    fn is_pinned(&self) -> bool;
}

/// A holder's descriptor, while it has one.
#[derive(Debug, Default)]
pub(super) struct HandleSlot {
    handle: Mutex<Option<Arc<Handle>>>,
    /// Used since the cache last looked.
    recent: AtomicBool,
    /// There is no name any more by which the handle could be had again.
    pinned: AtomicBool,
}

impl HandleSlot {
    pub(super) fn holding(handle: Handle) -> Self {
        let slot = Self::default();
        *lock(&slot.handle) = Some(Arc::new(handle));
        slot
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }

    pub(super) fn pin(&self) {
        self.pinned.store(true, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<Arc<Handle>> {
        let handle = lock(&self.handle).clone();
        if handle.is_some() {
            self.recent.store(true, Ordering::Relaxed);
        }
        handle
    }
}

/// The holders whose descriptor is kept, about in the order in which they got it. The least recently used are evicted (second
/// chance); pinned ones only when there is nothing else.
#[derive(Debug)]
pub(super) struct HandleCache<T> {
    limit: usize,
    queue: Mutex<VecDeque<Weak<T>>>,
}

impl<T: Holder> HandleCache<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, queue: Mutex::default() }
    }

    /// Keeps `handle` with `holder`. Another handle that it has got meanwhile stays.
    pub(super) fn keep(&self, holder: &Arc<T>, handle: &Arc<Handle>) {
        {
            let mut kept = lock(&holder.handle_slot().handle);
            if kept.is_some() {
                return;
            }
            *kept = Some(Arc::clone(handle));
        }
        let mut evicted = Vec::new(); // closed when the queue is free again
        let mut queue = lock(&self.queue);
        queue.push_back(Arc::downgrade(holder));
        let mut chances = 2 * queue.len();
        while queue.len() > self.limit {
            let Some(oldest) = queue.pop_front() else { break };
            let Some(holder) = oldest.upgrade() else { continue };
            let slot = holder.handle_slot();
            let recent = slot.recent.swap(false, Ordering::Relaxed);
            if chances > 0 && (recent || holder.is_pinned()) {
                chances -= 1;
                queue.push_back(oldest);
                continue;
            }
            let handle = lock(&slot.handle).take();
            evicted.push((handle, holder));
        }
        drop(queue);
    }

    /// Lets go of all descriptors but pinned ones.
    pub(super) fn clear(&self) {
        let mut evicted = Vec::new();
        lock(&self.queue).retain(|weak| {
            let Some(holder) = weak.upgrade() else { return false };
            let pinned = holder.is_pinned();
            if !pinned {
                let handle = lock(&holder.handle_slot().handle).take();
                evicted.push((handle, holder));
            }
            pinned
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.queue).len()
    }
}
