//! The virtual machine monitor as a library.

pub mod x86_64;
