//! What of this process is in the host's memory.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;

use serde::Serialize;

/// Resident memory of the process, in bytes, when the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Resident {
    /// Everything: the two below, the program, and whatever else an embedding program has.
    pub process_bytes: u64,
    /// The guest's memory, as far as it was touched.
    pub guest_bytes: u64,
}

/// Looks now; `guest` are the host's addresses of guest memory. `None` where the host has no Linux process files.
pub(crate) fn resident(guest: &[Range<u64>]) -> Option<Resident> {
    Some(count(&fs::read_to_string("/proc/self/smaps").ok()?, guest))
}

/// Adds up a list of mappings in the format of proc_pid_smaps(5).
fn count(mappings: &str, guest: &[Range<u64>]) -> Resident {
    let mut resident = Resident::default();
    let mut in_guest = false;
    let mut file = None;
    let mut shared: HashMap<&str, u64> = HashMap::new();
    for line in mappings.lines() {
        if let Some(range) = address_range(line) {
            in_guest = guest.iter().any(|guest| guest.start < range.end && range.start < guest.end);
            file = shared_file(line);
        } else if let Some(bytes) = resident_bytes(line) {
            // Generated code is mapped twice, to be written and to be run: its pages are there once.
            let counted = file.map_or(0, |file| {
                let most = shared.entry(file).or_default();
                std::mem::replace(most, bytes.max(*most))
            });
            resident.process_bytes = resident.process_bytes.saturating_add(bytes.saturating_sub(counted));
            if in_guest {
                resident.guest_bytes = resident.guest_bytes.saturating_add(bytes);
            }
        }
    }
    // The system may have merged a neighbour with it.
    let size = guest.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end - range.start));
    resident.guest_bytes = resident.guest_bytes.min(size);
    resident
}

/// The addresses in a mapping's first line.
fn address_range(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// Offset, device and inode of what a mapping's first line says is shared.
fn shared_file(line: &str) -> Option<&str> {
    let (mode, file) = line.split_once(' ')?.1.split_once(' ')?;
    mode.ends_with('s').then_some(file)
}

fn resident_bytes(line: &str) -> Option<u64> {
    let kib: u64 = line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
#[path = "resident_test.rs"]
mod resident_test;
