//! The PC around the vCPUs: buses and devices, wired.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use boot::acpi::{
    AcpiConfig, IoApicConfig, PciConfig, PowerPorts, ResetRegister as AcpiReset, VirtioMmioConfig,
};
use devices::bus::{MmioBus, PortBus, PortWindow, Width};
use devices::interrupt::{
    ExtIntSource, InterruptFabric, IoApic, IsaWiring, LocalApic, LocalApicConfig, NoSuchVcpu, Pic8259Pair,
    VcpuWaker,
};
use devices::pci::{PciConfigPorts, PciEcam, PciRoot};
use devices::platform_map::{isa_irq, mmio, port};
use devices::power::{
    AcpiPm, DebugExit, I8042, Port92, PvPanic, RESET_VALUE, ResetRegister, SystemEvents, acpi_pm_spec,
};
use devices::serial::{ByteSink, InputReady, Serial16550};
use devices::time::{Clock, DeadlineListener, TimerSet};
use devices::timer::{CmosRtc, Pit8254};
use devices::virtio::VirtioDevice;

use super::cpuid::CpuidPolicy;
use super::memory_map::{LOW_RAM_END, PCI_WINDOW};
use super::msr_log::UnknownMsrs;
use super::virtio::{AttachError, Board, VirtioDevices};
use crate::clock::{MachineClock, calendar};
use crate::config::VirtioTransport;
use crate::lock;
use crate::memory::{GuestRam, MemoryMap};

/// What the platform calls out to.
pub(crate) struct Effects {
    pub(crate) waker: Arc<dyn VcpuWaker>,
    pub(crate) events: Arc<dyn SystemEvents>,
    pub(crate) deadlines: Arc<dyn DeadlineListener>,
    pub(crate) serial_output: Box<dyn ByteSink>,
    pub(crate) serial_input: Box<dyn InputReady>,
}

/// What the platform is made of.
pub(crate) struct Parts {
    pub(crate) cpus: u32,
    pub(crate) debug_exit_port: Option<u16>,
    pub(crate) clock: Arc<MachineClock>,
    pub(crate) cpuid: CpuidPolicy,
    pub(crate) apic_timer_hz: u64,
    pub(crate) map: MemoryMap,
    pub(crate) ram: GuestRam,
    pub(crate) devices: Vec<Box<dyn VirtioDevice>>,
    pub(crate) transport: VirtioTransport,
    pub(crate) packed_rings: bool,
}

/// One machine's buses and devices. Shared by all vCPU threads and the machine's owner.
pub(crate) struct Platform {
    pub(crate) ports: Arc<PortBus>,
    pub(crate) mmio: Arc<MmioBus>,
    pub(crate) clock: Arc<MachineClock>,
    pub(crate) cpuid: CpuidPolicy,
    pub(crate) map: MemoryMap,
    pub(crate) ram: GuestRam,
    pub(crate) unknown_msrs: UnknownMsrs,
    pub(crate) timers: TimerSet,
    pub(crate) serial: Arc<Mutex<Serial16550>>,
    fabric: Arc<InterruptFabric>,
    pic: Arc<Mutex<Pic8259Pair>>,
    io_apic: Arc<Mutex<IoApic>>,
    pit: Arc<Mutex<Pit8254>>,
    rtc: Arc<Mutex<CmosRtc>>,
    pm: Arc<Mutex<AcpiPm>>,
    pci: Arc<Mutex<PciRoot>>,
    pci_ports: Arc<Mutex<PciConfigPorts>>,
    i8042: Arc<Mutex<I8042>>,
    port_92: Arc<Mutex<Port92>>,
    virtio: VirtioDevices,
    apic_timer_hz: u64,
    first_entry: OnceLock<Instant>,
    entered: AtomicBool,
}

