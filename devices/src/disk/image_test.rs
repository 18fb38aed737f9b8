use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::disk::{CreateRequest, DiskSize, FlushMode, create};

/// Small enough to be compared whole, larger than a few clusters, and not a whole number of blocks or clusters.
const BYTES: usize = (1 << 20) + 512 * 3;

/// The kinds of image that all must behave alike.
const KINDS: [&str; 5] = ["raw", "raw,overlay", "qcow2", "qcow2,overlay", "qcow2 on a backing file"];

/// An image of `content`, of one of [`KINDS`].
fn image_of(kind: &str, content: &[u8], folder: &Path) -> DiskImage {
    let path = folder.join("disk");
    let (format, name) =
        if kind.starts_with("raw") { (ImageFormat::Raw, "raw") } else { (ImageFormat::Qcow2, "qcow2") };
    if kind.ends_with("backing file") {
        std::fs::write(folder.join("below"), content).unwrap();
        backed_by(&path, "below", "raw", content.len() as u64);
        return DiskImage::open(&format!("{},format=qcow2,backing=on", path.display()).parse().unwrap())
            .unwrap();
    }
    let size = DiskSize::new(content.len() as u64).unwrap();
    create(&CreateRequest { path: path.clone(), size, format }).unwrap();
    let text = format!("{},format={name},flush=none", path.display());
    let image = DiskImage::open(&text.parse().unwrap()).unwrap();
    image.write_at(content, 0).unwrap();
    if !kind.ends_with("overlay") {
        return image;
    }
    drop(image);
    DiskImage::open(&format!("{text},overlay=tmp").parse().unwrap()).unwrap()
}

/// A qcow2 image that names a backing file; rvmm itself makes none.
fn backed_by(path: &Path, below: &str, format: &str, bytes: u64) {
    use crate::disk::file::ImageFile;
    use crate::disk::qcow2::testing::create_backed;
    create_backed(ImageFile::create(path, 0, FlushMode::None).unwrap(), below, format, bytes);
}

#[derive(Debug, Clone)]
enum Request {
    Read { offset: usize, lens: Vec<usize> },
    Write { offset: usize, lens: Vec<usize>, byte: u8 },
    Zero { offset: usize, len: usize, unmap: bool },
    Discard { offset: usize, len: usize },
    Flush,
}

/// Whole sectors, within the disk, often at the borders of blocks and clusters.
fn any_place() -> impl Strategy<Value = usize> {
    let sectors = BYTES / 512;
    prop_oneof![
        0..sectors,
        (0..sectors / 8).prop_map(|block| block * 8),
        (0..16usize).prop_map(|c| c * 128),
        Just(sectors)
    ]
    .prop_map(|sector| sector * 512)
}

fn any_range() -> impl Strategy<Value = (usize, usize)> {
    let len =
        prop_oneof![0..4usize, 0..300usize, Just(8usize), Just(128usize)].prop_map(|sectors| sectors * 512);
    (any_place(), len).prop_map(|(offset, len)| (offset, len.min(BYTES - offset)))
}

fn split(len: usize, at: usize) -> Vec<usize> {
    let first = at.min(len);
    vec![first, 0, len - first]
}

fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        2 => (any_range(), 0..5000usize).prop_map(|((offset, len), at)| Request::Read { offset, lens: split(len, at) }),
        4 => (any_range(), 0..5000usize, any::<u8>())
            .prop_map(|((offset, len), at, byte)| Request::Write { offset, lens: split(len, at), byte }),
        2 => (any_range(), any::<bool>()).prop_map(|((offset, len), unmap)| Request::Zero { offset, len, unmap }),
        1 => any_range().prop_map(|(offset, len)| Request::Discard { offset, len }),
        1 => Just(Request::Flush),
    ]
}

/// What a disk is said to hold: bytes in memory.
struct Model(Vec<u8>);

