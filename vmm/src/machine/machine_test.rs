#![allow(clippy::unwrap_used)] // a test that cannot set itself up has failed

use std::sync::Weak;

use super::*;
use crate::config::{BootConfig, EngineChoice, SerialBackend, UnpackBy};
use crate::engine;

#[test]
fn a_dropped_machine_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("kernel");
    // `hlt`, as the smallest kernel there is: an ELF file with one segment at 1 MiB.
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    file.extend([0x10_0000_u64, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([0_u16, 0, 64, 56, 1, 0, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    file.extend([1_u32, 5].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([120_u64, 0x10_0000, 0x10_0000, 1, 1, 4096].iter().flat_map(|word| word.to_le_bytes()));
    file.push(0xf4);
    std::fs::write(&kernel, file).unwrap();
    let boot = BootConfig {
        kernel,
        initrd: None,
        cmdline: String::new(),
        unpack: UnpackBy::Host,
        unpack_cache: None,
    };
    let mut config = MachineConfig::new(32 << 20, boot);
    config.serial = SerialBackend::Null;
    let machine = Machine::new(config, &engine::select(EngineChoice::Soft).unwrap()).unwrap();
    let (platform, signals) = (Arc::downgrade(&machine.platform), Arc::downgrade(&machine.signals));
    let (ports, mmio) = (Arc::downgrade(&machine.platform.ports), Arc::downgrade(&machine.platform.mmio));
    let vm: Weak<dyn Vm> = Arc::downgrade(&machine.vm);
    let handle = machine.handle();

    drop(machine);

    assert!(platform.upgrade().is_none(), "the platform, with guest memory");
    assert!(ports.upgrade().is_none() && mmio.upgrade().is_none(), "the buses, with the devices");
    assert!(vm.upgrade().is_none(), "the provider's VM");
    assert!(signals.upgrade().is_none(), "what devices and vCPUs call out to");
    drop(handle);
}
