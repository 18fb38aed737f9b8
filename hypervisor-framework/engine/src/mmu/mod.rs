//! Address translation: page tables, the software TLB, and loads and stores through it.

mod access;
mod second_level;
mod system;
mod tlb;
mod walk;

#[allow(unused_imports)] // for generated code, which not every host has
pub(crate) use tlb::{Entry, FETCH_OFFSET as TLB_FETCH_OFFSET, INDEX_BITS as TLB_INDEX_BITS};
pub(crate) use tlb::{Mmu, Space};