impl Model {
    /// Carries out `request` on both and compares.
    fn check(&mut self, image: &DiskImage, request: &Request) {
        match request {
            Request::Read { offset, lens } => {
                let mut parts: Vec<Vec<u8>> = lens.iter().map(|len| vec![0xee; *len]).collect();
                let slices: Vec<_> =
                    parts.iter_mut().map(|part| VolatileSlice::from(&mut part[..])).collect();
                image.read_vectored_at(&slices, *offset as u64).unwrap();
                let read = parts.concat();
                assert!(read == self.0[*offset..offset + read.len()], "read at {offset:#x}");
            }
            Request::Write { offset, lens, byte } => {
                // Different bytes, so that a swap is noticed.
                let mut parts: Vec<Vec<u8>> = Vec::new();
                for (number, len) in lens.iter().enumerate() {
                    parts.push((0..*len).map(|at| byte.wrapping_add((at / 512 + number) as u8)).collect());
                }
                let all = parts.concat();
                let slices: Vec<_> =
                    parts.iter_mut().map(|part| VolatileSlice::from(&mut part[..])).collect();
                image.write_vectored_at(&slices, *offset as u64).unwrap();
                self.0[*offset..offset + all.len()].copy_from_slice(&all);
            }
            Request::Zero { offset, len, unmap } => {
                image.write_zeroes(*offset as u64, *len as u64, *unmap).unwrap();
                self.0[*offset..offset + len].fill(0);
            }
            Request::Discard { offset, len } => {
                image.discard(*offset as u64, *len as u64).unwrap();
                let mut now = vec![0xee; *len];
                image.read_at(&mut now, *offset as u64).unwrap();
                let before = &self.0[*offset..offset + len];
                for (sector, (now, before)) in now.chunks(512).zip(before.chunks(512)).enumerate() {
                    assert!(now == before || now == [0; 512], "sector {sector} of a discard at {offset:#x}");
                }
                self.0[*offset..offset + len].copy_from_slice(&now);
            }
            Request::Flush => image.flush().unwrap(),
        }
    }

    fn check_all(&self, image: &DiskImage) {
        let mut all = vec![0xee; self.0.len()];
        image.read_at(&mut all, 0).unwrap();
        for (sector, (is, should)) in all.chunks(512).zip(self.0.chunks(512)).enumerate() {
            assert!(is == should, "sector {sector}");
        }
        // What is told to be nothing but zeros is.
        let mut offset = 0;
        while let Some(data) = image.next_data(offset).unwrap() {
            assert!(data.start >= offset && data.end > data.start && data.end <= image.bytes(), "{data:?}");
            assert!(self.0[offset as usize..data.start as usize].iter().all(|byte| *byte == 0));
            offset = data.end;
        }
        assert!(self.0[offset as usize..].iter().all(|byte| *byte == 0));
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| if at / 512 % 7 == 3 { 0 } else { (at / 512 % 251) as u8 + 1 }).collect()
}

fn behaves_like_memory(kind: &str, requests: &[Request]) {
    let folder = tempfile::tempdir().unwrap();
    let content = pattern(BYTES);
    let image = image_of(kind, &content, folder.path());
    let mut model = Model(content);
    for request in requests {
        model.check(&image, request);
    }
    model.check_all(&image);
    if kind.ends_with("overlay") {
        drop(image);
        let format = if kind.starts_with("raw") { "raw" } else { "qcow2" };
        let text = format!("{},format={format},ro", folder.path().join("disk").display());
        let image = DiskImage::open(&text.parse().unwrap()).unwrap();
        Model(pattern(BYTES)).check_all(&image);
    } else if kind.starts_with("qcow2") {
        drop(image);
        let path = folder.path().join("disk");
        let image = format!("{},format=qcow2,ro,backing=on", path.display());
        let image = DiskImage::open(&image.parse().unwrap()).unwrap();
        model.check_all(&image);
        // Readers share, also with QEMU.
        crate::disk::qcow2::testing::check_with_qemu(&path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_kind_behaves_like_memory(requests in prop::collection::vec(any_request(), 1..40)) {
        for kind in KINDS {
            behaves_like_memory(kind, &requests);
        }
    }
}

/// Threads that each own every fourth sector write it, over and over, within the same blocks and clusters.
#[test]
fn threads_do_not_undo_each_others_sectors() {
    const THREADS: usize = 4;
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let image = image_of(kind, &vec![0; BYTES], folder.path());
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let image = &image;
                scope.spawn(move || {
                    for round in 0..2u8 {
                        for sector in (thread..BYTES / 512).step_by(THREADS) {
                            let bytes = [round * 16 + thread as u8 + 1; 512];
                            image.write_at(&bytes, sector as u64 * 512).unwrap();
                            if sector % 97 == 0 {
                                image.write_zeroes(sector as u64 * 512, 512, true).unwrap();
                                image.write_at(&bytes, sector as u64 * 512).unwrap();
                            }
                            if sector % 251 == 0 {
                                image.flush().unwrap();
                            }
                        }
                    }
                });
            }
        });
        let mut all = vec![0; BYTES];
        image.read_at(&mut all, 0).unwrap();
        for (sector, bytes) in all.chunks(512).enumerate() {
            let expected = 16 + (sector % THREADS) as u8 + 1;
            assert!(bytes.iter().all(|byte| *byte == expected), "{kind}: sector {sector}: {:?}", &bytes[..4]);
        }
    }
}

