use proptest::prelude::*;

use super::*;
use crate::any_access::{self, Step};
use crate::bus::{BusDevice, Unclaimed};
use crate::pci::{ConfigSpace, PciConfigPorts, PciEcam, PciIdentity};
use crate::power::{ResetRegister, SystemEvent, SystemEvents};

#[derive(Default)]
struct Events(Mutex<Vec<SystemEvent>>);

impl SystemEvents for Events {
    fn notify(&self, event: SystemEvent) {
        self.0.lock().unwrap().push(event);
    }
}

/// Its windows read as their number; it remembers the last write.
struct Probe {
    config: ConfigSpace,
    written: Option<(usize, u64, u64)>,
    resets: usize,
}

impl PciFunction for Probe {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn bar_read(&mut self, bar: usize, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Ok(bar as u64 + 1)
    }

    fn bar_write(&mut self, bar: usize, offset: u64, _width: Width, value: u64) -> Result<(), Unclaimed> {
        self.written = Some((bar, offset, value));
        Ok(())
    }

    fn reset(&mut self) {
        self.resets += 1;
    }
}

fn probe() -> Arc<Mutex<Probe>> {
    let mut config = ConfigSpace::new(PciIdentity {
        vendor: 0x1234,
        device: 0x5678,
        class: [0xff, 0, 0],
        revision: 0,
        subsystem_vendor: 0,
        subsystem: 0,
    });
    config.add_bar(0, BarKind::Memory32, 0x1000).unwrap();
    config.add_bar(1, BarKind::Io, 0x20).unwrap();
    config.add_bar(2, BarKind::Memory64, 0x4000).unwrap();
    Arc::new(Mutex::new(Probe { config, written: None, resets: 0 }))
}

struct Machine {
    root: Arc<Mutex<PciRoot>>,
    mmio: Arc<MmioBus>,
    ports: Arc<PortBus>,
    events: Arc<Events>,
}

/// A machine with its two ways to configuration space on the buses.
fn machine() -> Machine {
    let (mmio, ports, events) =
        (Arc::new(MmioBus::new()), Arc::new(PortBus::new()), Arc::new(Events::default()));
    let root = PciRoot::new(&mmio, &ports);
    let config = PciConfigPorts::new(root.clone(), ResetRegister::new(events.clone()));
    ports.attach("config", &port::PCI_CONFIG, Arc::new(Mutex::new(config))).unwrap();
    mmio.attach("ecam", mmio::PCI_ECAM, Arc::new(Mutex::new(PciEcam::new(root.clone())))).unwrap();
    Machine { root, mmio, ports, events }
}

impl Machine {
    fn select(&self, device: u32, offset: u32) {
        self.ports.write(0xcf8, Width::Four, 0x8000_0000 | device << 11 | offset & 0xfc);
    }

    fn read(&self, device: u32, offset: u32) -> u32 {
        self.select(device, offset);
        self.ports.read(0xcfc, Width::Four)
    }

    fn write(&self, device: u32, offset: u32, value: u32) {
        self.select(device, offset);
        self.ports.write(0xcfc, Width::Four, value);
    }
}

#[test]
fn the_host_bridge_is_found_both_ways() {
    let machine = machine();
    assert_eq!(machine.read(0, 0), 0x0d57_8086);
    assert_eq!(machine.read(0, 8) >> 16, 0x0600);
    assert_eq!(machine.mmio.read(0xe000_0000, Width::Four), 0x0d57_8086);
    assert_eq!(machine.mmio.read(0xe000_0000, Width::Eight), 0x0d57_8086);
    assert_eq!(machine.mmio.read(0xe000_0002, Width::Two), 0x0d57);
    assert_eq!(machine.mmio.read(0xe000_0100, Width::Four), 0xffff_ffff, "no extended space");
}

