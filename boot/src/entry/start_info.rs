//! PVH start info (x86/HVM direct boot ABI, `hvm_start_info` version 1).

use super::low_memory::START_INFO;
use crate::memory::{E820Entry, GpaRange};

const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;
/// The module list begins behind the start info.
const MODULES: u64 = START_INFO + 0x40;
/// The memory map begins behind a list of one module.
const MEMORY_MAP: u64 = START_INFO + 0x80;

/// Start info, module list and memory map, for [`START_INFO`].
pub(crate) fn start_info(
    e820: &[E820Entry],
    initramfs: Option<GpaRange>,
    command_line: u64,
    rsdp: Option<u64>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut words = |values: &[u64]| values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let flags = 0;
    let modules = u32::from(initramfs.is_some());
    let module_list = if initramfs.is_some() { MODULES } else { 0 };
    words(&[pair(MAGIC, VERSION), pair(flags, modules), module_list, command_line]);
    words(&[rsdp.unwrap_or(0), MEMORY_MAP, pair(e820.len() as u32, 0), 0]);
    // Address, size, the module's own command line, reserved.
    let module = initramfs.unwrap_or(GpaRange::new(0, 0));
    words(&[module.start, module.size, 0, 0]);
    words(&[0; 4]);
    for entry in e820 {
        words(&[entry.range.start, entry.range.size, pair(entry.kind as u32, 0)]);
    }
    bytes
}
