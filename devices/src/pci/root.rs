//! The PCI root complex: bus 0, its functions, and where their windows are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};

use super::function::BarWindow;
use super::host_bridge::HostBridge;
use super::spec::{BARS, DEVICES};
use super::{BarKind, BarRegion, PciFunction};
use crate::bus::{BusError, MmioBus, MmioWindow, PortBus, PortWindow, Width};
use crate::lock;
use crate::platform_map::{mmio, port};

/// Why a function cannot be where it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PciError {
    /// Slots are 1 to 31; the host bridge has 0.
    #[error("there is no PCI slot {device}")]
    NoSlot {
        /// The slot asked for.
        device: u8,
    },
    /// The slot has a function.
    #[error("PCI slot {device} is taken")]
    Taken {
        /// The slot asked for.
        device: u8,
    },
    /// The windows for PCI are full.
    #[error("no room for BAR {bar} of PCI slot {device}, {size:#x} bytes")]
    NoRoom {
        /// The slot.
        device: u8,
        /// The base address register.
        bar: usize,
        /// The size of its window, in bytes.
        size: u64,
    },
}

/// A function in its slot.
struct Slot {
    function: Arc<Mutex<dyn PciFunction>>,
    /// Where firmware put each window.
    assigned: [Option<u64>; BARS],
    /// Windows that are on a bus now.
    attached: [Option<(BarKind, u64)>; BARS],
}

/// Bus 0, with a host bridge at 00:00.0; each slot has one function. BARs are assigned as firmware would when a function
/// is added, and appear on the buses while the guest's command register enables them.
pub struct PciRoot {
    // The buses hold the two ways to configuration space, which hold the root.
    mmio: Weak<MmioBus>,
    ports: Weak<PortBus>,
    slots: BTreeMap<u8, Slot>,
    /// What is left of the windows.
    free_memory: Range<u64>,
    free_ports: Range<u64>,
}

impl PciRoot {
    /// A root with only its host bridge, whose windows appear on these buses. It does not keep them.
    pub fn new(mmio: &Arc<MmioBus>, ports: &Arc<PortBus>) -> Arc<Mutex<Self>> {
        let bridge = Slot {
            function: Arc::new(Mutex::new(HostBridge::new())),
            assigned: [None; BARS],
            attached: [None; BARS],
        };
        Arc::new(Mutex::new(Self {
            mmio: Arc::downgrade(mmio),
            ports: Arc::downgrade(ports),
            slots: BTreeMap::from([(0, bridge)]),
            free_memory: mmio::PCI_WINDOW_32,
            free_ports: port::PCI_WINDOW,
        }))
    }

    /// Puts `function` into slot `device` (1 to 31) and gives its windows addresses. Before the guest runs.
    ///
    /// # Errors
    /// The slot does not exist or is taken, or the windows for PCI are full.
    pub fn add(&mut self, device: u8, function: Arc<Mutex<dyn PciFunction>>) -> Result<(), PciError> {
        if !(1..DEVICES).contains(&device) {
            return Err(PciError::NoSlot { device });
        }
        if self.slots.contains_key(&device) {
            return Err(PciError::Taken { device });
        }
        let mut assigned = [None; BARS];
        {
            let mut function = lock(&function);
            for (bar, slot) in assigned.iter_mut().enumerate() {
                let Some(BarRegion { kind, size, .. }) = function.config().bar(bar) else { continue };
                let free = if kind == BarKind::Io { &mut self.free_ports } else { &mut self.free_memory };
                let base = take(free, size).ok_or(PciError::NoRoom { device, bar, size })?;
                *slot = Some(base);
                function.config_mut().set_bar(bar, base);
            }
        }
        self.slots.insert(device, Slot { function, assigned, attached: [None; BARS] });
        Ok(())
    }

    /// The guest reads configuration space. What is not there reads as all ones.
    pub fn read_config(&mut self, address: ConfigAddress, width: Width) -> u32 {
        let answer = self.slot(address).map(|slot| lock(&slot.function).config_read(address.offset, width));
        // At most four bytes.
        answer.unwrap_or(u32::MAX) & width.mask() as u32
    }

    /// The guest writes configuration space.
    pub fn write_config(&mut self, address: ConfigAddress, width: Width, value: u32) {
        let Some(slot) = self.slot(address) else { return };
        lock(&slot.function).config_write(address.offset, width, value);
        self.follow(address.device);
    }