#[test]
fn what_is_not_there_reads_as_ones() {
    let machine = machine();
    assert_eq!(machine.read(5, 0), u32::MAX);
    machine.ports.write(0xcf8, Width::Four, 0x8001_0000);
    assert_eq!(machine.ports.read(0xcfc, Width::Four), u32::MAX, "bus 1");
    machine.ports.write(0xcf8, Width::Four, 0x8000_0100);
    assert_eq!(machine.ports.read(0xcfc, Width::Two), 0xffff, "function 1");
    machine.ports.write(0xcf8, Width::Four, 0);
    assert_eq!(machine.ports.read(0xcfc, Width::Four), u32::MAX, "not enabled");
    assert_eq!(machine.mmio.read(0xe000_8000, Width::One), 0xff);
    assert!(machine.mmio.unclaimed().accesses.is_empty(), "probing is no mistake");
}

/// The steps by which Linux recognises configuration mechanism 1.
#[test]
fn linux_recognises_mechanism_1() {
    let machine = machine();
    machine.ports.write(0xcfb, Width::One, 1);
    let before = machine.ports.read(0xcf8, Width::Four);
    machine.ports.write(0xcf8, Width::Four, 0x8000_0000);
    assert_eq!(machine.ports.read(0xcf8, Width::Four), 0x8000_0000);
    machine.ports.write(0xcf8, Width::Four, before);
    assert_eq!(machine.events.0.lock().unwrap().len(), 0);
}

#[test]
fn the_reset_register_lives_inside_the_address_register() {
    let machine = machine();
    machine.ports.write(0xcf8, Width::Four, 0x8000_f8fc);
    machine.ports.write(0xcf9, Width::One, 2);
    machine.ports.write(0xcf9, Width::One, 6);
    assert_eq!(machine.events.0.lock().unwrap().len(), 1);
    assert_eq!(machine.ports.read(0xcf9, Width::One), 6);
    assert_eq!(machine.ports.read(0xcf8, Width::Four), 0x8000_f8fc);
}

#[test]
fn the_data_register_in_every_width_and_place() {
    let machine = machine();
    machine.select(0, 0);
    for (at, byte) in [0x86, 0x80, 0x57, 0x0d].into_iter().enumerate() {
        assert_eq!(machine.ports.read(0xcfc + at as u16, Width::One), byte);
    }
    assert_eq!(machine.ports.read(0xcfe, Width::Two), 0x0d57);
    machine.select(0, 0x3c);
    machine.ports.write(0xcfc, Width::One, 0x0b);
    assert_eq!(machine.read(0, 0x3c), 0x0b);
}

#[test]
fn windows_are_assigned_and_appear_when_enabled() {
    let machine = machine();
    let function = probe();
    lock(&machine.root).add(3, function.clone()).unwrap();
    let (low, io, high) = (machine.read(3, 0x10), machine.read(3, 0x14), machine.read(3, 0x18));
    assert_eq!((low, io, high), (0xc000_0000, 0xc001, 0xc000_400c));
    assert!(!machine.mmio.is_claimed(0xc000_0000));

    machine.write(3, 4, 3);

    assert_eq!(machine.mmio.read(0xc000_0ffc, Width::Four), 1);
    assert_eq!(machine.ports.read(0xc01f, Width::One), 2);
    assert_eq!(machine.mmio.read(0xc000_4000, Width::Eight), 3);
    machine.mmio.write(0xc000_4008, Width::Four, 0x55);
    assert_eq!(lock(&function).written, Some((2, 8, 0x55)));
    machine.write(3, 4, 1);
    assert!(!machine.mmio.is_claimed(0xc000_0000));
    assert!(machine.ports.is_claimed(0xc000));
}

#[test]
fn a_window_moves_with_its_register() {
    let machine = machine();
    lock(&machine.root).add(3, probe()).unwrap();
    machine.write(3, 4, 2);
    machine.write(3, 0x18, 0x2000_0000);
    assert_eq!(machine.mmio.read(0x2000_0000, Width::Four), 3);
    machine.write(3, 0x1c, 8);
    assert!(!machine.mmio.is_claimed(0x2000_0000));
    assert_eq!(machine.mmio.read(0x8_2000_3fff, Width::One), 3);
    // Sizing while it answers: it goes where it is sent and comes back.
    machine.write(3, 0x10, u32::MAX);
    assert_eq!(machine.read(3, 0x10), 0xffff_f000);
    machine.write(3, 0x10, 0xc000_0000);
    assert_eq!(machine.mmio.read(0xc000_0000, Width::Four), 1);
}

