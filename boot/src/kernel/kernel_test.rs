use super::*;
use crate::memory::GpaRange;
use crate::synthetic::{BzImageSpec, ElfSpec, FORMATS, noise, pack};

const MEMORY: u64 = 256 << 20;

fn load(file: &[u8], unpack: Unpack) -> Result<KernelImage<'_>, KernelError> {
    KernelImage::load(file, "bzImage", unpack, MEMORY)
}

/// Address, bytes and size in memory of each segment.
fn placed(kernel: &KernelImage<'_>) -> Vec<(u64, Vec<u8>, u64)> {
    let segments = kernel.layout.segments.iter();
    segments.map(|s| (s.gpa, kernel.segment_bytes(s).to_vec(), s.memory_size)).collect()
}

#[test]
fn the_vmlinux_is_taken_out_of_every_compression() {
    let spec = ElfSpec::linux64();
    for format in FORMATS {
        let file = BzImageSpec::packed(format, &spec.build()).build();
        let kernel = load(&file, Unpack::Host).unwrap();
        let compression = Some(format);
        assert_eq!(kernel.format(), KernelFormat::BzImage { protocol: 0x20f, compression });
        assert_eq!(kernel.entry_point(), EntryPoint::Linux64);
        assert_eq!(kernel.layout.entry_address, spec.entry);
        assert!(placed(&kernel) == spec.segments, "{format}");
        assert_eq!(kernel.version(), Some(BzImageSpec::VERSION));
        assert_eq!(kernel.loaded_size(), 30_400);
    }
}

#[test]
fn an_uncompressed_payload_is_taken_as_it_is() {
    let spec = ElfSpec::linux64();
    let file = BzImageSpec::new(spec.build()).build();
    let kernel = load(&file, Unpack::Host).unwrap();
    assert_eq!(kernel.format(), KernelFormat::BzImage { protocol: 0x20f, compression: None });
    assert!(placed(&kernel) == spec.segments);
}

#[test]
fn a_32_bit_vmlinux_is_entered_in_protected_mode() {
    let file =
        BzImageSpec { xloadflags: 0, ..BzImageSpec::packed(Compression::Gzip, &ElfSpec::linux32().build()) }
            .build();
    let kernel = load(&file, Unpack::Host).unwrap();
    assert_eq!((kernel.entry_point(), kernel.layout.entry_address), (EntryPoint::Linux32, 0x100_0040));
}

#[test]
fn zeros_at_a_segment_s_end_are_left_to_memory() {
    let mut data = noise(5000);
    data.resize(1 << 20, 0);
    let segments = vec![(0x100_0000, data, 2 << 20), (0x200_0000, vec![0; 10_000], 10_000)];
    let file = ElfSpec { segments, ..ElfSpec::linux64() }.build();
    let kernel = load(&file, Unpack::Host).unwrap();
    let placed = placed(&kernel);
    assert!((5000..5000 + 4096).contains(&placed[0].1.len()), "{}", placed[0].1.len());
    assert_eq!(placed[0].1[..5000], noise(5000));
    assert_eq!((placed[0].2, placed[1].1.len(), placed[1].2), (2 << 20, 0, 10_000));
}

#[test]
fn the_guest_s_way_places_the_protected_mode_kernel() {
    let mut file = BzImageSpec::packed(Compression::Gzip, &ElfSpec::linux64().build()).build();
    let expected = file[BzImageSpec::KERNEL..].to_vec();
    file.extend(b"a signature");
    let kernel = load(&file, Unpack::Guest).unwrap();
    assert_eq!((kernel.entry_point(), kernel.layout.entry_address), (EntryPoint::Linux64, 0x100_0200));
    let size = expected.len() as u64;
    assert!(placed(&kernel) == vec![(0x100_0000, expected, size)]);
    assert_eq!(kernel.layout.footprint, GpaRange::new(0x100_0000, 0x20_0000));
}

#[test]
fn old_and_32_bit_kernels_are_entered_at_their_start() {
    let new = BzImageSpec { xloadflags: 0, ..BzImageSpec::new(vec![1; 999]) };
    for (spec, address) in [
        (new.clone(), 0x100_0000),
        // `xloadflags` came with 2.12, `pref_address` with 2.10.
        (BzImageSpec { protocol: 0x20b, xloadflags: 3, ..new.clone() }, 0x100_0000),
        (BzImageSpec { protocol: 0x209, xloadflags: 3, ..new.clone() }, 0x10_0000),
        (BzImageSpec { relocatable: false, ..new.clone() }, 0x10_0000),
    ] {
        let file = spec.build();
        let kernel = load(&file, Unpack::Guest).unwrap();
        assert_eq!((kernel.entry_point(), kernel.layout.entry_address), (EntryPoint::Linux32, address));
    }
}

#[test]
fn a_kernel_that_cannot_move_needs_its_room_where_it_runs() {
    let file = BzImageSpec { relocatable: false, ..BzImageSpec::new(vec![1; 999]) }.build();
    let kernel = load(&file, Unpack::Guest).unwrap();
    assert_eq!(kernel.layout.footprint, GpaRange::between(0x10_0000, 0x120_0000));
}

#[test]
fn kernels_that_do_not_tell_where_their_payload_is_unpack_themselves() {
    let file = BzImageSpec { protocol: 0x207, ..BzImageSpec::new(vec![1; 999]) }.build();
    let kernel = load(&file, Unpack::Host).unwrap();
    assert_eq!((kernel.entry_point(), kernel.layout.entry_address), (EntryPoint::Linux32, 0x10_0000));
}

