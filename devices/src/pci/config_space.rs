//! A function's configuration space: bytes, and which bits of them a guest can change.

use super::spec::{self, bar, command, offset, status};
use crate::bus::Width;

/// Why a function's configuration space cannot be as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such base address register, or it or its high half is taken.
    #[error("BAR {index} does not exist or is taken")]
    NoBar {
        /// The register asked for.
        index: usize,
    },
    /// Not a power of two, or not within what the kind of window allows.
    #[error("BAR {index} cannot have {size:#x} bytes")]
    BadBarSize {
        /// The register asked for.
        index: usize,
        /// The size asked for, in bytes.
        size: u64,
    },
    /// There is no room for another capability.
    #[error("no room for capability {id:#04x} of {bytes} bytes")]
    NoRoom {
        /// The capability's ID.
        id: u8,
        /// Its size with the two bytes of header.
        bytes: usize,
    },
}

/// What a function says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciIdentity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Class, subclass, programming interface.
    pub class: [u8; 3],
    /// Revision.
    pub revision: u8,
    /// Subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    pub subsystem: u16,
}

/// What a base address register addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarKind {
    /// Ports.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes two registers.
    Memory64,
}

/// Where a base address register's window is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarRegion {
    /// What it addresses.
    pub kind: BarKind,
    /// First address or port.
    pub base: u64,
    /// Size in bytes.
    pub size: u64,
    /// Whether the command register lets the function answer there.
    pub enabled: bool,
}

/// A function's interrupt pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterruptPin {
    /// INTA#.
    A,
    /// INTB#.
    B,
    /// INTC#.
    C,
    /// INTD#.
    D,
}

impl InterruptPin {
    /// 0 for INTA# to 3 for INTD#, as ACPI's _PRT counts.
    pub const fn index(self) -> u8 {
        match self {
            Self::A => 0,
            Self::B => 1,
            Self::C => 2,
            Self::D => 3,
        }
    }
}

/// 256 bytes of type 0 configuration space.
#[derive(Debug, Clone)]
pub struct ConfigSpace {
    bytes: [u8; spec::CONFIG_BYTES as usize],
    writable: [u8; spec::CONFIG_BYTES as usize],
    bars: [Option<(BarKind, u64)>; spec::BARS],
    /// Where the last capability's link is.
    last_link: u16,
    /// Where the next capability can go.
    next_free: u16,
}

impl ConfigSpace {
    /// A function without windows, interrupts and capabilities.
    pub fn new(identity: PciIdentity) -> Self {
        let mut space = Self {
            bytes: [0; spec::CONFIG_BYTES as usize],
            writable: [0; spec::CONFIG_BYTES as usize],
            bars: [None; spec::BARS],
            last_link: offset::CAPABILITIES,
            next_free: offset::DEVICE_SPECIFIC,
        };
        let [class, subclass, interface] = identity.class;
        space.set(offset::VENDOR, &identity.vendor.to_le_bytes());
        space.set(offset::DEVICE, &identity.device.to_le_bytes());
        space.set(offset::REVISION, &[identity.revision, interface, subclass, class]);
        space.set(offset::SUBSYSTEM_VENDOR, &identity.subsystem_vendor.to_le_bytes());
        space.set(offset::SUBSYSTEM, &identity.subsystem.to_le_bytes());
        space.allow(offset::COMMAND, &command::WRITABLE.to_le_bytes());
        space.allow(offset::CACHE_LINE, &[0xff, 0xff]);
        space.allow(offset::INTERRUPT_LINE, &[0xff]);
        space
    }

    /// Gives the function a window of `size` bytes behind register `index`.
    ///
    /// # Errors
    /// The register is taken, or the size is not one a window of this kind can have.
    pub fn add_bar(&mut self, index: usize, kind: BarKind, size: u64) -> Result<(), ConfigError> {
        let registers = if kind == BarKind::Memory64 { 2 } else { 1 };
        let high_half_of = |index: usize| {
            let before = index.checked_sub(1).and_then(|before| self.bars.get(before).copied()).flatten();
            before.is_some_and(|(kind, _)| kind == BarKind::Memory64)
        };
        let free = (index..index + registers).all(|index| self.bars.get(index) == Some(&None));
        if !free || high_half_of(index) {
            return Err(ConfigError::NoBar { index });
        }
        let (allowed, flags) = match kind {
            BarKind::Io => (bar::MIN_IO_BYTES..=bar::MAX_IO_BYTES, bar::IO),
            BarKind::Memory32 => (bar::MIN_MEMORY_BYTES..=bar::MAX_MEMORY_32_BYTES, 0),
            BarKind::Memory64 => (bar::MIN_MEMORY_BYTES..=1 << 40, bar::MEMORY_64 | bar::PREFETCHABLE),
        };
        if !size.is_power_of_two() || !allowed.contains(&size) {
            return Err(ConfigError::BadBarSize { index, size });
        }
        let at = bar_offset(index);
        self.set(at, &flags.to_le_bytes());
        let address_bits = !(size - 1);
        self.allow(at, &(address_bits as u32).to_le_bytes());
        if registers == 2 {
            self.allow(at + 4, &((address_bits >> 32) as u32).to_le_bytes());
        }
        if let Some(slot) = self.bars.get_mut(index) {
            *slot = Some((kind, size));
        }
        Ok(())
    }

