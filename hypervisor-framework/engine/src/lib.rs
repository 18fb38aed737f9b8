//! A full-system x86-64 CPU engine: registers, paging, instructions.
