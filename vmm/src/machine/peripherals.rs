//! The virtio devices a configuration asks for.

use devices::virtio::VirtioDevice;
use devices::virtio::rng::Rng;

use super::MachineError;
use crate::config::MachineConfig;

/// Makes them, in the order in which the guest is to find them. Opens what they need of the host.
pub(super) fn make(config: &MachineConfig) -> Result<Vec<Box<dyn VirtioDevice>>, MachineError> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    if config.rng {
        devices.push(Box::new(Rng::new(Box::new(|bytes| getrandom::fill(bytes).is_ok()))));
    }
    Ok(devices)
}
