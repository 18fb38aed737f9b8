use super::*;
use crate::synthetic::{FORMATS, cpio, noise, pack};

const MEMORY: u64 = 64 << 20;

fn load(file: &[u8], unpack: Unpack) -> Result<Initramfs<'_>, InitramfsError> {
    Initramfs::load(file, "initrd", unpack, MEMORY)
}

fn init() -> Vec<u8> {
    cpio("init", &noise(5001))
}

#[test]
fn a_raw_archive_is_handed_on_without_a_copy() {
    let file = init();
    for unpack in [Unpack::Host, Unpack::Guest] {
        let initramfs = load(&file, unpack).unwrap();
        assert_eq!((initramfs.bytes().as_ptr(), initramfs.bytes().len()), (file.as_ptr(), file.len()));
        assert_eq!(initramfs.compression(), None);
    }
}

#[test]
fn every_compression_is_unpacked_by_the_host_and_kept_for_the_guest() {
    for format in FORMATS {
        let file = pack(format, &init());
        let unpacked = load(&file, Unpack::Host).unwrap();
        assert!(unpacked.bytes() == init(), "{format}");
        assert_eq!(unpacked.compression(), Some(format));
        let kept = load(&file, Unpack::Guest).unwrap();
        assert!(kept.bytes() == file, "{format}");
        assert_eq!(kept.compression(), Some(format));
    }
}

#[test]
fn archives_behind_each_other_become_one_file_of_raw_ones() {
    let (early, late) = (cpio("kernel/x86/microcode", b"microcode"), cpio("late", b"late"));
    for format in FORMATS {
        // Linux takes zeros between archives, and so do tools that pad to disk blocks.
        let mut file = early.clone();
        file.resize(file.len().next_multiple_of(512), 0);
        let raw_size = file.len();
        file.extend(pack(format, &init()));
        if format == Compression::Lz4Legacy {
            // Its streams have no end mark of their own.
            file.extend([0; 4]);
        }
        file.resize(file.len().next_multiple_of(4), 0);
        file.extend(&late);

        let initramfs = load(&file, Unpack::Host).unwrap();
        let bytes = initramfs.bytes();
        assert!(bytes[..raw_size] == file[..raw_size], "{format}");
        assert!(bytes[raw_size..].starts_with(&init()), "{format}");
        assert!(bytes.ends_with(&late), "{format}");
        // Each archive is where the kernel looks for one.
        let walk = load(bytes, Unpack::Host).unwrap();
        assert_eq!((walk.compression(), walk.bytes().len()), (None, bytes.len()), "{format}");
    }
}

#[test]
fn several_compressed_archives_are_unpacked() {
    let mut file = pack(Compression::Gzip, &init());
    file.extend(pack(Compression::Xz, &cpio("second", b"2")));
    file.extend(pack(Compression::Zstd, &cpio("third", b"3")));
    let initramfs = load(&file, Unpack::Host).unwrap();
    let expected = [init(), cpio("second", b"2"), cpio("third", b"3")].concat();
    assert!(initramfs.bytes() == expected);
}

#[test]
fn content_that_ends_between_boundaries_is_padded() {
    let mut content = init();
    content.push(0);
    let mut file = pack(Compression::Gzip, &content);
    file.extend(pack(Compression::Gzip, &init()));
    let initramfs = load(&file, Unpack::Host).unwrap();
    content.resize(content.len().next_multiple_of(4), 0);
    content.extend(init());
    assert!(initramfs.bytes() == content);
}

#[test]
fn a_boot_configuration_stays_at_the_end() {
    let text = b"kernel.foo = bar\n\0\0\0";
    let mut bootconfig = text.to_vec();
    bootconfig.extend((text.len() as u32).to_le_bytes());
    bootconfig.extend(0x1234_u32.to_le_bytes());
    bootconfig.extend(BOOTCONFIG);
    for (archive, padding) in
        [(init(), 0), (pack(Compression::Zstd, &init()), 0), (pack(Compression::Zstd, &init()), 3)]
    {
        let mut file = archive;
        file.extend(&bootconfig);
        file.resize(file.len() + padding, 0);
        let initramfs = load(&file, Unpack::Host).unwrap();
        assert!(initramfs.bytes().starts_with(&init()));
        assert!(initramfs.bytes().ends_with(&file[file.len() - bootconfig.len() - padding..]));
    }
}

#[test]
fn files_that_are_no_initramfs_are_told_apart() {
    assert!(matches!(load(b"", Unpack::Host), Err(InitramfsError::Empty { .. })));
    for file in [&b"#!/bin/sh\n"[..], &[0; 4096], &b"070707"[..]] {
        for unpack in [Unpack::Host, Unpack::Guest] {
            let error = load(file, unpack).unwrap_err();
            assert!(matches!(error, InitramfsError::UnknownFormat { offset: 0, .. }), "{error}");
        }
    }
    let file = pack(Compression::Gzip, b"a text");
    let error = load(&file, Unpack::Host).unwrap_err();
    assert!(matches!(&error, InitramfsError::NotCpio { magic, .. } if magic == b"a text"), "{error}");
}

#[test]
fn rubbish_behind_an_archive_is_named_with_its_offset() {
    let mut file = init();
    let size = file.len() as u64;
    file.extend(b"rubbish");
    let error = load(&file, Unpack::Host).unwrap_err();
    assert!(matches!(error, InitramfsError::UnknownFormat { offset, .. } if offset == size), "{error}");
}

#[test]
fn damaged_archives_are_named_with_their_offset() {
    let good = [cpio("one", b"1"), init()].concat();
    let second = cpio("one", b"1").len();
    for size in [second + 50, second + 111, good.len() - 200] {
        let error = load(&good[..size], Unpack::Host).unwrap_err();
        let named = matches!(error, InitramfsError::DamagedCpio { offset, .. } if offset >= second as u64);
        assert!(named, "{size}: {error}");
    }
    let mut bad = good.clone();
    bad[second + 54] = b'-';
    assert!(matches!(load(&bad, Unpack::Host), Err(InitramfsError::DamagedCpio { .. })));
}

#[test]
fn an_archive_may_end_without_a_trailer() {
    let mut file = init();
    let trailer = (110 + "TRAILER!!!\0".len()).next_multiple_of(4);
    file.truncate(file.len() - trailer);
    assert!(load(&file, Unpack::Host).is_ok());
    file.resize(file.len() + 100, 0);
    assert!(load(&file, Unpack::Host).is_ok());
}

#[test]
fn the_bound_holds_for_all_archives_together() {
    let one = pack(Compression::Gzip, &cpio("zeros", &vec![0; 40 << 20]));
    assert!(load(&one, Unpack::Host).is_ok());
    let two = [one.clone(), one].concat();
    let error = load(&two, Unpack::Host).unwrap_err();
    assert!(error.to_string().starts_with("initrd: "), "{error}");
    let raw_behind = [pack(Compression::Gzip, &init()), init()].concat();
    let limit = init().len() as u64 * 2 - 1;
    let error = Initramfs::load(&raw_behind, "initrd", Unpack::Host, limit).unwrap_err();
    assert_eq!(error, InitramfsError::TooLarge { file: "initrd".to_owned(), limit });
}

#[test]
fn a_cut_archive_does_not_unpack() {
    let packed = pack(Compression::Xz, &init());
    let error = load(&packed[..packed.len() / 2], Unpack::Host).unwrap_err();
    assert!(matches!(error, InitramfsError::Unpack { source: UnpackError::Truncated { .. }, .. }), "{error}");
}
