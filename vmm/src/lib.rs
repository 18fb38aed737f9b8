//! The virtual machine monitor as a library.
