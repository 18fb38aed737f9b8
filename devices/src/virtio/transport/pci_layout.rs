//! Where a virtio function's structures are: in one window, each in a 4 KiB page of its own (virtio 1.2, section 4.1.4).

use crate::pci::spec::capability;
use crate::pci::{BarLocation, ConfigError, ConfigSpace};

/// The base address register of the window.
pub(super) const BAR: u8 = 0;
/// Bytes of the window: 64 KiB, so that it never shares a 16 KiB page with another function's.
pub(super) const BAR_BYTES: u64 = 0x1_0000;

pub(super) const COMMON: u32 = 0x0000;
pub(super) const COMMON_BYTES: u32 = 0x40;
pub(super) const ISR: u32 = 0x1000;
pub(super) const DEVICE: u32 = 0x2000;
pub(super) const DEVICE_BYTES: u32 = 0x1000;
pub(super) const NOTIFY: u32 = 0x3000;
pub(super) const NOTIFY_BYTES: u32 = 0x1000;
pub(super) const MSIX_TABLE: BarLocation = BarLocation { bar: BAR, offset: 0x4000 };
pub(super) const MSIX_PENDING: BarLocation = BarLocation { bar: BAR, offset: 0x8000 };

/// Queues ring four bytes apart.
pub(super) const NOTIFY_MULTIPLIER: u32 = 4;

/// Structure types (section 4.1.4).
const TYPE_COMMON: u8 = 1;
const TYPE_NOTIFY: u8 = 2;
const TYPE_ISR: u8 = 3;
const TYPE_DEVICE: u8 = 4;
const TYPE_PCI: u8 = 5;

/// A `virtio_pci_cap` without its first two bytes; `extra` follows it.
fn structure(kind: u8, offset: u32, bytes: u32, extra: &[u8]) -> Vec<u8> {
    // 16 bytes and the extra ones; cap_len counts ID and link, too.
    let mut body = vec![16 + extra.len() as u8, kind, BAR, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(bytes.to_le_bytes());
    body.extend(extra);
    body
}

/// Appends the capabilities that name the structures. Answers where the one is that is a window into the others.
pub(super) fn add_capabilities(config: &mut ConfigSpace) -> Result<u16, ConfigError> {
    let id = capability::VENDOR;
    config.add_capability(id, &structure(TYPE_COMMON, COMMON, COMMON_BYTES, &[]), &[])?;
    let multiplier = NOTIFY_MULTIPLIER.to_le_bytes();
    config.add_capability(id, &structure(TYPE_NOTIFY, NOTIFY, NOTIFY_BYTES, &multiplier), &[])?;
    config.add_capability(id, &structure(TYPE_ISR, ISR, 1, &[]), &[])?;
    config.add_capability(id, &structure(TYPE_DEVICE, DEVICE, DEVICE_BYTES, &[]), &[])?;
    // BAR, offset and length are the driver's to write (section 4.1.4.9).
    let mut writable = [0; 18];
    writable.iter_mut().skip(2).take(1).for_each(|byte| *byte = 0xff);
    writable.iter_mut().skip(6).for_each(|byte| *byte = 0xff);
    config.add_capability(id, &structure(TYPE_PCI, 0, 0, &[0; 4]), &writable)
}
