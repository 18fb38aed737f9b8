//! Writes by the host into guest memory, told to the engine when they hit translated code.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use vm_memory::bitmap::{Bitmap, BitmapSlice, NewBitmap, WithBitmapSlice};

/// log2 of the page size, 4 KiB.
const PAGE_SHIFT: usize = 12;

/// Told when the host has written to a page that holds translated code.
pub(super) trait CodeWriteListener: Send + Sync {
    /// `page` is the page's index within the region that `watch` belongs to.
    fn host_wrote_code(&self, watch: &WriteWatch, page: usize);
}

/// The dirty "bitmap" of a [`super::HostRegion`]: knows which of its pages hold translated code.
///
/// vm-memory marks every write a device makes; a mark on a page with code drops the translations made from it.
#[derive(Clone, Default)]
pub struct WriteWatch {
    pages: Arc<Pages>,
    /// Offset of this slice within the region, bytes.
    offset: usize,
}

#[derive(Default)]
struct Pages {
    /// Per 4 KiB page, 1 while some CPU holds code translated from it.
    code: Box<[AtomicU8]>,
    listener: Mutex<Option<Weak<dyn CodeWriteListener>>>,
}

impl WriteWatch {
    /// Names who is told; the physical memory the region is mapped in.
    pub(super) fn listen(&self, listener: Weak<dyn CodeWriteListener>) {
        *self.pages.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Do both watch the same region?
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pages, &other.pages)
    }

    /// Does this page hold translated code?
    pub(crate) fn has_code(&self, page: usize) -> bool {
        self.pages.code.get(page).is_some_and(|flag| flag.load(Ordering::SeqCst) != 0)
    }

    /// Marks or unmarks a page; answers whether it was marked before.
    pub(super) fn set_code(&self, page: usize, holds: bool) -> bool {
        self.pages.code.get(page).is_some_and(|flag| flag.swap(u8::from(holds), Ordering::SeqCst) != 0)
    }
}

impl fmt::Debug for WriteWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteWatch")
            .field("pages", &self.pages.code.len())
            .field("offset", &self.offset)
            .finish()
    }
}

impl WithBitmapSlice<'_> for WriteWatch {
    type S = Self;
}

impl BitmapSlice for WriteWatch {}

impl Bitmap for WriteWatch {
    fn mark_dirty(&self, offset: usize, len: usize) {
        let start = self.offset.saturating_add(offset);
        let first = start >> PAGE_SHIFT;
        let last = start.saturating_add(len.saturating_sub(1)) >> PAGE_SHIFT;
        let last = last.min(self.pages.code.len().saturating_sub(1));
        for page in first..=last {
            if self.has_code(page) {
                let listener = self.pages.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(listener) = listener.and_then(|weak| weak.upgrade()) {
                    listener.host_wrote_code(self, page);
                }
            }
        }
    }

    fn dirty_at(&self, _offset: usize) -> bool {
        false
    }

    fn slice_at(&self, offset: usize) -> Self {
        Self { pages: Arc::clone(&self.pages), offset: self.offset.saturating_add(offset) }
    }
}

impl NewBitmap for WriteWatch {
    fn with_len(len: usize) -> Self {
        let pages = len.div_ceil(1 << PAGE_SHIFT);
        let code = (0..pages).map(|_| AtomicU8::new(0)).collect();
        Self { pages: Arc::new(Pages { code, listener: Mutex::default() }), offset: 0 }
    }
}
