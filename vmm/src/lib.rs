//! The virtual machine monitor as a library.
//!
//! ```text
//! MachineConfig ──▶ Machine::new (paused) ──▶ Machine::run ──▶ Outcome { StopReason, Report }
//!                          └─▶ MachineHandle: pause, resume, reset, press the power button, quit
//! ```
//!
//! There is no state outside a [`Machine`]: a process may have several with the software engine, one after the other with
//! Hypervisor.framework, which allows one VM per process.

mod clock;
pub mod config;
pub mod console;
pub mod engine;
pub mod lifecycle;
pub mod machine;
pub mod memory;
mod os;
mod report;
mod stop;
mod unpack_cache;
mod vcpu;
pub mod x86_64;

pub use config::MachineConfig;
pub use devices::disk;
pub use machine::{Cause, Event, Machine, MachineError, MachineHandle, Outcome};
pub use memory::Resident;
pub use report::{ExitCount, Phase, Report};
pub use stop::{RegisterDump, StopReason};

use devices::lock;

/// An error and what caused it, on one line. A cause that its error already tells is not told twice.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text.replace(['\n', '\r'], " ")
}