impl Platform {
    /// Makes the devices and wires them.
    ///
    /// # Errors
    /// Two devices want the same ports or addresses; the debug-exit port is taken; too many devices.
    pub(crate) fn new(parts: Parts, effects: Effects) -> Result<Self, AttachError> {
        let Parts { cpus, debug_exit_port, clock, cpuid, apic_timer_hz, map, ram, .. } = parts;
        let Parts { devices, transport, packed_rings, .. } = parts;
        let Effects { waker, events, deadlines, serial_output, serial_input } = effects;
        let (ports, mmio) = (Arc::new(PortBus::new()), Arc::new(MmioBus::new()));
        let apic_ids: Vec<u32> = (0..cpus).collect();
        let fabric = InterruptFabric::new(&apic_ids, waker);
        let pic = Pic8259Pair::new(fabric.lint0());
        let io_apic = IoApic::new(0, fabric.clone());
        let isa = IsaWiring::new(pic.clone(), io_apic.clone());
        let time: Arc<dyn Clock> = clock.clone();

        let pit =
            Arc::new(Mutex::new(Pit8254::new(isa.line(isa_irq::TIMER), time.clone(), deadlines.clone())));
        let (low, high) = ram_sizes(&map);
        let rtc = CmosRtc::new(
            low,
            high,
            isa.line(isa_irq::RTC),
            time.clone(),
            calendar(&clock),
            deadlines.clone(),
        );
        let rtc = Arc::new(Mutex::new(rtc));
        let sci = isa.line(isa_irq::SCI);
        let pm = Arc::new(Mutex::new(AcpiPm::new(sci, time.clone(), events.clone(), deadlines.clone())));
        let com1 = isa.line(isa_irq::COM1);
        let serial = Serial16550::new(com1, serial_output, serial_input, time, deadlines);
        let serial = Arc::new(Mutex::new(serial));
        let pci = PciRoot::new(&mmio, &ports);
        let reset = ResetRegister::new(events.clone());
        let pci_ports = Arc::new(Mutex::new(PciConfigPorts::new(pci.clone(), reset)));
        let i8042 = Arc::new(Mutex::new(I8042::new(events.clone())));
        let port_92 = Arc::new(Mutex::new(Port92::new(events.clone())));
        let pvpanic = Arc::new(Mutex::new(PvPanic::new(events.clone())));

        ports.attach("8259", &port::PIC, pic.clone())?;
        ports.attach("8254", &port::PIT, pit.clone())?;
        ports.attach("keyboard controller", &port::I8042, i8042.clone())?;
        ports.attach("real-time clock", &port::RTC, rtc.clone())?;
        ports.attach("port 0x92", &port::PORT_92, port_92.clone())?;
        ports.attach("pvpanic", &port::PVPANIC, pvpanic)?;
        ports.attach("COM1", &port::COM1, serial.clone())?;
        ports.attach("ACPI PM", &port::ACPI_PM, pm.clone())?;
        ports.attach("PCI configuration", &port::PCI_CONFIG, pci_ports.clone())?;
        if let Some(base) = debug_exit_port {
            // Four ports, so that a write of any width is one write.
            let len = (u16::MAX - base).min(3) + 1;
            let window = PortWindow { base, len, first_offset: 0, native: Width::Four };
            ports.attach("debug exit", &[window], Arc::new(Mutex::new(DebugExit::new(events))))?;
        }
        mmio.attach("I/O APIC", mmio::IO_APIC, io_apic.clone())?;
        mmio.attach("PCI ECAM", mmio::PCI_ECAM, Arc::new(Mutex::new(PciEcam::new(pci.clone()))))?;

        let board = Board {
            memory: Arc::new(ram.memory().clone()),
            mmio: &mmio,
            pci: &pci,
            fabric: &fabric,
            io_apic: &io_apic,
            packed_rings,
        };
        let virtio = VirtioDevices::attach(devices, transport, &board)?;

        let mut timers = TimerSet::new();
        timers.add(pit.clone());
        timers.add(rtc.clone());
        timers.add(pm.clone());
        timers.add(serial.clone());
        Ok(Self {
            ports,
            mmio,
            clock,
            cpuid,
            map,
            ram,
            unknown_msrs: UnknownMsrs::default(),
            timers,
            serial,
            fabric,
            pic,
            io_apic,
            pit,
            rtc,
            pm,
            pci,
            pci_ports,
            i8042,
            port_92,
            virtio,
            apic_timer_hz,
            first_entry: OnceLock::new(),
            entered: AtomicBool::new(false),
        })
    }

    /// Where message-signalled interrupts go.
    #[cfg(test)]
    pub(crate) fn fabric(&self) -> &Arc<InterruptFabric> {
        &self.fabric
    }

