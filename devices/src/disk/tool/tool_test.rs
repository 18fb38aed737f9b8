use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::disk::qcow2::testing::{check_with_qemu, must_qemu_img, qemu_img};
use crate::disk::{DiskError, DiskImage, DiskSize, ImageFormat};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn size(text: &str) -> DiskSize {
    text.parse().unwrap()
}

fn made(path: &Path, bytes: &str, format: ImageFormat) -> DiskImage {
    create(&CreateRequest { path: path.to_owned(), size: size(bytes), format }).unwrap();
    open(path, Some(format), false, false).unwrap()
}

fn allocated(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

/// Remembers that it was told the truth.
#[derive(Default)]
struct Told(Vec<(u64, u64)>);

impl Progress for Told {
    fn advanced(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        assert!(done <= total && self.0.last().is_none_or(|(before, _)| *before <= done));
        self.0.push((done, total));
        ControlFlow::Continue(())
    }
}

/// Has had enough after so many pieces.
struct Impatient(usize);

impl Progress for Impatient {
    fn advanced(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        self.0 -= 1;
        if self.0 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn what_is_stopped_leaves_nothing_behind() {
    for to in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let folder = Folder::new();
        let (source, target) = (folder.path("source"), folder.path("target"));
        std::fs::write(&source, vec![1; 8 << 20]).unwrap();
        std::fs::write(&target, vec![2; 4096]).unwrap();
        let request = ConvertRequest { replace: true, ..converting(&source, ImageFormat::Raw, &target, to) };
        let error = convert(&request, &mut Impatient(2)).unwrap_err();
        assert!(error.to_string().contains("target") && !error.to_string().contains('\n'), "{error}");
        assert!(std::fs::read(&target).unwrap() == [2; 4096], "what was there is still there");
        assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 2, "and nothing else");
    }
}

fn converting(source: &Path, from: ImageFormat, target: &Path, to: ImageFormat) -> ConvertRequest {
    ConvertRequest {
        source: source.to_owned(),
        source_format: Some(from),
        backing: false,
        target: target.to_owned(),
        target_format: to,
        replace: false,
    }
}

#[test]
fn nothing_that_exists_is_made_again() {
    let folder = Folder::new();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path(&format!("{format:?}"));
        let request = CreateRequest { path: path.clone(), size: size("1M"), format };
        create(&request).unwrap();
        let before = std::fs::read(&path).unwrap();

        assert!(matches!(create(&request), Err(DiskError::Exists { .. })));
        assert!(std::fs::read(&path).unwrap() == before);
        assert!(allocated(&path) < 1 << 20);
    }
    check_with_qemu(&folder.path("Qcow2"));
}

#[test]
fn a_size_beyond_the_file_system_leaves_nothing_behind() {
    let folder = Folder::new();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let request = CreateRequest { path: folder.path("a"), size: size("8000000T"), format };
        create(&request).unwrap_err();
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}

#[test]
fn info_tells_what_is_there_also_of_an_image_in_use() {
    let folder = Folder::new();
    let (raw, qcow2) = (folder.path("raw"), folder.path("qcow2"));
    let writer = made(&raw, "1G", ImageFormat::Raw);
    drop(made(&qcow2, "2G", ImageFormat::Qcow2));

    let of_raw = info(&raw, None).unwrap();
    let of_qcow2 = info(&qcow2, None).unwrap();

    assert_eq!((of_raw.format, of_raw.disk_bytes, of_raw.in_use), (ImageFormat::Raw, 1 << 30, true));
    assert_eq!((of_qcow2.format, of_qcow2.disk_bytes, of_qcow2.in_use), (ImageFormat::Qcow2, 2 << 30, false));
    let inner = of_qcow2.qcow2.unwrap();
    assert_eq!((inner.version, inner.cluster_bytes, inner.snapshots), (3, 65536, 0));
    assert!(of_raw.allocated_bytes < 1 << 20 && of_raw.file_bytes == 1 << 30);
    // Looking takes no lock away, and leaves none behind.
    assert!(open(&raw, None, false, false).is_err());
    drop(writer);
    assert!(!info(&raw, None).unwrap().in_use);
    open(&raw, None, false, false).unwrap();
    assert_eq!(info(&qcow2, Some(ImageFormat::Raw)).unwrap().format, ImageFormat::Raw);
    assert!(matches!(info(&folder.path("no"), None), Err(DiskError::Missing { .. })));
}

