//! MSI-X: a table of messages a function can send, and the bits of those that wait.
//!
//! ```text
//! trigger ─▶ enabled, not masked ─▶ message
//!         └▶ masked ─▶ pending bit ─▶ (unmasked) ─▶ message
//! ```

use std::sync::Arc;

use super::spec::{capability, msix};
use super::{ConfigError, ConfigSpace};
use crate::bus::{Unclaimed, Width};
use crate::interrupt::{MsiMessage, MsiTarget};

/// Where a structure is: in which window, at what offset (a multiple of eight).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarLocation {
    /// The base address register.
    pub bar: u8,
    /// Offset in its window.
    pub offset: u32,
}

impl BarLocation {
    fn register(self) -> [u8; 4] {
        (self.offset & !7 | u32::from(self.bar & 7)).to_le_bytes()
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address_low: u32,
    address_high: u32,
    data: u32,
    control: u32,
}

const RESET_ENTRY: Entry = Entry { address_low: 0, address_high: 0, data: 0, control: msix::ENTRY_MASKED };

/// A function's MSI-X vectors. The function maps [`Msix::read_table`], [`Msix::write_table`] and [`Msix::read_pending`]
/// into its windows, and calls [`Msix::follow`] after each write of its configuration space.
pub struct Msix {
    target: Arc<dyn MsiTarget>,
    entries: Vec<Entry>,
    pending: Vec<u64>,
    enabled: bool,
    function_masked: bool,
    /// Offset of the capability.
    at: u16,
}

impl Msix {
    /// Gives a function `vectors` vectors (1 to 2,048; others are brought into that range), with the table and the
    /// pending bits where said, and appends the capability to `config`.
    ///
    /// # Errors
    /// There is no room for the capability.
    pub fn new(
        vectors: u16,
        table: BarLocation,
        pending: BarLocation,
        config: &mut ConfigSpace,
        target: Arc<dyn MsiTarget>,
    ) -> Result<Self, ConfigError> {
        let vectors = vectors.clamp(1, msix::MAX_VECTORS);
        let [size_low, size_high] = (vectors - 1).to_le_bytes();
        let [t0, t1, t2, t3] = table.register();
        let [p0, p1, p2, p3] = pending.register();
        let body = [size_low, size_high, t0, t1, t2, t3, p0, p1, p2, p3];
        let [_, control_writable] = (msix::ENABLE | msix::FUNCTION_MASK).to_le_bytes();
        let at = config.add_capability(capability::MSIX, &body, &[0, control_writable])?;
        Ok(Self {
            target,
            entries: vec![RESET_ENTRY; vectors.into()],
            pending: vec![0; usize::from(vectors).div_ceil(64)],
            enabled: false,
            function_masked: false,
            at,
        })
    }

    /// Number of vectors.
    pub fn vectors(&self) -> u16 {
        // At most 2,048.
        self.entries.len() as u16
    }

    /// Bytes of the table.
    pub fn table_bytes(&self) -> u64 {
        u64::from(self.vectors()) * msix::ENTRY_BYTES
    }

    /// Bytes of the pending bits.
    pub fn pending_bytes(&self) -> u64 {
        u64::from(self.vectors()).div_ceil(64) * 8
    }

    /// Whether the guest has turned MSI-X on; INTx is not to be used then.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Follows message control after `config` was written; messages that waited for it are sent.
    pub fn follow(&mut self, config: &ConfigSpace) {
        let control = config.word(self.at + msix::MESSAGE_CONTROL);
        self.enabled = control & msix::ENABLE != 0;
        self.function_masked = control & msix::FUNCTION_MASK != 0;
        self.send_pending();
    }

    /// Sends `vector`'s message, now or when it is unmasked. Without MSI-X, or for a vector that does not exist, nothing
    /// happens.
    pub fn trigger(&mut self, vector: u16) {
        if !self.enabled || usize::from(vector) >= self.entries.len() {
            return;
        }
        if let Some(word) = self.pending.get_mut(usize::from(vector / 64)) {
            *word |= 1 << (vector % 64);
        }
        self.send_one(vector);
    }

