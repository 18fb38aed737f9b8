use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use proptest::prelude::*;

use super::create_with;
use super::testing::{check_with_qemu, create_backed, must_qemu_img, numbers};
use crate::disk::file::ImageFile;
use crate::disk::{DiskImage, FlushMode};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str, text: &str) -> Result<DiskImage, String> {
        let config = format!("{},format=qcow2{text}", self.path(name).display());
        DiskImage::open(&config.parse().unwrap()).map_err(|error| error.to_string())
    }

    fn backed(&self, name: &str, below: &str, format: &str) {
        create_backed(
            ImageFile::create(&self.path(name), 0, FlushMode::None).unwrap(),
            below,
            format,
            1 << 20,
        );
    }
}

fn byte_at(image: &DiskImage, offset: u64) -> u8 {
    let mut byte = [0xee];
    image.read_at(&mut byte, offset).unwrap();
    byte[0]
}

#[test]
fn a_missing_or_empty_image_is_made_if_a_size_is_stated() {
    let folder = Folder::new();
    assert!(folder.open("a", "").unwrap_err().contains("does not exist"));
    let image = folder.open("a", ",size=20G").unwrap();
    assert_eq!(image.bytes(), 20 << 30);
    drop(image);
    assert!(std::fs::metadata(folder.path("a")).unwrap().blocks() * 512 < 1 << 20);
    check_with_qemu(&folder.path("a"));
    assert!(folder.open("a", ",size=10G").unwrap_err().contains("has 21474836480 bytes, not 10G"));
    std::fs::write(folder.path("b"), b"").unwrap();
    assert!(folder.open("b", "").unwrap_err().contains("is empty"));
    assert_eq!(folder.open("b", ",size=1M").unwrap().bytes(), 1 << 20);
}

#[test]
fn what_is_discarded_gives_its_space_back_to_the_host() {
    let folder = Folder::new();
    let path = folder.path("a");
    let image = folder.open("a", ",size=16M").unwrap();
    image.write_at(&vec![3; 8 << 20], 0).unwrap();
    image.flush().unwrap();
    let blocks = || std::fs::metadata(&path).unwrap().blocks() * 512;
    assert!(blocks() >= 8 << 20);

    image.discard(512, (4 << 20) - 512).unwrap();
    image.write_zeroes(4 << 20, 2 << 20, true).unwrap();
    image.flush().unwrap();

    assert!(blocks() <= (2 << 20) + (512 << 10), "{}", blocks());
    assert_eq!([0, 512, 65536, 5 << 20, 6 << 20].map(|at| byte_at(&image, at)), [3, 3, 0, 0, 3]);
    // What was freed is used again.
    let len = std::fs::metadata(&path).unwrap().len();
    image.write_at(&vec![4; 4 << 20], 8 << 20).unwrap();
    image.flush().unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() <= len + (128 << 10));
    drop(image);
    check_with_qemu(&path);
}

#[test]
fn a_backing_file_is_opened_only_when_asked_for() {
    let folder = Folder::new();
    std::fs::write(folder.path("below"), vec![5; 1 << 20]).unwrap();
    folder.backed("top", "below", "raw");

    let error = folder.open("top", "").unwrap_err();
    assert!(error.contains("has the backing file \"below\": add backing=on"), "{error}");
    let image = folder.open("top", ",backing=on").unwrap();
    assert_eq!(byte_at(&image, 70_000), 5);
    image.write_at(&[6; 512], 65536).unwrap();
    image.write_zeroes(0, 65536, true).unwrap();
    assert_eq!([0, 65536, 66048, 131_072].map(|at| byte_at(&image, at)), [0, 6, 5, 5]);
    drop(image);

    assert_eq!(std::fs::read(folder.path("below")).unwrap(), vec![5; 1 << 20]);
    check_with_qemu(&folder.path("top"));
}

#[test]
fn a_backing_file_that_somebody_writes_is_in_use() {
    let folder = Folder::new();
    let below = format!("{},size=1M", folder.path("below").display());
    let writer = DiskImage::open(&below.parse().unwrap()).unwrap();
    folder.backed("top", "below", "raw");

    assert!(folder.open("top", ",backing=on").unwrap_err().contains("below is in use by"));
    drop(writer);
    let _image = folder.open("top", ",backing=on").unwrap();
    assert!(DiskImage::open(&below.parse().unwrap()).is_err());
}

