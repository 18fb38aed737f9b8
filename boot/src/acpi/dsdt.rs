//! Differentiated system description table: the devices that no bus enumerates, and the soft-off state.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Else, Equal, IO, If,
    Interrupt, Memory32Fixed, Method, Name, Or, PackageBuilder, Path, ResourceTemplate, Return, Scope, Uuid,
};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};

use super::{AcpiConfig, PciConfig, VirtioMmioConfig, table};
use crate::memory::GpaRange;

/// 2 and above: integers have 64 bits.
const REVISION: u8 = 2;
/// Devices a PCI bus has room for.
const PCI_DEVICES: u32 = 32;
const RTC_IRQ: u8 = 8;
const KEYBOARD_IRQ: u8 = 1;

pub(super) fn dsdt(config: &AcpiConfig) -> Sdt {
    let mut devices = Vec::new();
    for uid in (0_u32..).zip(&config.apic_ids).map(|(uid, _)| uid) {
        processor(uid).to_aml_bytes(&mut devices);
    }
    for (index, serial) in (1_u32..).zip(&config.serial) {
        let resources = [io(serial.port, 8), irq(serial.irq)];
        device(&format!("COM{:X}", index & 0xf), "PNP0501", index, &resources).to_aml_bytes(&mut devices);
    }
    if config.has_rtc {
        device("RTC_", "PNP0B00", 0, &[io(0x70, 2), irq(RTC_IRQ)]).to_aml_bytes(&mut devices);
    }
    if config.has_i8042 {
        let resources = [io(0x60, 1), io(0x64, 1), irq(KEYBOARD_IRQ)];
        device("KBD_", "PNP0303", 0, &resources).to_aml_bytes(&mut devices);
    }
    if let Some(port) = config.pvpanic {
        pvpanic(port).to_aml_bytes(&mut devices);
    }
    for (index, place) in (0_u32..).zip(&config.virtio_mmio) {
        virtio_mmio(index, *place).to_aml_bytes(&mut devices);
    }
    if let Some(pci) = &config.pci {
        ecam_reservation(pci).to_aml_bytes(&mut devices);
        root_bridge(pci).to_aml_bytes(&mut devices);
    }

    let mut body = Vec::new();
    Scope::new("\\_SB_".into(), vec![&Raw(devices)]).to_aml_bytes(&mut body);
    soft_off(config.s5_sleep_type).to_aml_bytes(&mut body);
    let mut dsdt = table(*b"DSDT", REVISION);
    dsdt.append_slice(&body);
    dsdt
}

/// AML that is finished already.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

fn raw(aml: &dyn Aml) -> Raw {
    let mut bytes = Vec::new();
    aml.to_aml_bytes(&mut bytes);
    Raw(bytes)
}

fn io(port: u16, ports: u8) -> Raw {
    raw(&IO::new(port, port, 1, ports))
}

/// An ISA interrupt: edge-triggered, active high, not shared.
fn irq(irq: u8) -> Raw {
    raw(&Interrupt::new(true, true, false, false, irq.into()))
}

fn resources(children: &[Raw]) -> Raw {
    raw(&Name::new(
        "_CRS".into(),
        &ResourceTemplate::new(children.iter().map(|child| child as &dyn Aml).collect()),
    ))
}

/// A device with fixed resources, known by its EISA ID.
fn device(name: &str, id: &str, uid: u32, children: &[Raw]) -> Raw {
    raw(&Device::new(
        format!("{name:_<4}").as_str().into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new(id)),
            &Name::new("_UID".into(), &uid),
            &resources(children),
        ],
    ))
}

/// A processor; `uid` is the MADT's.
fn processor(uid: u32) -> Raw {
    raw(&Device::new(
        format!("C{:03X}", uid & 0xfff).as_str().into(),
        vec![&Name::new("_HID".into(), &"ACPI0007"), &Name::new("_UID".into(), &uid)],
    ))
}

/// The device that tells the host of a guest's panic; drivers know it by QEMU's ID.
fn pvpanic(port: u16) -> Raw {
    /// Present, enabled, shown, working.
    const STATUS: u8 = 0xf;
    raw(&Device::new(
        "PVPN".into(),
        vec![
            &Name::new("_HID".into(), &"QEMU0001"),
            &Name::new("_STA".into(), &STATUS),
            &resources(&[io(port, 1)]),
        ],
    ))
}

