//! A guest that touches ports, device memory and its local APIC as it likes, while time goes on and the host sends
//! input: nothing may panic, hang or lock up.
#![no_main]

use std::sync::{Arc, Mutex};

use devices::bus::{MmioBus, PortBus, Unclaimed, Width};
use devices::interrupt::{
    InterruptFabric, IoApic, IsaWiring, LocalApic, LocalApicConfig, MsiMessage, MsiTarget, Pic8259Pair,
    VcpuWaker,
};
use devices::pci::{
    BarKind, BarLocation, ConfigSpace, Msix, PciConfigPorts, PciEcam, PciFunction, PciIdentity, PciRoot,
};
use devices::platform_map::{isa_irq, mmio, port};
use devices::power::{AcpiPm, DebugExit, I8042, Port92, PvPanic, ResetRegister, SystemEvent, SystemEvents};
use devices::serial::Serial16550;
use devices::time::{Clock, ManualClock, TimerSet, WallClock};
use devices::timer::{CmosRtc, Pit8254};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

/// vCPUs of the machine.
const VCPUS: usize = 2;
/// Steps taken of one input.
const MAX_STEPS: usize = 4096;
/// Deadlines served in one step of time, before the rest is let go.
const MAX_DEADLINES: usize = 64;

struct Ignore;

impl VcpuWaker for Ignore {
    fn wake(&self, _vcpu: usize) {}
}

impl SystemEvents for Ignore {
    fn notify(&self, _event: SystemEvent) {}
}

struct FixedDate;

impl WallClock for FixedDate {
    fn unix_seconds(&self) -> i64 {
        1_700_000_000
    }
}

/// A PCI function with a window of each kind and MSI-X.
struct Function {
    config: ConfigSpace,
    msix: Msix,
}

impl Function {
    fn new(target: Arc<dyn MsiTarget>) -> Self {
        let identity = PciIdentity {
            vendor: 0x1af4,
            device: 0x1042,
            class: [1, 0, 0],
            revision: 1,
            subsystem_vendor: 0x1af4,
            subsystem: 2,
        };
        let mut config = ConfigSpace::new(identity);
        config.add_bar(0, BarKind::Memory32, 0x4000).unwrap();
        config.add_bar(1, BarKind::Io, 0x40).unwrap();
        config.add_bar(2, BarKind::Memory64, 0x1_0000).unwrap();
        let table = BarLocation { bar: 0, offset: 0 };
        let pending = BarLocation { bar: 0, offset: 0x2000 };
        let msix = Msix::new(8, table, pending, &mut config, target).unwrap();
        Self { config, msix }
    }
}

impl PciFunction for Function {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_write(&mut self, offset: u16, width: Width, value: u32) {
        self.config.write(offset, width, value);
        self.msix.follow(&self.config);
    }

    fn bar_read(&mut self, bar: usize, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        match (bar, offset) {
            (0, ..0x2000) => self.msix.read_table(offset, width),
            (0, _) => self.msix.read_pending(offset - 0x2000, width),
            _ => Err(Unclaimed),
        }
    }

    fn bar_write(&mut self, bar: usize, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        match bar {
            0 => self.msix.write_table(offset, width, value),
            _ => {
                self.msix.trigger(value as u16);
                Ok(())
            }
        }
    }

    fn reset(&mut self) {
        self.msix.reset();
    }
}

struct Machine {
    ports: Arc<PortBus>,
    mmio: Arc<MmioBus>,
    clock: Arc<ManualClock>,
    timers: TimerSet,
    fabric: Arc<InterruptFabric>,
    isa: Arc<IsaWiring>,
    apics: Vec<LocalApic>,
    serial: Arc<Mutex<Serial16550>>,
    pm: Arc<Mutex<AcpiPm>>,
    pci: Arc<Mutex<PciRoot>>,
}

