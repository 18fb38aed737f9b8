//! Damaged files: whatever is done to a good one, loading ends with a result, without a panic and within a bound of memory.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::synthetic::{BzImageSpec, ElfSpec, FORMATS, cpio, noise, pack};
use crate::{
    AcpiConfig, GpaRange, Initramfs, KernelImage, MemoryLayout, PlanRequest, Unpack, UnpackError, plan,
};

/// What unpacking may yield, in bytes.
const MAX_UNPACKED: u64 = 4 << 20;

/// What loading may take at most: the output, and the largest dictionary an LZMA decoder may have.
const MAX_MEMORY: usize = (MAX_UNPACKED as usize) + (170 << 20);

/// Good kernels and initramfs of every kind.
static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let elf = ElfSpec { pvh_entry: Some(0x100_0080), ..ElfSpec::linux64() };
    let mut files = vec![elf.build(), ElfSpec::linux32().build(), BzImageSpec::new(elf.build()).build()];
    let archive = cpio("init", &noise(2000));
    files.push([cpio("early", b"1"), archive.clone()].concat());
    for format in FORMATS {
        files.push(BzImageSpec::packed(format, &ElfSpec::linux64().build()).build());
        files.push([cpio("early", b"1"), pack(format, &archive), pack(format, &archive)].concat());
        files.push(pack(format, &noise(100)));
    }
    files
});

#[derive(Clone, Debug)]
enum Mutation {
    Flip { at: usize, mask: u8 },
    Fill { at: usize, size: usize, byte: u8 },
    Cut { at: usize },
    Repeat { at: usize, size: usize },
}

impl Mutation {
    fn apply(&self, file: &mut Vec<u8>) {
        let within = |at: usize| if file.is_empty() { 0 } else { at % file.len() };
        match *self {
            Self::Flip { at, mask } => {
                let at = within(at);
                file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= mask);
            }
            Self::Fill { at, size, byte } => {
                let at = within(at);
                file.iter_mut().skip(at).take(size).for_each(|old| *old = byte);
            }
            Self::Cut { at } => file.truncate(within(at)),
            Self::Repeat { at, size } => {
                let at = within(at);
                let part: Vec<u8> = file[at..].iter().take(size).copied().collect();
                file.splice(at..at, part);
            }
        }
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    // Headers decide most, and they are short: half of all changes are made there.
    let at = || prop_oneof![0_usize..16, 0_usize..0x300, 0x800_usize..0xb20, 0_usize..100_000];
    let byte = || prop_oneof![Just(0_u8), Just(0xff), Just(0x7f), any::<u8>()];
    let mutation = prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, mask)| Mutation::Flip { at, mask }),
        4 => (at(), 1_usize..9, byte()).prop_map(|(at, size, byte)| Mutation::Fill { at, size, byte }),
        1 => at().prop_map(|at| Mutation::Cut { at }),
        1 => (at(), 1_usize..5000).prop_map(|(at, size)| Mutation::Repeat { at, size }),
    ];
    vec(mutation, 0..6)
}

/// Loads `file` as everything it might be, and plans with what came out of it.
fn load(file: &[u8]) {
    let memory = MemoryLayout { ram: vec![GpaRange::new(0, 64 << 20)], reserved: vec![] };
    let acpi = AcpiConfig::pc(1);
    for unpack in [Unpack::Host, Unpack::Guest] {
        let initramfs = Initramfs::load(file, "file", unpack, MAX_UNPACKED);
        if let Ok(initramfs) = &initramfs {
            assert!(
                unpack == Unpack::Guest || initramfs.bytes().len() <= file.len().max(MAX_UNPACKED as usize)
            );
        }
        let Ok(kernel) = KernelImage::load(file, "file", unpack, MAX_UNPACKED) else {
            continue;
        };
        let image = plan(&PlanRequest {
            kernel: &kernel,
            initramfs: initramfs.as_ref().ok(),
            cmdline: "quiet",
            memory: &memory,
            acpi: Some(&acpi),
        });
        let Ok(image) = image else {
            continue;
        };
        for (index, placement) in image.placements.iter().enumerate() {
            assert!(placement.bytes.len() as u64 <= placement.size);
            assert!(placement.range().end() <= 64 << 20);
            for other in &image.placements[..index] {
                assert!(!other.range().overlaps(&placement.range()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn damaged_files_end_in_a_result_within_memory(index in any::<prop::sample::Index>(), mutations in mutations()) {
        let mut file = index.get(&FILES).clone();
        mutations.iter().for_each(|mutation| mutation.apply(&mut file));
        let peak = memory::peak_of(|| load(&file));
        prop_assert!(peak <= MAX_MEMORY, "{peak} bytes");
    }

    #[test]
    fn rubbish_ends_in_a_result(file in vec(any::<u8>(), 0..2000)) {
        load(&file);
    }
}

#[test]
fn a_stream_that_claims_to_be_huge_is_not_believed() {
    // A gzip stream whose last word says 4 GiB, and a LZMA one whose header says so.
    let mut gzip = pack(crate::Compression::Gzip, &cpio("init", b""));
    let size = gzip.len();
    gzip[size - 4..].fill(0xff);
    let mut lzma = pack(crate::Compression::Lzma, &cpio("init", b""));
    lzma[5..13].copy_from_slice(&u64::from(u32::MAX).to_le_bytes());
    for file in [gzip, lzma] {
        let peak = memory::peak_of(|| {
            let error = Initramfs::load(&file, "file", Unpack::Host, MAX_UNPACKED).unwrap_err();
            let cause = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<UnpackError>());
            assert!(
                matches!(cause, Some(UnpackError::Damaged { .. } | UnpackError::Truncated { .. })),
                "{error}"
            );
        });
        assert!(peak <= MAX_MEMORY, "{peak} bytes");
    }
}

/// Counts what each thread has allocated.
#[allow(unsafe_code, reason = "a global allocator cannot be had without")]
mod memory {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    struct Counting;

    #[global_allocator]
    static COUNTING: Counting = Counting;

    thread_local! {
        static NOW: Cell<usize> = const { Cell::new(0) };
        static PEAK: Cell<usize> = const { Cell::new(0) };
    }

    fn grow(size: usize) {
        let now = NOW.get().wrapping_add(size);
        NOW.set(now);
        // Below zero (memory of another thread was given back) is no peak.
        if now < usize::MAX / 2 {
            PEAK.set(PEAK.get().max(now));
        }
    }

    fn shrink(size: usize) {
        NOW.set(NOW.get().wrapping_sub(size));
    }

    // SAFETY: every call goes to the system's allocator unchanged; the counters allocate nothing.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            grow(layout.size());
            // SAFETY: the caller's promises are passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            grow(layout.size());
            // SAFETY: the caller's promises are passed on.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            shrink(layout.size());
            // SAFETY: the caller's promises are passed on.
            unsafe { System.dealloc(pointer, layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            shrink(layout.size());
            grow(size);
            // SAFETY: the caller's promises are passed on.
            unsafe { System.realloc(pointer, layout, size) }
        }
    }

    /// The most memory that `work` held at a time, in bytes, beyond what its thread held before.
    pub(super) fn peak_of(work: impl FnOnce()) -> usize {
        NOW.set(0);
        PEAK.set(0);
        work();
        PEAK.get()
    }
}