/// A virtio device that no bus enumerates; Linux's driver knows this ID.
fn virtio_mmio(index: u32, place: VirtioMmioConfig) -> Raw {
    /// Bytes of registers.
    const BYTES: u32 = 0x1000;
    // Windows lie below 4 GiB.
    let registers = raw(&Memory32Fixed::new(true, place.base as u32, BYTES));
    let interrupt = raw(&Interrupt::new(true, false, false, true, place.gsi));
    raw(&Device::new(
        format!("VR{:02X}", index & 0xff).as_str().into(),
        vec![
            &Name::new("_HID".into(), &"LNRO0005"),
            &Name::new("_UID".into(), &index),
            &resources(&[registers, interrupt]),
        ],
    ))
}

/// Kernels use ECAM only where a motherboard device, too, says that the window is taken.
fn ecam_reservation(pci: &PciConfig) -> Raw {
    let ecam = pci.ecam;
    let window = match (u32::try_from(ecam.start), u32::try_from(ecam.size)) {
        (Ok(start), Ok(size)) => raw(&Memory32Fixed::new(true, start, size)),
        _ => raw(&memory_window(&ecam)),
    };
    device("ECAM", "PNP0C02", 0, &[window])
}

fn memory_window(range: &GpaRange) -> AddressSpace<u64> {
    let last = range.end().saturating_sub(1);
    AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, range.start, last, None)
}

fn root_bridge(pci: &PciConfig) -> Raw {
    let (first_port, last_port) = pci.io;
    let last32 = pci.mmio32.end().saturating_sub(1);
    let mut windows = vec![
        raw(&AddressSpace::<u16>::new_bus_number(0, pci.last_bus.into())),
        io(0xcf8, 8),
        raw(&AddressSpace::<u32>::new_io(first_port.into(), last_port.into(), None)),
        raw(&AddressSpace::<u32>::new_memory(
            AddressSpaceCacheable::NotCacheable,
            true,
            pci.mmio32.start as u32,
            last32 as u32,
            None,
        )),
    ];
    if let Some(mmio64) = &pci.mmio64 {
        windows.push(raw(&memory_window(mmio64)));
    }
    raw(&Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A08")),
            &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_UID".into(), &0_u8),
            &Name::new("_SEG".into(), &0_u8),
            &Name::new("_BBN".into(), &0_u8),
            &resources(&windows),
            &Name::new("_PRT".into(), &interrupt_routing(pci)),
            &capabilities(),
        ],
    ))
}

/// `_PRT` (ACPI 6.5, 6.2.13): every pin of every device on bus 0, wired to a fixed global system interrupt.
fn interrupt_routing(pci: &PciConfig) -> PackageBuilder {
    let mut table = PackageBuilder::new();
    for device in 0..PCI_DEVICES {
        for pin in 0..4_u32 {
            let mut route = PackageBuilder::new();
            // Any function of the device.
            route.add_element(&(device << 16 | 0xffff));
            route.add_element(&pin);
            route.add_element(&0_u8);
            route.add_element(&pci.intx[(device + pin) as usize % 4]);
            table.add_element(&route);
        }
    }
    table
}

/// `_OSC` of the root bridge (PCI Firmware Specification 3.3, 4.5.1): the guest may have PCI Express' native features but
/// for hot plug, which there is none of.
fn capabilities() -> Raw {
    const PCI_UUID: &str = "33db4d5b-1ff7-401c-9657-7441c03dd766";
    /// Power management events, error reporting, capability structure.
    const GRANTED: u8 = 1 << 2 | 1 << 3 | 1 << 4;
    const UNKNOWN_UUID: u8 = 1 << 2;
    let status = || Path::new("CDW1");
    let control = || Path::new("CDW3");
    raw(&Method::new(
        "_OSC".into(),
        4,
        true,
        vec![
            &CreateDWordField::new(&status(), &Arg(3), &0_u8),
            &If::new(
                &Equal::new(&Arg(0), &Uuid::new(PCI_UUID)),
                vec![
                    &CreateDWordField::new(&control(), &Arg(3), &8_u8),
                    &And::new(&control(), &control(), &GRANTED),
                ],
            ),
            &Else::new(vec![&Or::new(&status(), &status(), &UNKNOWN_UUID)]),
            &Return::new(&Arg(3)),
        ],
    ))
}

/// `\_S5`: what to write to PM1 control to power off. There is no PM1b block.
fn soft_off(sleep_type: u8) -> Raw {
    let mut values = PackageBuilder::new();
    [sleep_type, 0, 0, 0].iter().for_each(|value| values.add_element(value));
    raw(&Name::new("_S5_".into(), &values))
}