impl Machine {
    fn new() -> Self {
        let (ports, mmio) = (Arc::new(PortBus::new()), Arc::new(MmioBus::new()));
        let clock = Arc::new(ManualClock::new(1_000_000_000));
        let time: Arc<dyn Clock> = clock.clone();
        let fabric = InterruptFabric::new(&[0, 1], Arc::new(Ignore));
        let pic = Pic8259Pair::new(fabric.lint0());
        let io_apic = IoApic::new(0, fabric.clone());
        let isa = IsaWiring::new(pic.clone(), io_apic.clone());
        let events: Arc<dyn SystemEvents> = Arc::new(Ignore);
        let idle = Arc::new(());

        let pit = Pit8254::new(isa.line(isa_irq::TIMER), time.clone(), idle.clone());
        let pit = Arc::new(Mutex::new(pit));
        let date = Arc::new(FixedDate);
        let rtc = CmosRtc::new(512 << 20, 0, isa.line(isa_irq::RTC), time.clone(), date, idle.clone());
        let rtc = Arc::new(Mutex::new(rtc));
        let pm = AcpiPm::new(isa.line(isa_irq::SCI), time.clone(), events.clone(), idle.clone());
        let pm = Arc::new(Mutex::new(pm));
        let com1 = isa.line(isa_irq::COM1);
        let serial = Serial16550::new(com1, Box::new(()), Box::new(()), time.clone(), idle);
        let serial = Arc::new(Mutex::new(serial));
        let pci = PciRoot::new(&mmio, &ports);
        let function = Arc::new(Mutex::new(Function::new(fabric.clone())));
        pci.lock().unwrap().add(1, function).unwrap();
        let pci_ports = PciConfigPorts::new(pci.clone(), ResetRegister::new(events.clone()));
        let keyboard = I8042::new(events.clone()).with_irq(isa.line(isa_irq::KEYBOARD));

        ports.attach("8259", &port::PIC, pic.clone()).unwrap();
        ports.attach("8254", &port::PIT, pit.clone()).unwrap();
        ports.attach("8042", &port::I8042, Arc::new(Mutex::new(keyboard))).unwrap();
        ports.attach("RTC", &port::RTC, rtc.clone()).unwrap();
        ports.attach("port 92", &port::PORT_92, Arc::new(Mutex::new(Port92::new(events.clone())))).unwrap();
        ports.attach("pvpanic", &port::PVPANIC, Arc::new(Mutex::new(PvPanic::new(events.clone())))).unwrap();
        ports.attach("exit", &port::DEBUG_EXIT, Arc::new(Mutex::new(DebugExit::new(events)))).unwrap();
        ports.attach("COM1", &port::COM1, serial.clone()).unwrap();
        ports.attach("PM", &port::ACPI_PM, pm.clone()).unwrap();
        ports.attach("PCI", &port::PCI_CONFIG, Arc::new(Mutex::new(pci_ports))).unwrap();
        mmio.attach("I/O APIC", mmio::IO_APIC, io_apic).unwrap();
        mmio.attach("ECAM", mmio::PCI_ECAM, Arc::new(Mutex::new(PciEcam::new(pci.clone())))).unwrap();

        let mut timers = TimerSet::new();
        timers.add(pit);
        timers.add(rtc);
        timers.add(pm.clone());
        timers.add(serial.clone());
        let apic = |vcpu: usize| {
            let config = LocalApicConfig {
                vcpu,
                apic_id: vcpu as u32,
                bootstrap: vcpu == 0,
                timer_hz: 1_000_000_000,
                x2apic: true,
                tsc_deadline: true,
            };
            LocalApic::new(config, fabric.clone(), time.clone(), pic.clone()).unwrap()
        };
        let apics = (0..VCPUS).map(apic).collect();
        Self { ports, mmio, clock, timers, fabric, isa, apics, serial, pm, pci }
    }