#[test]
fn growing_keeps_the_data_and_shrinking_needs_leave() {
    let folder = Folder::new();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path(&format!("{format:?}"));
        let image = made(&path, "3M", format);
        image.write_at(&[7; 4096], (3 << 20) - 4096).unwrap();
        image.write_at(&[8; 4096], 0).unwrap();
        let request =
            |to, shrink| ResizeRequest { path: path.clone(), format: Some(format), size: to, shrink };
        assert!(matches!(resize(&request(Resizing::To(size("4M")), false)), Err(DiskError::Locked { .. })));
        drop(image);

        let report = resize(&request(Resizing::By(size("1021M")), false)).unwrap();
        assert_eq!((report.from_bytes, report.to_bytes), (3 << 20, 1 << 30));
        let image = open(&path, Some(format), false, false).unwrap();
        let mut bytes = [1; 8192];
        image.read_at(&mut bytes, (3 << 20) - 4096).unwrap();
        assert!(bytes[..4096] == [7; 4096] && bytes[4096..] == [0; 4096]);
        drop(image);

        let error = resize(&request(Resizing::To(size("2M")), false)).unwrap_err().to_string();
        assert!(error.contains("from 1073741824 to 2097152 bytes") && error.contains("--shrink"), "{error}");
        resize(&request(Resizing::To(size("2M")), true)).unwrap();
        resize(&request(Resizing::To(size("3M")), false)).unwrap();
        let image = open(&path, Some(format), true, false).unwrap();
        assert_eq!(image.bytes(), 3 << 20);
        image.read_at(&mut bytes, (3 << 20) - 8192).unwrap();
        assert!(bytes == [0; 8192], "what was cut off does not come back");
        image.read_at(&mut bytes[..4096], 0).unwrap();
        assert!(bytes[..4096] == [8; 4096]);
        if format == ImageFormat::Qcow2 {
            drop(image);
            check_with_qemu(&path);
        }
    }
    let raw = ResizeRequest {
        path: folder.path("Qcow2"),
        format: None,
        size: Resizing::To(size("1G")),
        shrink: false,
    };
    assert!(matches!(resize(&raw), Err(DiskError::LooksLikeQcow2 { .. })));
}

#[test]
fn compacting_gives_zeros_back_and_keeps_the_rest() {
    let folder = Folder::new();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path(&format!("{format:?}"));
        let image = made(&path, "16M", format);
        let mut content = vec![0; 16 << 20];
        content[4 << 20..5 << 20].fill(1);
        content[(9 << 20) + 100] = 2;
        image.write_at(&content, 0).unwrap();
        image.flush().unwrap();
        assert!(matches!(compact(&path, Some(format), &mut ()), Err(DiskError::Locked { .. })));
        drop(image);
        let mut told = Told::default();

        let report = compact(&path, Some(format), &mut told).unwrap();

        assert!(report.from_bytes >= 16 << 20, "{report:?}");
        assert!(report.to_bytes <= (1 << 20) + (512 << 10), "{report:?}");
        assert_eq!(report.to_bytes, allocated(&path));
        assert_eq!(told.0.last(), Some(&(16 << 20, 16 << 20)));
        let image = open(&path, Some(format), true, false).unwrap();
        let mut now = vec![9; 16 << 20];
        image.read_at(&mut now, 0).unwrap();
        assert!(now == content);
    }
    check_with_qemu(&folder.path("Qcow2"));
    assert_eq!(folder.names(), ["Qcow2", "Raw"], "nothing is left behind");
}

#[test]
fn what_would_be_lost_is_not_compacted() {
    let folder = Folder::new();
    let path = folder.path("a");
    drop(made(&path, "1M", ImageFormat::Qcow2));
    if must_qemu_img(&["snapshot", "-c", "one"], &[&path]) {
        let error = compact(&path, Some(ImageFormat::Qcow2), &mut ()).unwrap_err().to_string();
        assert!(error.contains("internal snapshots"), "{error}");
        assert_eq!(info(&path, None).unwrap().qcow2.unwrap().snapshots, 1);
    }
    assert!(matches!(compact(&path, None, &mut ()), Err(DiskError::LooksLikeQcow2 { .. })));
}

