//! The guest physical address space.

/// Placeholder.
#[derive(Debug)]
pub struct PhysicalMemory {}
