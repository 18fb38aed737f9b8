//! Where things lie in an x86 machine's physical memory.
//!
//! | from | to | what |
//! |---|---|---|
//! | 0 | 3 GiB at most | RAM; ACPI tables in the BIOS area at 0xe0000 |
//! | 0xc000_0000 | 0xe000_0000 | PCI memory window |
//! | 0xe000_0000 | 0xe010_0000 | PCI configuration space (ECAM) of bus 0 |
//! | 0xfea0_0000 | 0xfeb0_0000 | virtio devices, where they are not on PCI |
//! | 0xfec0_0000 | | I/O APIC |
//! | 0xfee0_0000 | 0xfef0_0000 | local APICs and message-signalled interrupts |
//! | 4 GiB | | the rest of RAM |

use boot::GpaRange;
use devices::platform_map::mmio;

use crate::memory::{MapError, MemoryMap, Region, RegionKind};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// RAM below 4 GiB ends here at the latest.
pub(crate) const LOW_RAM_END: u64 = 3 * GIB;
/// PCI memory BARs.
pub(crate) const PCI_WINDOW: GpaRange = GpaRange::between(LOW_RAM_END, ECAM.start);
/// PCI configuration space of the one bus there is.
pub(crate) const ECAM: GpaRange = GpaRange::new(mmio::PCI_ECAM.base, mmio::PCI_ECAM.len);
/// Windows of virtio devices on MMIO.
pub(crate) const VIRTIO_MMIO: GpaRange = GpaRange::new(0xfea0_0000, MIB);
/// I/O APIC registers (82093AA; the page is all it answers in).
pub(crate) const IO_APIC: GpaRange = GpaRange::new(mmio::IO_APIC.base, mmio::IO_APIC.len);
/// Local APIC registers and the message-signalled interrupt range (SDM vol. 3, 12.4.1 and 12.11.1).
pub(crate) const LOCAL_APIC: GpaRange = GpaRange::new(mmio::LOCAL_APIC_BASE, MIB);
/// RAM that does not fit below the hole starts here.
const HIGH_RAM_START: u64 = 4 * GIB;

/// The map of a machine with this much memory.
///
/// # Errors
/// [`MapError`] for sizes that [`crate::config::check_memory`] refuses.
pub(crate) fn memory_map(memory_bytes: u64) -> Result<MemoryMap, MapError> {
    let low = memory_bytes.min(LOW_RAM_END);
    let high = memory_bytes.saturating_sub(low);
    let mut regions = vec![
        row("RAM", GpaRange::new(0, low), RegionKind::Ram),
        row("PCI memory window", PCI_WINDOW, RegionKind::Window),
        row("PCI ECAM", ECAM, RegionKind::Device),
        row("virtio MMIO", VIRTIO_MMIO, RegionKind::Device),
        row("I/O APIC", IO_APIC, RegionKind::Device),
        row("local APIC", LOCAL_APIC, RegionKind::Device),
    ];
    if high > 0 {
        regions.push(row("RAM above 4 GiB", GpaRange::new(HIGH_RAM_START, high), RegionKind::Ram));
    }
    MemoryMap::new(regions)
}

fn row(name: &'static str, range: GpaRange, kind: RegionKind) -> Region {
    Region { name, range, kind }
}

#[cfg(test)]
#[path = "memory_map_test.rs"]
mod memory_map_test;
