//! PCI: configuration space, functions, and the root they hang from.

mod root;

pub use root::{PciConfigPorts, PciEcam, PciRoot};