#[test]
fn a_window_that_is_sent_onto_another_device_stays_off_the_bus() {
    let machine = machine();
    lock(&machine.root).add(3, probe()).unwrap();
    machine.write(3, 4, 2);

    machine.write(3, 0x10, 0xe000_0000);

    assert_eq!(machine.mmio.read(0xe000_0000, Width::Four), 0x0d57_8086);
    machine.write(3, 0x10, 0xd000_0000);
    assert_eq!(machine.mmio.read(0xd000_0000, Width::Four), 1);
}

#[test]
fn windows_can_swap_places() {
    let machine = machine();
    lock(&machine.root).add(1, probe()).unwrap();
    machine.write(1, 4, 2);
    machine.write(1, 0x10, 0xd000_0000);
    machine.write(1, 0x18, 0xc000_0000);
    assert_eq!(machine.mmio.read(0xc000_0000, Width::Four), 3);
    assert_eq!(machine.mmio.read(0xd000_0000, Width::Four), 1);
}

#[test]
fn reset_brings_firmwares_addresses_back() {
    let machine = machine();
    let function = probe();
    lock(&machine.root).add(3, function.clone()).unwrap();
    machine.write(3, 4, 7);
    machine.write(3, 0x10, 0xd000_0000);

    lock(&machine.root).reset();

    assert_eq!(lock(&function).resets, 1);
    assert_eq!((machine.read(3, 4), machine.read(3, 0x10)), (0, 0xc000_0000));
    assert_eq!(machine.mmio.windows().len(), 1, "only ECAM is left");
}

#[test]
fn slots_are_limited_and_taken_once() {
    let machine = machine();
    let mut root = lock(&machine.root);
    root.add(1, probe()).unwrap();
    assert_eq!(root.add(1, probe()), Err(PciError::Taken { device: 1 }));
    for device in [0, 32, 255] {
        assert_eq!(root.add(device, probe()), Err(PciError::NoSlot { device }));
    }
    let large = probe();
    lock(&large).config.add_bar(4, BarKind::Memory64, 1 << 33).unwrap();
    assert_eq!(root.add(2, large), Err(PciError::NoRoom { device: 2, bar: 4, size: 1 << 33 }));
    for device in 3..DEVICES {
        root.add(device, probe()).unwrap();
    }
}

proptest! {
    #[test]
    fn any_access_is_survived(steps in any_access::steps(0x1_2000), ports in any_access::steps(8)) {
        let machine = machine();
        lock(&machine.root).add(1, probe()).unwrap();
        lock(&machine.root).add(2, probe()).unwrap();
        for step in steps {
            match step {
                Step::Read(offset, width) => { machine.mmio.read(0xe000_0000 + offset % 0x10_0000, width); }
                Step::Write(offset, width, value) => machine.mmio.write(0xe000_0000 + offset % 0x10_0000, width, value),
                Step::Poke(value) => {
                    let device = u32::from(value & 3);
                    machine.write(device, 4, 7);
                    machine.write(device, 0x10 + u32::from(value >> 4 & 3) * 4, u32::from(value) << 24 | 0xc00);
                }
                Step::Wait(_) => lock(&machine.root).reset(),
            }
        }
        let mut config = PciConfigPorts::new(machine.root.clone(), ResetRegister::new(machine.events.clone()));
        ports.into_iter().for_each(|step| any_access::perform(&mut config, step));
        config.reset();
        prop_assert_eq!(config.read(0, Width::Four), Ok(0));
        lock(&machine.root).reset();
        prop_assert_eq!(machine.mmio.windows().len(), 1);
        prop_assert_eq!(machine.ports.windows().len(), 1);
    }
}
