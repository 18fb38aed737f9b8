//! A kernel file that anybody may have written: bzImage, ELF, packed or not; loaded, then placed.
#![no_main]

use boot::{AcpiConfig, GpaRange, Initramfs, KernelImage, MemoryLayout, PlanRequest, Unpack, plan};
use libfuzzer_sys::fuzz_target;

/// What unpacking may take: small, so that a bomb is a refusal and not the fuzzer's memory limit.
const MAX_UNPACKED: u64 = 8 << 20;

fuzz_target!(|data: &[u8]| {
    for unpack in [Unpack::Host, Unpack::Guest] {
        let Ok(kernel) = KernelImage::load(data, "fuzz", unpack, MAX_UNPACKED) else { continue };
        let memory = MemoryLayout { ram: vec![GpaRange { start: 0, size: 64 << 20 }], reserved: Vec::new() };
        let initramfs = Initramfs::load(&b"070701"[..], "cpio", Unpack::Guest, MAX_UNPACKED).ok();
        let acpi = AcpiConfig::pc(2);
        let request = PlanRequest {
            kernel: &kernel,
            initramfs: initramfs.as_ref(),
            cmdline: "console=ttyS0",
            memory: &memory,
            acpi: Some(&acpi),
        };
        let Ok(image) = plan(&request) else { continue };
        // Whatever the file says, what is placed lies in RAM and does not overlap.
        let mut ranges: Vec<_> = image.placements.iter().map(boot::Placement::range).collect();
        ranges.sort_by_key(|range| range.start);
        for range in &ranges {
            assert!(range.start.checked_add(range.size).is_some_and(|end| end <= 64 << 20), "{range:x?}");
        }
        for pair in ranges.windows(2) {
            assert!(pair[0].start + pair[0].size <= pair[1].start, "{pair:x?}");
        }
    }
});