#[test]
fn chains_are_bounded_and_their_formats_stated() {
    let folder = Folder::new();
    folder.backed("circle", "circle", "qcow2");
    let error = folder.open("circle", ",backing=on,ro").unwrap_err();
    assert!(error.contains("longer than 8, or a circle"), "{error}");

    folder.backed("a", "b", "vmdk");
    std::fs::write(folder.path("b"), [0; 4096]).unwrap();
    let error = folder.open("a", ",backing=on").unwrap_err();
    assert!(error.contains("has the format \"vmdk\""), "{error}");

    folder.backed("c", "nowhere", "raw");
    let error = folder.open("c", ",backing=on").unwrap_err();
    assert!(error.contains("nowhere does not exist"), "{error}");

    std::fs::write(folder.path("bottom"), vec![8; 1 << 20]).unwrap();
    folder.backed("1", "bottom", "raw");
    for link in 2..=8 {
        folder.backed(&link.to_string(), &(link - 1).to_string(), "qcow2");
    }
    assert_eq!(byte_at(&folder.open("8", ",backing=on").unwrap(), 1000), 8);
    folder.backed("9", "8", "qcow2");
    assert!(folder.open("9", ",backing=on").unwrap_err().contains("longer than 8"));
}

#[test]
fn data_beyond_a_cut_is_an_error_and_not_zeros() {
    let folder = Folder::new();
    let path = folder.path("a");
    let image = folder.open("a", ",size=1M").unwrap();
    image.write_at(&vec![1; 1 << 20], 0).unwrap();
    drop(image);
    let len = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len - (128 << 10)).unwrap();

    let image = folder.open("a", ",ro").unwrap();

    assert_eq!(byte_at(&image, 0), 1);
    let mut last = [0; 512];
    let error = image.read_at(&mut last, (1 << 20) - 512).unwrap_err();
    assert!(error.to_string().contains("the file is cut off"), "{error}");
}

/// Images of QEMU's own making: version 2, other cluster sizes, compressed, with a snapshot.
#[test]
fn images_made_by_qemu_are_read_and_written() {
    let folder = Folder::new();
    let content: Vec<u8> = (0..3 << 20).map(|at: usize| (at / 1000 % 256) as u8).collect();
    std::fs::write(folder.path("content"), &content).unwrap();
    for (name, arguments) in [
        ("v2", &["-o", "compat=0.10"][..]),
        ("v3", &[]),
        ("small", &["-o", "cluster_size=4096"]),
        ("large", &["-o", "cluster_size=2M"]),
        ("compressed", &["-c"]),
        ("refcounts", &["-o", "refcount_bits=1"]),
        ("snapshot", &[]),
    ] {
        let mut all = vec!["convert", "-f", "raw", "-O", "qcow2"];
        all.extend(arguments);
        let path = folder.path(name);
        if !must_qemu_img(&all, &[&folder.path("content"), &path]) {
            return;
        }
        if name == "snapshot" {
            must_qemu_img(&["snapshot", "-c", "before"], &[&path]);
        }
        let mut expected = content.clone();
        let image = folder.open(name, "").unwrap();
        let mut all = vec![0; content.len()];
        image.read_at(&mut all, 0).unwrap();
        assert!(all == content, "{name}");
        for (at, len) in [(1000, 5000), (65536, 65536), ((2 << 20) - 10, 600_000)] {
            image.write_at(&vec![0xaa; len], at as u64).unwrap();
            expected[at..at + len].fill(0xaa);
        }
        image.discard(128 << 10, 128 << 10).unwrap();
        image.write_zeroes(100_000, 100_000, true).unwrap();
        expected[100_000..200_000].fill(0);
        image.write_zeroes(300_000, 100_000, false).unwrap();
        expected[300_000..400_000].fill(0);
        image.flush().unwrap();
        image.read_at(&mut all, 0).unwrap();
        for (is, should) in all.iter().zip(&mut expected).skip(128 << 10).take(128 << 10) {
            assert!(*is == 0 || is == should, "{name}");
            *should = *is;
        }
        assert!(all == expected, "{name}");
        drop(image);
        check_with_qemu(&path);
        let raw = folder.path("read back");
        must_qemu_img(&["convert", "-f", "qcow2", "-O", "raw"], &[&path, &raw]);
        assert!(std::fs::read(&raw).unwrap() == expected, "{name}: as QEMU reads it");
        if name == "snapshot" {
            must_qemu_img(&["snapshot", "-a", "before"], &[&path]);
            must_qemu_img(&["convert", "-f", "qcow2", "-O", "raw"], &[&path, &raw]);
            assert!(std::fs::read(&raw).unwrap() == content, "the snapshot is as it was");
        }
    }
}