    /// The local APIC of vCPU `index`, for its thread.
    pub(crate) fn local_apic(&self, index: u32) -> Result<LocalApic, NoSuchVcpu> {
        let config = LocalApicConfig {
            // A vCPU number is small.
            vcpu: index as usize,
            apic_id: index,
            bootstrap: index == 0,
            timer_hz: self.apic_timer_hz,
            x2apic: X2APIC,
            tsc_deadline: TSC_DEADLINE,
        };
        let ext_int: Arc<dyn ExtIntSource> = self.pic.clone();
        LocalApic::new(config, self.fabric.clone(), self.clock.clone(), ext_int)
    }

    /// Power-up reset of all devices but the local APICs, which their vCPUs' threads reset. vCPUs stand still.
    pub(crate) fn reset(&self) {
        self.virtio.reset();
        lock(&self.pci_ports).reset();
        lock(&self.pci).reset();
        lock(&self.serial).reset();
        lock(&self.pit).reset();
        lock(&self.rtc).reset();
        lock(&self.pm).reset();
        lock(&self.i8042).reset();
        lock(&self.port_92).reset();
        lock(&self.pic).reset();
        lock(&self.io_apic).reset();
    }

    /// The guest was paused: its calendar follows the host's again.
    pub(crate) fn resumed(&self) {
        lock(&self.rtc).set_from_wall_clock();
    }

    /// Finishes what devices have in flight and stops them. vCPUs stand.
    pub(crate) fn pause_devices(&self) {
        self.virtio.pause();
    }

    /// Devices go on.
    pub(crate) fn resume_devices(&self) {
        self.virtio.resume();
    }

    /// Presses the power button. False if the guest does not listen.
    pub(crate) fn press_power_button(&self) -> bool {
        let mut pm = lock(&self.pm);
        pm.press_power_button();
        pm.power_button_enabled()
    }

    /// Notes when the guest ran first.
    #[inline]
    pub(crate) fn first_entry(&self) {
        if !self.entered.load(Ordering::Relaxed) {
            self.entered.store(true, Ordering::Relaxed);
            // Two vCPUs may enter first at the same moment; either time will do.
            let _ = self.first_entry.set(Instant::now());
        }
    }

    /// When the guest ran first.
    pub(crate) fn first_entry_at(&self) -> Option<Instant> {
        self.first_entry.get().copied()
    }
}

/// CPUID offers x2APIC mode and the TSC-deadline timer.
pub(crate) const X2APIC: bool = true;
/// See [`X2APIC`].
pub(crate) const TSC_DEADLINE: bool = true;

/// RAM below and above 4 GiB, bytes.
fn ram_sizes(map: &MemoryMap) -> (u64, u64) {
    let total: u64 = map.ram().map(|range| range.size).sum();
    let low = total.min(LOW_RAM_END);
    (low, total - low)
}

/// The ACPI tables of this platform.
pub(crate) fn acpi_config(cpus: u32, virtio_mmio: Vec<VirtioMmioConfig>) -> AcpiConfig {
    let pm = port::ACPI_PM[0].base;
    let (_, last_bus) = mmio::PCI_ECAM_BUSES;
    AcpiConfig {
        io_apic: IoApicConfig { id: 0, address: mmio::IO_APIC.base as u32, gsi_base: 0 },
        power: PowerPorts { pm1_event: pm, pm1_control: pm + 4, pm_timer: pm + 8, pm_timer_32bit: true },
        s5_sleep_type: acpi_pm_spec::SLP_TYP_S5,
        reset: Some(AcpiReset { port: port::RESET, value: RESET_VALUE }),
        has_i8042: false,
        pci: Some(PciConfig {
            ecam: boot::GpaRange::new(mmio::PCI_ECAM.base, mmio::PCI_ECAM.len),
            last_bus,
            mmio32: PCI_WINDOW,
            mmio64: None,
            io: PCI_IO,
            intx: PCI_INTX,
        }),
        pvpanic: Some(port::PVPANIC[0].base),
        virtio_mmio,
        ..AcpiConfig::pc(cpus)
    }
}

/// I/O ports for PCI BARs.
const PCI_IO: (u16, u16) = (0xc000, 0xffff);
/// I/O APIC pins of INTA# to INTD#.
const PCI_INTX: [u32; 4] = [16, 17, 18, 19];

#[cfg(test)]
#[path = "platform_test.rs"]
mod platform_test;