#[test]
fn requests_past_the_end_are_refused_whatever_their_numbers() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let image = image_of(kind, &pattern(BYTES), folder.path());
        let end = image.bytes();
        let refused =
            |answer: io::Result<()>| assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        for (offset, len) in
            [(end, 1), (end - 511, 512), (0, end + 1), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)]
        {
            refused(image.discard(offset, len));
            refused(image.write_zeroes(offset, len, true));
            refused(image.write_zeroes(offset, len, false));
        }
        refused(image.read_at(&mut [0; 512], end - 511));
        refused(image.write_at(&[0; 512], end - 511));
        refused(image.read_at(&mut [0; 512], u64::MAX));
        image.read_at(&mut [], end).unwrap();
        image.write_zeroes(end, 0, true).unwrap();
        image.discard(end, 0).unwrap();
        assert_eq!(image.next_data(end).unwrap(), None);
        assert_eq!(image.next_data(u64::MAX).unwrap(), None);
        Model(pattern(BYTES)).check_all(&image);
    }
}

#[test]
fn a_read_only_disk_refuses_every_change() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["raw", "qcow2"] {
        let path = folder.path().join(name);
        let text = format!("{},format={name},size=1M", path.display());
        DiskImage::open(&text.parse().unwrap()).unwrap().write_at(&[5; 512], 0).unwrap();
        let image =
            DiskImage::open(&format!("{},format={name},ro", path.display()).parse().unwrap()).unwrap();

        let kinds =
            [image.write_at(&[1; 512], 0), image.write_zeroes(0, 512, true), image.discard(0, 1 << 20)]
                .map(|answer| answer.unwrap_err().kind());

        assert_eq!(kinds, [io::ErrorKind::PermissionDenied; 3]);
        image.flush().unwrap();
        let mut sector = [0; 512];
        image.read_at(&mut sector, 0).unwrap();
        assert_eq!(sector, [5; 512]);
        assert!(image.is_read_only());
    }
}

#[test]
fn what_is_read_is_told_to_those_who_watch_memory() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Weak};

    use guest_memory::{GuestMemory, WatchedWriteListener, WriteWatch};
    use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

    struct Told(AtomicUsize);
    impl WatchedWriteListener for Told {
        fn host_wrote(&self, _: &WriteWatch, page: usize) {
            self.0.fetch_add(page, Ordering::Relaxed);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let image = image_of("raw", &pattern(BYTES), folder.path());
    let memory = GuestMemory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
    let told = Arc::new(Told(AtomicUsize::new(0)));
    let weak: Weak<Told> = Arc::downgrade(&told);
    let region = memory.find_region(GuestAddress(0)).unwrap();
    region.bitmap().watch().listen(weak);
    for page in 1..4 {
        region.bitmap().watch().set_watched(page, true);
    }
    let slice = memory.get_slice(GuestAddress(0x2000), 0x1000).unwrap();

    image.write_vectored_at(std::slice::from_ref(&slice), 0).unwrap();
    assert_eq!(told.0.load(Ordering::Relaxed), 0, "a write to disk changes no memory");
    image.read_vectored_at(&[slice], 0).unwrap();

    assert_eq!(told.0.load(Ordering::Relaxed), 2);
}