#[test]
fn elf_files_are_entered_by_note_or_by_class() {
    for (spec, entry, address) in [
        (ElfSpec::linux64(), EntryPoint::Linux64, 0x100_0040),
        (ElfSpec::linux32(), EntryPoint::Linux32, 0x100_0040),
        (ElfSpec { pvh_entry: Some(0x100_0080), ..ElfSpec::linux64() }, EntryPoint::Pvh, 0x100_0080),
    ] {
        let file = spec.build();
        for unpack in [Unpack::Host, Unpack::Guest] {
            let kernel = load(&file, unpack).unwrap();
            assert_eq!(kernel.format(), KernelFormat::Elf);
            assert_eq!((kernel.entry_point(), kernel.layout.entry_address), (entry, address));
            assert!(placed(&kernel) == spec.segments);
        }
    }
}

#[test]
fn a_packed_elf_file_is_unpacked() {
    for format in FORMATS {
        let file = pack(format, &ElfSpec::linux64().build());
        assert_eq!(load(&file, Unpack::Guest).unwrap().format(), KernelFormat::Elf, "{format}");
    }
}

#[test]
fn files_that_are_no_kernel_are_told_apart() {
    let mut arm64 = vec![0; 4096];
    arm64[56..60].copy_from_slice(b"ARM\x64");
    let mut efi = vec![0; 4096];
    efi[..2].copy_from_slice(b"MZ");
    efi[60..64].copy_from_slice(&0x80_u32.to_le_bytes());
    efi[0x80..0x86].copy_from_slice(b"PE\0\0\x64\xaa");
    let is_arm64 = |file: &[u8]| matches!(load(file, Unpack::Host), Err(KernelError::Arm64Image { .. }));
    assert!(is_arm64(&arm64));
    assert!(is_arm64(&efi));
    assert!(is_arm64(&pack(Compression::Gzip, &arm64)));
    assert!(is_arm64(&ElfSpec { machine: 183, ..ElfSpec::linux64() }.build()));

    assert!(matches!(load(b"", Unpack::Host), Err(KernelError::Empty { .. })));
    for file in [&b"#!/bin/sh\n"[..], &[0; 4096], &b"MZ"[..], &noise(10_000)] {
        assert!(matches!(load(file, Unpack::Host), Err(KernelError::NotAKernel { .. })));
    }
}

#[test]
fn old_and_low_kernels_are_refused() {
    let error = |spec: BzImageSpec| load(&spec.build(), Unpack::Guest).unwrap_err().to_string();
    let new = BzImageSpec::new(vec![1; 999]);
    let old = error(BzImageSpec { protocol: 0x205, ..new.clone() });
    assert!(old.starts_with("bzImage: boot protocol 2.05 is too old"), "{old}");
    assert!(error(BzImageSpec { loadflags: 0, ..new }).contains("zImage"));
}

#[test]
fn cut_files_are_truncated() {
    let file = BzImageSpec::packed(Compression::Xz, &ElfSpec::linux64().build()).build();
    for size in [0x250, BzImageSpec::KERNEL, BzImageSpec::KERNEL + 1, file.len() - 100] {
        for unpack in [Unpack::Host, Unpack::Guest] {
            let result = load(&file[..size], unpack);
            assert!(matches!(result, Err(KernelError::Truncated { .. })), "{size:#x}: {result:?}");
        }
    }
}

#[test]
fn a_payload_that_is_not_known_is_shown() {
    let file = BzImageSpec::new(b"secret payload of a kernel".to_vec()).build();
    let error = load(&file, Unpack::Host).unwrap_err();
    assert_eq!(error, KernelError::UnknownCompression { file: "bzImage".to_owned(), magic: *b"secret" });
    assert!(error.to_string().contains("--unpack guest"));
    assert!(load(&file, Unpack::Guest).is_ok());
}

#[test]
fn a_payload_shorter_than_its_size_word_is_cut() {
    let mut spec = BzImageSpec::packed(Compression::Bzip2, &ElfSpec::linux64().build());
    let size = spec.payload.len();
    spec.payload[size - 4..].copy_from_slice(&1_000_000_u32.to_le_bytes());
    let error = load(&spec.build(), Unpack::Host).unwrap_err();
    assert!(matches!(error, KernelError::Unpack { source: UnpackError::Truncated { .. }, .. }), "{error}");
}

#[test]
fn a_payload_larger_than_memory_is_refused() {
    let file = BzImageSpec::packed(Compression::Gzip, &ElfSpec::linux64().build()).build();
    let error = KernelImage::load(&file, "bzImage", Unpack::Host, 1000).unwrap_err();
    assert!(matches!(error, KernelError::Unpack { source: UnpackError::TooLarge { limit: 1000, .. }, .. }));
}

#[test]
fn an_entry_outside_the_kernel_is_damage() {
    for entry in [0x10, 0x102_0000, 0xffff_ffff_8100_0000] {
        let file = ElfSpec { entry, ..ElfSpec::linux64() }.build();
        assert!(matches!(load(&file, Unpack::Host), Err(KernelError::Damaged { .. })), "{entry:#x}");
    }
}

#[test]
fn a_load_address_in_low_memory_is_damage() {
    let spec = BzImageSpec::new(vec![1; 999]);
    for pref_address in [0, 0xf_ffff, 1 << 32, u64::MAX] {
        let file = BzImageSpec { pref_address, ..spec.clone() }.build();
        assert!(matches!(load(&file, Unpack::Guest), Err(KernelError::Damaged { .. })), "{pref_address:#x}");
    }
}

#[test]
fn a_payload_that_is_no_vmlinux_is_damage() {
    let file = BzImageSpec::packed(Compression::Gzip, b"something else entirely").build();
    let error = load(&file, Unpack::Host).unwrap_err();
    assert!(matches!(error, KernelError::Damaged { .. }), "{error}");
    assert!(error.to_string().ends_with("its payload is no vmlinux; try --unpack guest"), "{error}");
}