#[test]
fn qemu_sees_our_lock() {
    let folder = Folder::new();
    let image = folder.open("a", ",size=1M").unwrap();
    if cfg!(unix) && !must_qemu_img(&["--version"], &[]) {
        return;
    }
    let checked = super::testing::qemu_img(&["check", "-f", "qcow2"], &[&folder.path("a")]).unwrap();
    let message = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && message.contains("lock"), "{message}");
    drop(image);
    check_with_qemu(&folder.path("a"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is wrong with the tables, requests are answered: no panic comes through, nothing hangs.
    #[test]
    fn damaged_tables_are_errors(damage in prop::collection::vec((0..0x70000usize, any::<u8>()), 1..6), bits in prop::collection::vec((0x10000..0x60000usize, 0..64u32), 0..4)) {
        let folder = Folder::new();
        let image = folder.open("a", ",size=1M").unwrap();
        image.write_at(&vec![1; 300 << 10], 64 << 10).unwrap();
        drop(image);
        let mut bytes = std::fs::read(folder.path("a")).unwrap();
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        for (at, bit) in bits {
            if let Some(place) = bytes.get_mut(at / 8 * 8 + bit as usize / 8) {
                *place ^= 1 << (bit % 8);
            }
        }
        std::fs::write(folder.path("a"), &bytes).unwrap();
        if let Ok(image) = folder.open("a", "") {
            let mut all = vec![0; image.bytes().min(2 << 20) as usize];
            let _ = image.read_at(&mut all, 0);
            let _ = image.write_at(&vec![2; 200 << 10], 0);
            let _ = image.discard(0, 512 << 10);
            let _ = image.write_zeroes(1000 * 512, 100 * 512, false);
            let _ = image.write_at(&vec![2; 100 << 10], 600 << 10);
            let _ = image.flush();
            let _ = image.next_data(0);
        }
    }
}

/// Each thread has a part of the disk; tables, counts and freed clusters are everybody's.
#[test]
fn many_threads_do_not_lose_each_others_data() {
    const PART: u64 = 1 << 20;
    let folder = Folder::new();
    for cluster in [512, 4096] {
        let path = folder.path(&format!("{cluster}"));
        drop(create_with(&path, "4M".parse().unwrap(), FlushMode::Os, Some(cluster)).unwrap());
        let image = folder.open(&format!("{cluster}"), ",flush=os").unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let image = &image;
                scope.spawn(move || {
                    let mut model = vec![0; PART as usize];
                    let mut next = numbers(0x9e37_79b9_7f4a_7c15 + thread);
                    for step in 0..400_u32 {
                        let random = next();
                        let at = random % (PART / 512) * 512;
                        let len = ((random >> 32) % 64 * 512).min(PART - at);
                        let (offset, part) = (thread * PART + at, at as usize..(at + len) as usize);
                        match random >> 60 {
                            0 => image.flush().unwrap(),
                            1..3 => {
                                image.write_zeroes(offset, len, true).unwrap();
                                model[part].fill(0);
                            }
                            3 => {
                                image.write_zeroes(offset, len, false).unwrap();
                                model[part].fill(0);
                            }
                            _ => {
                                model[part.clone()].fill(step as u8);
                                image.write_at(&model[part], offset).unwrap();
                            }
                        }
                    }
                    let mut now = vec![1; PART as usize];
                    image.read_at(&mut now, thread * PART).unwrap();
                    assert!(now == model, "thread {thread}");
                });
            }
        });
        drop(image);
        check_with_qemu(&path);
    }
}
