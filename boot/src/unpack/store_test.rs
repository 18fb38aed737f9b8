use std::collections::HashMap;
use std::sync::Mutex;

use super::*;
use crate::synthetic::{BzImageSpec, ElfSpec, cpio, noise, pack};
use crate::{Initramfs, KernelImage, LoadOptions, Unpack};

/// A store in memory that counts its hits.
#[derive(Default)]
struct Shelf {
    kept: Mutex<HashMap<String, Vec<u8>>>,
    hits: Mutex<usize>,
}

impl UnpackedStore for Shelf {
    fn get(&self, key: &str) -> Option<KeptData> {
        let data = self.kept.lock().unwrap().get(key)?.clone();
        *self.hits.lock().unwrap() += 1;
        Some(Arc::new(data))
    }

    fn put(&self, key: &str, parts: [&[u8]; 2]) {
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)), "{key}");
        self.kept.lock().unwrap().insert(key.to_owned(), parts.concat());
    }
}

impl Shelf {
    fn options(&self) -> LoadOptions<'_> {
        LoadOptions { unpack: Unpack::Host, max_unpacked: 64 << 20, store: Some(self) }
    }

    /// Entries and hits.
    fn counts(&self) -> (usize, usize) {
        (self.kept.lock().unwrap().len(), *self.hits.lock().unwrap())
    }
}

fn vmlinux() -> Vec<u8> {
    let segments = vec![(0x100_0000, noise(400_000), 400_000)];
    ElfSpec { segments, ..ElfSpec::linux64() }.build()
}

fn initrd(format: Compression) -> Vec<u8> {
    [cpio("early", b"1"), pack(format, &cpio("init", &noise(400_000)))].concat()
}

#[test]
fn the_second_load_is_from_the_store_and_the_same() {
    let shelf = Shelf::default();
    let kernel = BzImageSpec::packed(Compression::Xz, &vmlinux()).build();
    let initrd = initrd(Compression::Gzip);
    let load = || {
        let kernel = KernelImage::load_with(&kernel, "kernel", &shelf.options()).unwrap();
        let initramfs = Initramfs::load_with(&initrd, "initrd", &shelf.options()).unwrap();
        let segment = kernel.segment_bytes(&kernel.layout.segments[0]).to_vec();
        (kernel.format(), segment, initramfs.compression(), initramfs.bytes().to_vec())
    };
    let first = load();
    assert_eq!(shelf.counts(), (2, 0));
    assert!(load() == first);
    assert_eq!(shelf.counts(), (2, 2));
}

#[test]
fn data_with_a_broken_seal_is_unpacked_anew_and_kept_anew() {
    let kernel = BzImageSpec::packed(Compression::Bzip2, &vmlinux()).build();
    let good = Shelf::default();
    KernelImage::load_with(&kernel, "kernel", &good.options()).unwrap();
    let (key, sealed) = good.kept.lock().unwrap().iter().next().map(|(k, v)| (k.clone(), v.clone())).unwrap();
    let size = sealed.len();
    let mut flipped = sealed.clone();
    flipped[size / 2] ^= 1;
    let with_no_mark = [&sealed[..size - 1], b"?"].concat();
    for bad in
        [vec![], vec![0; size], flipped, sealed[..size - 1].to_vec(), sealed[1..].to_vec(), with_no_mark]
    {
        let shelf = Shelf::default();
        shelf.kept.lock().unwrap().insert(key.clone(), bad);
        let image = KernelImage::load_with(&kernel, "kernel", &shelf.options()).unwrap();
        assert!(image.segment_bytes(&image.layout.segments[0]) == noise(400_000));
        assert!(shelf.kept.lock().unwrap()[&key] == sealed);
    }
}

#[test]
fn the_bound_holds_for_kept_data_too() {
    let shelf = Shelf::default();
    let initrd = initrd(Compression::Zstd);
    Initramfs::load_with(&initrd, "initrd", &shelf.options()).unwrap();
    let small = LoadOptions { max_unpacked: 300_000, ..shelf.options() };
    assert!(Initramfs::load_with(&initrd, "initrd", &small).is_err());
}

#[test]
fn only_what_is_slow_to_unpack_is_kept() {
    let shelf = Shelf::default();
    let lz4 = BzImageSpec::packed(Compression::Lz4Legacy, &vmlinux()).build();
    KernelImage::load_with(&lz4, "kernel", &shelf.options()).unwrap();
    let small = BzImageSpec::packed(Compression::Xz, &ElfSpec::linux64().build()).build();
    KernelImage::load_with(&small, "kernel", &shelf.options()).unwrap();
    let guest = LoadOptions { unpack: Unpack::Guest, ..shelf.options() };
    Initramfs::load_with(initrd(Compression::Xz), "initrd", &guest).unwrap();
    assert_eq!(shelf.counts(), (0, 0));
}

#[test]
fn kernels_and_initramfs_have_keys_of_their_own() {
    let data = noise(300_000);
    let name = |kind, data: &[u8]| key(kind, Compression::Xz, data).unwrap();
    assert_ne!(name("kernel", &data), name("initramfs", &data));
    assert_ne!(name("kernel", &data), name("kernel", &data[1..]));
    assert_eq!(name("kernel", &data), name("kernel", &data));
}
