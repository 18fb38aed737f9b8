//! The virtual machine monitor as a library.
//!
//! ```text
//! MachineConfig ──▶ Machine::new (paused) ──▶ Machine::run ──▶ Outcome { StopReason, Report }
//!                          └─▶ MachineHandle: pause, resume, reset, press the power button, quit
//! ```
//!
//! There is no state outside a [`Machine`]: a process may have several with the software engine, one after the other with
//! Hypervisor.framework, which allows one VM per process.

pub mod config;
pub mod console;
pub mod engine;
pub mod lifecycle;
pub mod machine;
pub mod memory;
mod os;
mod report;
mod stop;
mod vcpu;
pub mod x86_64;

pub use config::MachineConfig;
pub use machine::{Event, Machine, MachineError, MachineHandle, Outcome};
pub use report::{ExitCount, Phase, Report};
pub use stop::{RegisterDump, StopReason};
