//! An initramfs that anybody may have written: any compression, damaged or a bomb.
#![no_main]

use boot::{Initramfs, Unpack};
use libfuzzer_sys::fuzz_target;

/// What unpacking may take.
const MAX_UNPACKED: u64 = 8 << 20;

fuzz_target!(|data: &[u8]| {
    for unpack in [Unpack::Host, Unpack::Guest] {
        if let Ok(initramfs) = Initramfs::load(data, "fuzz", unpack, MAX_UNPACKED) {
            // A file that was unpacked keeps to the bound; one that was not is handed on as it is.
            let bound = data.len().max(MAX_UNPACKED as usize);
            assert!(initramfs.bytes().len() <= bound, "{} bytes", initramfs.bytes().len());
        }
    }
});
