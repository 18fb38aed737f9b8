//! C's blocks (Clang's "Block Implementation Specification"): a function and what it captured, as one argument.

use std::ffi::{c_int, c_ulong, c_void};

unsafe extern "C" {
    /// The class of blocks that live on their creator's stack: who keeps one copies it.
    static _NSConcreteStackBlock: c_void;
}

#[repr(C)]
struct Descriptor {
    reserved: c_ulong,
    size: c_ulong,
}

/// A block that captured a pointer to a `T`. It needs no helpers to be copied: the pointer is copied.
#[repr(C)]
struct Layout<T> {
    class: *const c_void,
    flags: c_int,
    reserved: c_int,
    invoke: *const c_void,
    descriptor: *const Descriptor,
    captured: *const T,
}

/// A block and what it captured. What was captured lives as long as this, so this has to outlive the last call.
pub(super) struct Block<T> {
    layout: Box<Layout<T>>,
    _descriptor: Box<Descriptor>,
    captured: *mut T,
}

impl<T> Block<T> {
    /// `invoke` is a C function whose first argument is the block, for [`Block::captured`].
    pub(super) fn new(invoke: *const c_void, captured: T) -> Self {
        let captured = Box::into_raw(Box::new(captured));
        let size = size_of::<Layout<T>>() as c_ulong;
        let descriptor = Box::new(Descriptor { reserved: 0, size });
        let layout = Box::new(Layout {
            class: &raw const _NSConcreteStackBlock,
            flags: 0,
            reserved: 0,
            invoke,
            descriptor: &raw const *descriptor,
            captured: captured.cast_const(),
        });
        Self { layout, _descriptor: descriptor, captured }
    }

    /// The block as an argument.
    pub(super) fn as_ptr(&self) -> *const c_void {
        (&raw const *self.layout).cast()
    }

    /// What the block captured.
    ///
    /// # Safety
    /// `block` is what an invoked function got as its first argument, and the [`Block`] it was made as still lives.
    pub(super) unsafe fn captured<'a>(block: *mut c_void) -> &'a T {
        // SAFETY: the argument is a block of our layout, or a copy of one.
        unsafe { &*(*block.cast::<Layout<T>>()).captured }
    }

    /// Keeps what the block needs for ever: it may be invoked at any time.
    pub(super) fn leak(self) {
        Box::leak(Box::new(self));
    }
}

impl<T> Drop for Block<T> {
    fn drop(&mut self) {
        // SAFETY: made by Box::into_raw in `new`, and freed once.
        drop(unsafe { Box::from_raw(self.captured) });
    }
}
