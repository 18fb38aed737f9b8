//! The x86-64 machine.

pub(crate) mod memory_map;
