//! PCI: configuration space, functions, and the root they hang from.
//!
//! ```text
//! ports cf8/cfc ─▶ PciConfigPorts ─┐
//! ECAM page ─────▶ PciEcam ────────┴▶ PciRoot ─▶ PciFunction: config_read/config_write
//!                                        └ BARs and command changed: windows move on the buses
//! MmioBus, PortBus ─▶ window ─────────────────▶ PciFunction: bar_read/bar_write
//! ```

mod config_access;
mod config_space;
mod function;
mod host_bridge;
mod intx;
mod msix;
mod root;
pub mod spec;

pub use config_access::{PciConfigPorts, PciEcam};
pub use config_space::{BarKind, BarRegion, ConfigError, ConfigSpace, InterruptPin, PciIdentity};
pub use function::PciFunction;
pub use intx::{FIRST_INTX_GSI, IntxRouter, intx_gsi};
pub use msix::{BarLocation, Msix};
pub use root::{ConfigAddress, PciError, PciRoot};