    fn send_one(&mut self, vector: u16) {
        let Some(entry) = self.entries.get(usize::from(vector)).copied() else { return };
        let Some(word) = self.pending.get_mut(usize::from(vector / 64)) else { return };
        let bit = 1 << (vector % 64);
        let masked = !self.enabled || self.function_masked || entry.control & msix::ENTRY_MASKED != 0;
        if masked || *word & bit == 0 {
            return;
        }
        *word &= !bit;
        let address = u64::from(entry.address_high) << 32 | u64::from(entry.address_low);
        self.target.send_msi(MsiMessage { address, data: entry.data });
    }

    fn send_pending(&mut self) {
        for vector in 0..self.vectors() {
            self.send_one(vector);
        }
    }

    /// Reads the table, in four or eight aligned bytes.
    ///
    /// # Errors
    /// Beyond the table, unaligned, or another width.
    pub fn read_table(&self, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        match width {
            Width::Four => self.table_register(offset).map(u64::from),
            Width::Eight if offset.is_multiple_of(8) => {
                let low = self.table_register(offset)?;
                let high = self.table_register(offset + 4)?;
                Ok(u64::from(high) << 32 | u64::from(low))
            }
            _ => Err(Unclaimed),
        }
    }

    fn table_register(&self, offset: u64) -> Result<u32, Unclaimed> {
        let index = usize::try_from(offset / msix::ENTRY_BYTES).map_err(|_| Unclaimed)?;
        let entry = self.entries.get(index).ok_or(Unclaimed)?;
        match offset % msix::ENTRY_BYTES {
            0 => Ok(entry.address_low),
            4 => Ok(entry.address_high),
            8 => Ok(entry.data),
            12 => Ok(entry.control),
            _ => Err(Unclaimed),
        }
    }

    /// Writes the table, in four or eight aligned bytes. Unmasking sends what waits.
    ///
    /// # Errors
    /// Beyond the table, unaligned, or another width.
    pub fn write_table(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        match width {
            Width::Four => self.write_table_register(offset, value as u32),
            Width::Eight if offset.is_multiple_of(8) => {
                self.write_table_register(offset, value as u32)?;
                self.write_table_register(offset + 4, (value >> 32) as u32)
            }
            _ => Err(Unclaimed),
        }
    }

    fn write_table_register(&mut self, offset: u64, value: u32) -> Result<(), Unclaimed> {
        let index = usize::try_from(offset / msix::ENTRY_BYTES).map_err(|_| Unclaimed)?;
        let entry = self.entries.get_mut(index).ok_or(Unclaimed)?;
        match offset % msix::ENTRY_BYTES {
            0 => entry.address_low = value & !3,
            4 => entry.address_high = value,
            8 => entry.data = value,
            12 => {
                entry.control = value & msix::ENTRY_MASKED;
                // At most 2,048 entries.
                self.send_one(index as u16);
            }
            _ => return Err(Unclaimed),
        }
        Ok(())
    }

    /// Reads the pending bits, in any aligned width. They are read only.
    ///
    /// # Errors
    /// Beyond them, or unaligned.
    pub fn read_pending(&self, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        if !offset.is_multiple_of(width.bytes()) {
            return Err(Unclaimed);
        }
        let index = usize::try_from(offset / 8).map_err(|_| Unclaimed)?;
        let word = self.pending.get(index).ok_or(Unclaimed)?;
        Ok(word >> (offset % 8 * 8) & width.mask())
    }

    /// Power-up reset: all vectors masked, nothing pending.
    pub fn reset(&mut self) {
        self.entries.fill(RESET_ENTRY);
        self.pending.fill(0);
        (self.enabled, self.function_masked) = (false, false);
    }
}

#[cfg(test)]
#[path = "msix_test.rs"]
mod msix_test;