    /// Time goes on to `ns`; deadlines on the way are served, as an event loop would.
    fn advance_to(&mut self, ns: u64) {
        for _ in 0..MAX_DEADLINES {
            let apics = self.apics.iter().filter_map(LocalApic::next_deadline_ns);
            let Some(next) = apics.chain(self.timers.next_deadline_ns()).min() else { break };
            if next > ns {
                break;
            }
            let now = self.clock.advance_to(next);
            self.timers.advance(now);
            self.apics.iter_mut().for_each(|apic| apic.advance(now));
        }
        let now = self.clock.advance_to(ns);
        self.timers.advance(now);
        self.apics.iter_mut().for_each(|apic| apic.advance(now));
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let kind = choices.u8();
        let width = choices.one_of(&Width::ALL);
        match kind % 16 {
            0..=2 => {
                let port = known_port(choices);
                let width = if width == Width::Eight { Width::Four } else { width };
                self.ports.write(port, width, choices.u32());
            }
            3 => {
                let port = known_port(choices);
                let width = if width == Width::Eight { Width::Four } else { width };
                self.ports.read(port, width);
            }
            4 => self.mmio.write(known_address(choices), width, choices.u64()),
            5 => {
                self.mmio.read(known_address(choices), width);
            }
            6 => {
                // A PCI register, by the ports.
                let address = 0x8000_0000 | choices.u32() & 0xffff;
                self.ports.write(0xcf8, Width::Four, address);
                let data = 0xcfc + u16::from(choices.u8() % 4);
                self.ports.write(data, Width::Four.min(width), choices.u32());
                self.ports.read(data, Width::Four.min(width));
            }
            7 | 8 => {
                let vcpu = usize::from(choices.u8()) % VCPUS;
                let offset = u64::from(choices.u8()) << 4 | u64::from(choices.u8() % 4);
                self.apics[vcpu].write_mmio(offset, width, choices.u32().into());
                self.apics[vcpu].read_mmio(offset, width);
            }
            9 => {
                let vcpu = usize::from(choices.u8()) % VCPUS;
                let x2apic = 0x800 | u32::from(choices.u8());
                let index = choices.one_of(&[0x1b, 0x6e0, x2apic]);
                let value = choices.u64();
                let _ = self.apics[vcpu].write_msr(index, value);
                let _ = self.apics[vcpu].read_msr(index);
            }
            10 => {
                // What a vCPU thread does between two entries.
                let apic = &mut self.apics[usize::from(kind >> 4) % VCPUS];
                let _ = apic.take_event();
                let _ = apic.take_nmi();
                if apic.highest_deliverable().is_some() {
                    let _ = apic.acknowledge();
                }
                let _ = apic.set_cr8(u64::from(choices.u8()));
            }
            11 => {
                let line = self.isa.line(choices.u8() % 16);
                line.set_level(kind & 0x80 != 0);
            }
            12 => {
                let input = choices.take::<4>();
                let mut serial = self.serial.lock().unwrap();
                if serial.enqueue(&input) == 0 {
                    serial.receive_break();
                }
            }
            13 => {
                let message =
                    MsiMessage { address: 0xfee0_0000 | u64::from(choices.u32()), data: choices.u32() };
                self.fabric.send_msi(message);
            }
            14 if kind & 0x80 != 0 => {
                self.pci.lock().unwrap().reset();
                self.pm.lock().unwrap().press_power_button();
            }
            _ => {
                let wait = match kind >> 6 {
                    0 => u64::from(choices.u8()),
                    1 => u64::from(choices.u16()) << 8,
                    2 => u64::from(choices.u32()),
                    _ => choices.u64(),
                };
                let now = self.clock.now_ns();
                self.advance_to(now.saturating_add(wait));
            }
        }
    }
}

/// Mostly a port that a device has.
fn known_port(choices: &mut Choices<'_>) -> u16 {
    const BASES: [(u16, u16); 15] = [
        (0x20, 2),
        (0xa0, 2),
        (0x4d0, 2),
        (0x40, 4),
        (0x61, 1),
        (0x60, 5),
        (0x70, 4),
        (0x92, 1),
        (0xf4, 4),
        (0x505, 1),
        (0x3f8, 8),
        (0x600, 16),
        (0xcf8, 8),
        (0xc000, 0x80),
        (0, 0xffff),
    ];
    let (base, len) = choices.one_of(&BASES);
    base.wrapping_add(choices.u16() % len.max(1))
}

/// Mostly an address that a device has.
fn known_address(choices: &mut Choices<'_>) -> u64 {
    const BASES: [(u64, u64); 5] = [
        (0xfec0_0000, 0x1000),
        (0xe000_0000, 0x2_0000),
        (0xc000_0000, 0x10_0000),
        (0xfee0_0000, 0x1000),
        (0, u64::MAX),
    ];
    let (base, len) = choices.one_of(&BASES);
    match len {
        u64::MAX => choices.u64(),
        _ => base + u64::from(choices.u32()) % len,
    }
}

fuzz_target!(|data: &[u8]| {
    let mut machine = Machine::new();
    let mut choices = Choices::new(data);
    for _ in 0..MAX_STEPS {
        if choices.is_empty() {
            break;
        }
        machine.step(&mut choices);
    }
});
