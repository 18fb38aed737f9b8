//! How a kernel is entered: registers, descriptor table, identity page tables, zero page, PVH start info.

pub(crate) mod long_mode;
pub(crate) mod low_memory;
pub(crate) mod protected_mode;
pub(crate) mod registers;
pub(crate) mod start_info;
pub(crate) mod zero_page;

#[cfg(test)]
#[path = "entry_test.rs"]
mod entry_test;
