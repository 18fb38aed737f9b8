//! How a kernel is entered: registers, descriptor table, identity page tables, zero page, PVH start info.

pub(crate) mod registers;
