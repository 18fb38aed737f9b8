//! Power, reset, and the guest's other ways of ending.

mod acpi_pm;
mod debug_exit;
mod event;
mod i8042;
mod port92;
mod pvpanic;
mod reset_register;

pub use acpi_pm::{AcpiPm, spec as acpi_pm_spec};
pub use debug_exit::DebugExit;
pub use event::{ResetSource, SystemEvent, SystemEvents};
pub use i8042::I8042;
pub use port92::Port92;
pub use pvpanic::PvPanic;
pub use reset_register::{RESET_VALUE, ResetRegister};

#[cfg(test)]
#[path = "power_test.rs"]
mod power_test;