    /// Says that the function raises interrupts on `pin`.
    pub fn set_interrupt_pin(&mut self, pin: InterruptPin) {
        self.set(offset::INTERRUPT_PIN, &[pin.index() + 1]);
    }

    /// Appends a capability: `body` follows the ID and the link, ones in `writable` are bits the guest can change. Gives
    /// the offset of the capability, where its ID is.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> Result<u16, ConfigError> {
        let no_room = ConfigError::NoRoom { id, bytes: body.len().saturating_add(2) };
        let length = u16::try_from(body.len()).map_err(|_| no_room)?;
        let at = self.next_free;
        let end = at.checked_add(2).and_then(|start| start.checked_add(length)).ok_or(no_room)?;
        if end > spec::CONFIG_BYTES {
            return Err(no_room);
        }
        // Below 256, as was just seen.
        self.set(self.last_link, &[at as u8]);
        self.set(at, &[id, 0]);
        self.set(at + 2, body);
        self.allow(at + 2, writable.get(..body.len()).unwrap_or(writable));
        self.last_link = at + 1;
        self.next_free = end.next_multiple_of(4);
        let [low, high] = self.word(offset::STATUS).to_le_bytes();
        self.set(offset::STATUS, &[low | status::CAPABILITIES as u8, high]);
        Ok(at)
    }

    /// Sets bytes, as the function itself.
    pub fn set(&mut self, at: u16, bytes: &[u8]) {
        for (slot, byte) in self.bytes.iter_mut().skip(at.into()).zip(bytes) {
            *slot = *byte;
        }
    }

    /// Lets the guest change the bits that are ones in `mask`.
    pub fn allow(&mut self, at: u16, mask: &[u8]) {
        for (slot, byte) in self.writable.iter_mut().skip(at.into()).zip(mask) {
            *slot |= *byte;
        }
    }

    /// Reads `width` bytes (at most four) as the guest; bytes beyond the end read as ones.
    pub fn read(&self, at: u16, width: Width) -> u32 {
        let bytes = (0..width.bytes().min(4)).rev();
        bytes.fold(0, |value, n| {
            let byte = self.bytes.get(usize::from(at) + n as usize).copied().unwrap_or(0xff);
            value << 8 | u32::from(byte)
        })
    }

    /// Writes `width` bytes (at most four) as the guest.
    pub fn write(&mut self, at: u16, width: Width, value: u32) {
        let count = width.bytes().min(4) as usize;
        let slots = self.bytes.iter_mut().zip(&self.writable).skip(at.into());
        for ((slot, mask), byte) in slots.zip(value.to_le_bytes()).take(count) {
            *slot = *slot & !mask | byte & mask;
        }
    }

    /// The 16-bit register at `at`.
    pub fn word(&self, at: u16) -> u16 {
        self.read(at, Width::Two) as u16
    }

    /// The command register.
    pub fn command(&self) -> u16 {
        self.word(offset::COMMAND)
    }

    /// Shows whether the function raises INTx; the line itself follows only if the command register allows it.
    pub fn set_interrupt_status(&mut self, raised: bool) {
        let word = self.word(offset::STATUS) & !status::INTERRUPT;
        let word = word | if raised { status::INTERRUPT } else { 0 };
        self.set(offset::STATUS, &word.to_le_bytes());
    }

    /// Where the window of register `index` is; `None` if there is no such window.
    pub fn bar(&self, index: usize) -> Option<BarRegion> {
        let (kind, size) = self.bars.get(index).copied().flatten()?;
        let at = bar_offset(index);
        let low = u64::from(self.read(at, Width::Four));
        let (base, enable) = match kind {
            BarKind::Io => (low & 0xfffc, command::IO),
            BarKind::Memory32 => (low & 0xffff_fff0, command::MEMORY),
            BarKind::Memory64 => {
                let high = u64::from(self.read(at + 4, Width::Four));
                (low & 0xffff_fff0 | high << 32, command::MEMORY)
            }
        };
        Some(BarRegion { kind, base, size, enabled: self.command() & enable != 0 })
    }

    /// Moves the window of register `index`, as firmware would.
    pub fn set_bar(&mut self, index: usize, base: u64) {
        let Some(BarRegion { kind, .. }) = self.bar(index) else { return };
        let at = bar_offset(index);
        self.write(at, Width::Four, base as u32);
        if kind == BarKind::Memory64 {
            self.write(at + 4, Width::Four, (base >> 32) as u32);
        }
    }

    /// Everything the guest can change goes back to zero, as after reset.
    pub fn reset(&mut self) {
        for (slot, mask) in self.bytes.iter_mut().zip(&self.writable) {
            *slot &= !mask;
        }
    }
}

/// Offset of base address register `index`, which is below six.
const fn bar_offset(index: usize) -> u16 {
    offset::BAR_0 + 4 * index as u16
}

#[cfg(test)]
#[path = "config_space_test.rs"]
mod config_space_test;
