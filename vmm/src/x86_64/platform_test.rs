use devices::power::SystemEvent;

use devices::time::HostClock;

use super::*;
use crate::memory::RegionKind;
use crate::x86_64::cpuid::{CpuidConfig, Level, ProviderFeatures, Signature, Timing};
use crate::x86_64::memory_map::memory_map;

struct Silent;

impl VcpuWaker for Silent {
    fn wake(&self, _vcpu: usize) {}
}

impl SystemEvents for Silent {
    fn notify(&self, _event: SystemEvent) {}
}

fn platform(debug_exit_port: Option<u16>) -> Result<Platform, AttachError> {
    let timing = Timing::for_tsc(1_000_000_000);
    let config = CpuidConfig {
        cpus: 2,
        timing,
        x2apic: X2APIC,
        tsc_deadline: TSC_DEADLINE,
        physical_bits: 39,
        brand: None,
        hide: Vec::new(),
        extra: Vec::new(),
        level: Some(Level::V2),
        signature: Signature::default(),
    };
    let map = memory_map(64 << 20).unwrap();
    let ram = GuestRam::new(&map).unwrap();
    let parts = Parts {
        cpus: 2,
        debug_exit_port,
        clock: Arc::new(MachineClock::Host(HostClock::new(timing.tsc_hz))),
        cpuid: CpuidPolicy::soft(config, ProviderFeatures::default()),
        apic_timer_hz: timing.crystal_hz.into(),
        map,
        ram,
        devices: Vec::new(),
        transport: VirtioTransport::Pci,
        packed_rings: false,
    };
    let effects = Effects {
        waker: Arc::new(Silent),
        events: Arc::new(Silent),
        deadlines: Arc::new(()),
        serial_output: Box::new(()),
        serial_input: Box::new(()),
    };
    Platform::new(parts, effects)
}

#[test]
fn devices_lie_where_the_memory_map_says() {
    let platform = platform(None).unwrap();
    for (name, first, last) in platform.mmio.windows() {
        let range = boot::GpaRange::between(first, last + 1);
        assert!(
            platform.map.of_kind(RegionKind::Device).any(|region| region.contains(&range)),
            "{name} at {range}"
        );
    }
}

#[test]
fn acpi_tells_the_ports_that_are_there() {
    let platform = platform(None).unwrap();
    let acpi = acpi_config(2, Vec::new());
    let reset = acpi.reset.unwrap().port;
    let pci = acpi.pci.unwrap();
    for port in [
        acpi.power.pm1_event,
        acpi.power.pm1_control,
        acpi.power.pm_timer,
        reset,
        acpi.pvpanic.unwrap(),
        acpi.serial[0].port,
    ] {
        assert!(platform.ports.is_claimed(port), "{port:#x}");
        assert!(!(pci.io.0..=pci.io.1).contains(&port), "{port:#x} is in the PCI window");
    }
    assert!(platform.mmio.is_claimed(acpi.io_apic.address.into()));
    assert!(platform.mmio.is_claimed(pci.ecam.start));
    assert!(acpi.has_rtc && platform.ports.is_claimed(0x70));
    assert_eq!(acpi.apic_ids, [0, 1]);
}

#[test]
fn the_debug_exit_port_must_be_free() {
    assert!(platform(Some(0xf4)).is_ok());
    assert!(platform(Some(0x3f8)).is_err());
}

#[test]
fn there_is_a_local_apic_for_every_vcpu_and_no_more() {
    let platform = platform(None).unwrap();
    assert!(platform.local_apic(0).is_ok() && platform.local_apic(1).is_ok());
    assert!(platform.local_apic(2).is_err());
}
