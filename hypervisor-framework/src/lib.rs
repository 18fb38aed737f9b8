//! Hypervisor.framework's API in Rust, with two providers.
//!
//! A virtual machine monitor written against [`x86_64`] runs unchanged on a Mac's hypervisor ([`native`], macOS only)
//! and on our own CPU engine ([`soft`], every host). Both guest architectures are modules, compiled on every host.

mod error;
pub mod native;
pub mod probe;
pub mod soft;
pub mod x86_64;

pub use engine::{HostRegion, WriteWatch};
pub use error::{Error, Result, ReturnCode};
