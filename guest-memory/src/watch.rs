//! Writes by the host into guest memory, told to whoever watches the page.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use vm_memory::bitmap::{Bitmap, BitmapSlice, NewBitmap, WithBitmapSlice};

/// log2 of the page size, 4 KiB.
const PAGE_SHIFT: usize = 12;

/// Told when the host has written to a watched page.
pub trait WatchedWriteListener: Send + Sync {
    /// `page` is the 4 KiB page's index within the region that `watch` belongs to. Called on the writing thread, after
    /// the write.
    fn host_wrote(&self, watch: &WriteWatch, page: usize);
}

/// The dirty "bitmap" of a [`super::HostRegion`]: knows which of its pages are watched.
///
/// vm-memory marks every write a device makes; a mark on a watched page is told to the listener.
#[derive(Clone, Default)]
pub struct WriteWatch {
    pages: Arc<Pages>,
}

/// The part of a [`WriteWatch`] that belongs to a slice of its region. Borrowed: counting references would make all threads
/// that move data write to one place.
#[derive(Debug, Clone, Copy)]
pub struct WatchedSlice<'a> {
    watch: &'a WriteWatch,
    /// Offset of the slice within the region, bytes.
    offset: usize,
}

impl<'a> WatchedSlice<'a> {
    /// The whole region's.
    pub fn watch(&self) -> &'a WriteWatch {
        self.watch
    }
}

#[derive(Default)]
struct Pages {
    /// Per 4 KiB page, 1 while it is watched.
    watched: Box<[AtomicU8]>,
    listener: Mutex<Option<Weak<dyn WatchedWriteListener>>>,
}

impl WriteWatch {
    /// Names who is told, in place of who was before.
    pub fn listen(&self, listener: Weak<dyn WatchedWriteListener>) {
        *self.pages.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Do both watch the same region?
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pages, &other.pages)
    }

    /// Is this page watched?
    #[inline]
    pub fn is_watched(&self, page: usize) -> bool {
        self.pages.watched.get(page).is_some_and(|flag| flag.load(Ordering::SeqCst) != 0)
    }

    /// Watches a page, or no longer; answers whether it was watched before.
    pub fn set_watched(&self, page: usize, watched: bool) -> bool {
        self.pages.watched.get(page).is_some_and(|flag| flag.swap(u8::from(watched), Ordering::SeqCst) != 0)
    }

    /// The host has written to a watched page.
    #[cold]
    fn tell(&self, page: usize) {
        let listener = self.pages.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(listener) = listener.and_then(|weak| weak.upgrade()) {
            listener.host_wrote(self, page);
        }
    }
}

impl fmt::Debug for WriteWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteWatch").field("pages", &self.pages.watched.len()).finish()
    }
}

impl<'a> WithBitmapSlice<'a> for WriteWatch {
    type S = WatchedSlice<'a>;
}

impl WithBitmapSlice<'_> for WatchedSlice<'_> {
    type S = Self;
}

impl BitmapSlice for WatchedSlice<'_> {}

impl Bitmap for WriteWatch {
    #[inline]
    fn mark_dirty(&self, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        let first = offset >> PAGE_SHIFT;
        let last = offset.saturating_add(len - 1) >> PAGE_SHIFT;
        // What lies beyond the region is nobody's.
        let flags = self.pages.watched.get(first..).unwrap_or_default();
        for (page, flag) in (first..=last).zip(flags) {
            if flag.load(Ordering::SeqCst) != 0 {
                self.tell(page);
            }
        }
    }

    fn dirty_at(&self, _offset: usize) -> bool {
        false
    }

    #[inline]
    fn slice_at(&self, offset: usize) -> WatchedSlice<'_> {
        WatchedSlice { watch: self, offset }
    }
}

impl Bitmap for WatchedSlice<'_> {
    #[inline]
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.watch.mark_dirty(self.offset.saturating_add(offset), len);
    }

    fn dirty_at(&self, _offset: usize) -> bool {
        false
    }

    #[inline]
    fn slice_at(&self, offset: usize) -> Self {
        Self { watch: self.watch, offset: self.offset.saturating_add(offset) }
    }
}

impl NewBitmap for WriteWatch {
    fn with_len(len: usize) -> Self {
        let pages = len.div_ceil(1 << PAGE_SHIFT);
        let watched = (0..pages).map(|_| AtomicU8::new(0)).collect();
        Self { pages: Arc::new(Pages { watched, listener: Mutex::default() }) }
    }
}
