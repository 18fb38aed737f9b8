//! Which nodes keep a descriptor.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::Node;
use crate::lock;
use crate::p9::os::Handle;

/// A node's descriptor, while it has one.
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

    pub(super) fn get(&self) -> Option<Arc<Handle>> {
        let handle = lock(&self.handle).clone();
        if handle.is_some() {
            self.recent.store(true, Ordering::Relaxed);
        }
        handle
    }
}

/// The nodes whose descriptor is kept, about in the order in which they got it. The least recently used are evicted (second
/// chance); pinned ones only when there is nothing else.
#[derive(Debug)]
pub(super) struct HandleCache {
    limit: usize,
    queue: Mutex<VecDeque<Weak<Node>>>,
}

impl HandleCache {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, queue: Mutex::default() }
    }

    /// Keeps `handle` with `node`. Another handle that the node has got meanwhile stays.
    pub(super) fn keep(&self, node: &Arc<Node>, handle: &Arc<Handle>, pinned: bool) {
        let slot = node.handle_slot();
        if pinned {
            slot.pinned.store(true, Ordering::Relaxed);
        }
        {
            let mut kept = lock(&slot.handle);
            if kept.is_some() {
                return;
            }
            *kept = Some(Arc::clone(handle));
        }
        let mut evicted = Vec::new(); // closed when the queue is free again
        let mut queue = lock(&self.queue);
        queue.push_back(Arc::downgrade(node));
        let mut chances = 2 * queue.len();
        while queue.len() > self.limit {
            let Some(oldest) = queue.pop_front() else { break };
            let Some(node) = oldest.upgrade() else { continue };
            let slot = node.handle_slot();
            let recent = slot.recent.swap(false, Ordering::Relaxed);
            if chances > 0 && (recent || slot.pinned.load(Ordering::Relaxed)) {
                chances -= 1;
                queue.push_back(oldest);
                continue;
            }
            let handle = lock(&slot.handle).take();
            evicted.push((handle, node));
        }
        drop(queue);
    }

    /// Lets go of all descriptors but pinned ones.
    pub(super) fn clear(&self) {
        let mut evicted = Vec::new();
        lock(&self.queue).retain(|weak| {
            let Some(node) = weak.upgrade() else { return false };
            let slot = node.handle_slot();
            let pinned = slot.pinned.load(Ordering::Relaxed);
            if !pinned {
                let handle = lock(&slot.handle).take();
                evicted.push((handle, node));
            }
            pinned
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.queue).len()
    }
}
