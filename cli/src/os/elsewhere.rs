//! Other systems.

/// Their allocators return what is freed.
pub(crate) fn return_large_allocations() {}
