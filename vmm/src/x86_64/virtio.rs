//! Virtio devices on the PC: PCI functions from slot 1 on, or windows of memory.

use std::sync::{Arc, Mutex};

use boot::acpi::VirtioMmioConfig;
use devices::bus::{BusError, MmioBus, MmioWindow, Width};
use devices::interrupt::{InterruptFabric, IoApic, IrqLine, WiredOr};
use devices::pci::{ConfigError, InterruptPin, IntxRouter, PciError, PciRoot};
use devices::virtio::{MMIO_BYTES, Registers, VirtioDevice, VirtioMmio, VirtioPci};
use guest_memory::GuestMemory;

use super::memory_map::VIRTIO_MMIO;
use crate::config::VirtioTransport;
use crate::lock;

/// Slots for devices; slot 0 is the host bridge.
const MAX_PCI: usize = 31;
/// Windows of [`MMIO_BYTES`] there is room for.
const MAX_MMIO: usize = (VIRTIO_MMIO.size / MMIO_BYTES) as usize;
/// The I/O APIC's pins that neither ISA nor PCI uses; windows share them.
const MMIO_PINS: [u8; 4] = [20, 21, 22, 23];

/// Why devices cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error("{count} virtio devices, there is room for {room}")]
    TooMany { count: usize, room: usize },
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Pci(#[from] PciError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What devices are attached to.
pub(crate) struct Board<'a> {
    pub(crate) memory: Arc<GuestMemory>,
    pub(crate) mmio: &'a MmioBus,
    pub(crate) pci: &'a Mutex<PciRoot>,
    pub(crate) fabric: &'a Arc<InterruptFabric>,
    pub(crate) io_apic: &'a Arc<Mutex<IoApic>>,
    /// Whether packed rings are offered.
    pub(crate) packed_rings: bool,
}

/// A device behind its transport.
enum Attached {
    Pci(Arc<Mutex<VirtioPci>>),
    Mmio(Arc<Mutex<VirtioMmio>>),
}

/// A machine's virtio devices, in the order they were configured.
#[derive(Default)]
pub(crate) struct VirtioDevices {
    attached: Vec<Attached>,
}

impl VirtioDevices {
    /// Gives each device its place.
    pub(crate) fn attach(
        devices: Vec<Box<dyn VirtioDevice>>,
        transport: VirtioTransport,
        board: &Board<'_>,
    ) -> Result<Self, AttachError> {
        let room = if transport == VirtioTransport::Pci { MAX_PCI } else { MAX_MMIO };
        if devices.len() > room {
            return Err(AttachError::TooMany { count: devices.len(), room });
        }
        let attached = match transport {
            VirtioTransport::Pci => attach_pci(devices, board)?,
            VirtioTransport::Mmio | VirtioTransport::MmioCmdline => attach_mmio(devices, board)?,
        };
        Ok(Self { attached })
    }

    /// Finishes what is in flight and stops; vCPUs stand.
    pub(crate) fn pause(&self) {
        self.each(Registers::pause);
    }

    /// Goes on.
    pub(crate) fn resume(&self) {
        self.each(Registers::resume);
    }

    /// Power-up reset. Functions on PCI are also reset by their root; twice is once.
    pub(crate) fn reset(&self) {
        for device in &self.attached {
            match device {
                Attached::Pci(device) => lock(device).registers_mut().reset(),
                Attached::Mmio(device) => lock(device).reset(),
            }
        }
    }

    fn each(&self, act: impl Fn(&mut Registers)) {
        for device in &self.attached {
            match device {
                Attached::Pci(device) => act(lock(device).registers_mut()),
                Attached::Mmio(device) => act(lock(device).registers_mut()),
            }
        }
    }
}

fn attach_pci(devices: Vec<Box<dyn VirtioDevice>>, board: &Board<'_>) -> Result<Vec<Attached>, AttachError> {
    let intx = IntxRouter::new(board.io_apic);
    let mut attached = Vec::new();
    for (slot, device) in (1_u8..).zip(devices) {
        let line = intx.line(slot, InterruptPin::A);
        let memory = board.memory.clone();
        let function = VirtioPci::new(device, memory, board.fabric.clone(), line, board.packed_rings)?;
        let function = Arc::new(Mutex::new(function));
        lock(board.pci).add(slot, function.clone())?;
        attached.push(Attached::Pci(function));
    }
    Ok(attached)
}

fn attach_mmio(devices: Vec<Box<dyn VirtioDevice>>, board: &Board<'_>) -> Result<Vec<Attached>, AttachError> {
    let pins = MMIO_PINS.map(|pin| WiredOr::new(IoApic::line(board.io_apic, pin)));
    let mut attached = Vec::new();
    for (place, device) in mmio_places(devices.len()).into_iter().zip(devices) {
        let pin = pins.iter().zip(MMIO_PINS).find(|(_, pin)| u32::from(*pin) == place.gsi);
        let line = pin.map_or_else(IrqLine::unconnected, |(wired, _)| wired.add_line());
        let device = VirtioMmio::new(device, board.memory.clone(), line, board.packed_rings);
        let device = Arc::new(Mutex::new(device));
        let window = MmioWindow { base: place.base, len: MMIO_BYTES, first_offset: 0, native: Width::Four };
        board.mmio.attach("virtio", window, device.clone())?;
        attached.push(Attached::Mmio(device));
    }
    Ok(attached)
}

/// Where windows of memory go, and their interrupts.
pub(crate) fn mmio_places(count: usize) -> Vec<VirtioMmioConfig> {
    let pins = MMIO_PINS.into_iter().cycle();
    let places = (0_u64..).zip(pins).take(count.min(MAX_MMIO));
    places
        .map(|(n, pin)| VirtioMmioConfig { base: VIRTIO_MMIO.start + n * MMIO_BYTES, gsi: pin.into() })
        .collect()
}

/// How Linux is told of windows by its command line (Documentation/admin-guide/kernel-parameters.txt).
pub(crate) fn mmio_cmdline(count: usize) -> String {
    let one = |place: VirtioMmioConfig| {
        format!(" virtio_mmio.device={}K@{:#x}:{}", MMIO_BYTES >> 10, place.base, place.gsi)
    };
    mmio_places(count).into_iter().map(one).collect()
}