#[test]
fn converting_is_exact_both_ways_and_sparse() {
    let folder = Folder::new();
    let (raw, qcow2, back) = (folder.path("raw"), folder.path("qcow2"), folder.path("back"));
    let image = made(&raw, "1G", ImageFormat::Raw);
    image.write_at(&[1; 100_000], 12_345 * 512).unwrap();
    image.write_at(&[2; 512], (1 << 30) - 512).unwrap();
    drop(image);

    convert(&converting(&raw, ImageFormat::Raw, &qcow2, ImageFormat::Qcow2), &mut Told::default()).unwrap();
    convert(&converting(&qcow2, ImageFormat::Qcow2, &back, ImageFormat::Raw), &mut ()).unwrap();

    assert!(allocated(&qcow2) < 1 << 20 && allocated(&back) < 1 << 20);
    assert_eq!(std::fs::metadata(&back).unwrap().len(), 1 << 30);
    check_with_qemu(&qcow2);
    must_qemu_img(&["compare", "-q", "-f", "raw", "-F", "qcow2"], &[&raw, &qcow2]);
    must_qemu_img(&["compare", "-q", "-f", "raw", "-F", "raw"], &[&raw, &back]);
    let mut bytes = vec![0; 100_000];
    open(&back, None, true, false).unwrap().read_at(&mut bytes, 12_345 * 512).unwrap();
    assert!(bytes == vec![1; 100_000]);
    assert_eq!(folder.names(), ["back", "qcow2", "raw"]);
}

#[test]
fn a_target_that_exists_is_replaced_only_with_leave_and_only_if_nobody_uses_it() {
    let folder = Folder::new();
    let (source, target) = (folder.path("source"), folder.path("target"));
    made(&source, "1M", ImageFormat::Raw).write_at(&[1; 512], 0).unwrap();
    let user = made(&target, "2M", ImageFormat::Raw);
    let mut request = converting(&source, ImageFormat::Raw, &target, ImageFormat::Raw);

    assert!(matches!(convert(&request, &mut ()), Err(DiskError::Exists { .. })));
    request.replace = true;
    assert!(matches!(convert(&request, &mut ()), Err(DiskError::Locked { .. })));
    drop(user);
    convert(&request, &mut ()).unwrap();

    assert_eq!(info(&target, None).unwrap().disk_bytes, 1 << 20);
    request.target = source.clone();
    assert!(matches!(convert(&request, &mut ()), Err(DiskError::Locked { .. })), "onto itself");
    request.source = folder.path("nothing");
    assert!(matches!(convert(&request, &mut ()), Err(DiskError::Missing { .. })));
    request.source = source;
    request.target = folder.path("no/such/folder");
    let error = convert(&request, &mut ()).unwrap_err().to_string();
    assert!(error.contains("no/such/.folder") && error.contains("No such file"), "{error}");
    assert_eq!(folder.names(), ["source", "target"]);
}

#[test]
fn a_chain_becomes_one_image() {
    let folder = Folder::new();
    let (below, top, flat) = (folder.path("below"), folder.path("top"), folder.path("flat"));
    std::fs::write(&below, vec![3; 1 << 20]).unwrap();
    if qemu_img(&["--version"], &[]).is_none() {
        return;
    }
    must_qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "below"], &[&top]);
    let mut request = converting(&top, ImageFormat::Qcow2, &flat, ImageFormat::Qcow2);

    assert!(matches!(convert(&request, &mut ()), Err(DiskError::BackingNotAllowed { .. })));
    request.backing = true;
    convert(&request, &mut ()).unwrap();

    assert_eq!(info(&flat, None).unwrap().qcow2.unwrap().backing_file, None);
    must_qemu_img(&["compare", "-q", "-f", "raw", "-F", "qcow2"], &[&below, &flat]);
}

proptest! {
    #[test]
    fn runs_cover_the_piece_and_tell_zeros_from_the_rest(bytes in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => 1..3u8], 0..200), block in 1..20usize) {
        let mut next = 0;
        let mut last = None;
        for (is_zero, run) in runs(&bytes, block) {
            prop_assert_eq!(run.start, next);
            prop_assert!(run.start % block == 0 && Some(is_zero) != last);
            for block in bytes[run.clone()].chunks(block) {
                prop_assert_eq!(block.iter().all(|byte| *byte == 0), is_zero);
            }
            next = run.end;
            last = Some(is_zero);
        }
        prop_assert_eq!(next, bytes.len());
    }
}
