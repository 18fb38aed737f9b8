//! Address translation: page tables, the software TLB, and loads and stores through it.

mod access;
mod system;
mod tlb;
mod walk;

pub(crate) use tlb::{Entry, Flush, INDEX_BITS as TLB_INDEX_BITS, Mmu, Space};