    fn slot(&self, address: ConfigAddress) -> Option<&Slot> {
        if address.bus != 0 || address.function != 0 {
            return None;
        }
        self.slots.get(&address.device)
    }

    /// Power-up reset of every function. Windows leave the buses and get back the addresses firmware gave them.
    pub fn reset(&mut self) {
        let devices: Vec<u8> = self.slots.keys().copied().collect();
        for device in devices {
            if let Some(slot) = self.slots.get(&device) {
                let mut function = lock(&slot.function);
                function.reset();
                function.config_mut().reset();
                for (bar, base) in slot.assigned.iter().enumerate() {
                    if let Some(base) = base {
                        function.config_mut().set_bar(bar, *base);
                    }
                }
            }
            self.follow(device);
        }
    }

    /// Moves windows on the buses to where the function's registers now say.
    fn follow(&mut self, device: u8) {
        // Who writes here came over one of the buses; without them there is nothing to be seen on.
        let (Some(mmio), Some(ports)) = (self.mmio.upgrade(), self.ports.upgrade()) else { return };
        let Some(slot) = self.slots.get_mut(&device) else { return };
        let wanted: [Option<BarRegion>; BARS] = {
            let function = lock(&slot.function);
            std::array::from_fn(|bar| function.config().bar(bar).filter(|region| region.enabled))
        };
        // Away with what moved first: windows may swap places.
        for (attached, wanted) in slot.attached.iter_mut().zip(&wanted) {
            let target = wanted.map(|region| (region.kind, region.base));
            if let Some((kind, base)) = attached.filter(|attached| Some(*attached) != target) {
                detach(&mmio, &ports, kind, base);
                *attached = None;
            }
        }
        for (bar, (attached, wanted)) in slot.attached.iter_mut().zip(&wanted).enumerate() {
            let Some(region) = wanted.filter(|_| attached.is_none()) else { continue };
            let window = BarWindow { function: slot.function.clone(), bar };
            match attach(&mmio, &ports, device, window, region) {
                Ok(()) => *attached = Some((region.kind, region.base)),
                // While a guest sizes or moves windows they pass through places that are taken.
                Err(error) => log::debug!("PCI slot {device} BAR {bar} stays off the bus: {error}"),
            }
        }
    }
}

fn attach(
    mmio: &MmioBus,
    ports: &PortBus,
    device: u8,
    window: BarWindow,
    region: BarRegion,
) -> Result<(), BusError> {
    let name = format!("PCI slot {device} BAR {}", window.bar);
    let BarRegion { base, size, .. } = region;
    let handler = Arc::new(Mutex::new(window));
    if region.kind != BarKind::Io {
        let window = MmioWindow { base, len: size, first_offset: 0, native: Width::Eight };
        return mmio.attach(&name, window, handler);
    }
    let bad = || BusError::BadRange { name: name.clone(), base, len: size };
    let (base, len) = (u16::try_from(base).map_err(|_| bad())?, u16::try_from(size).map_err(|_| bad())?);
    ports.attach(&name, &[PortWindow { base, len, first_offset: 0, native: Width::Four }], handler)
}

fn detach(mmio: &MmioBus, ports: &PortBus, kind: BarKind, base: u64) {
    let result = match kind {
        BarKind::Io => u16::try_from(base).map_or(Ok(()), |base| ports.detach(base)),
        BarKind::Memory32 | BarKind::Memory64 => mmio.detach(base),
    };
    if let Err(error) = result {
        log::warn!("a PCI window could not be taken off its bus: {error}");
    }
}

/// Takes `size` bytes, aligned to their size, from the front of `free`.
fn take(free: &mut Range<u64>, size: u64) -> Option<u64> {
    let base = free.start.checked_next_multiple_of(size)?;
    let end = base.checked_add(size).filter(|end| *end <= free.end)?;
    free.start = end;
    Some(base)
}

/// One register of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigAddress {
    /// Bus number.
    pub bus: u8,
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function number, 0 to 7.
    pub function: u8,
    /// Offset in the function's configuration space, 0 to 0xfff.
    pub offset: u16,
}

#[cfg(test)]
#[path = "root_test.rs"]
mod root_test;
