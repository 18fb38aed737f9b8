use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use crate::disk::{DiskConfig, DiskError, DiskImage};

fn config(text: &str, path: &std::path::Path) -> DiskConfig {
    format!("{}{text}", path.display()).parse().unwrap()
}

fn opened(text: &str, path: &std::path::Path) -> Result<DiskImage, String> {
    DiskImage::open(&config(text, path)).map_err(|error| {
        let message = error.to_string();
        assert!(!message.contains('\n') && message.contains(&path.display().to_string()), "{message}");
        message
    })
}

fn refused(text: &str, path: &std::path::Path) -> String {
    opened(text, path).unwrap_err()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[test]
fn a_missing_image_is_made_sparse_if_a_size_is_stated() {
    let folder = Folder::new();
    let path = folder.path("disk.img");

    let image = opened(",size=20G", &path).unwrap();

    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((image.bytes(), metadata.len()), (20 << 30, 20 << 30));
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
    drop(image);
    // The second time it exists, and has that size.
    assert_eq!(opened(",size=20G", &path).unwrap().bytes(), 20 << 30);
    assert_eq!(opened("", &path).unwrap().bytes(), 20 << 30);
}

#[test]
fn an_empty_file_is_as_good_as_a_missing_one() {
    let folder = Folder::new();
    let path = folder.path("disk.img");
    fs::write(&path, b"").unwrap();

    assert!(refused("", &path).contains("is empty: add size="));
    assert_eq!(opened(",size=1M", &path).unwrap().bytes(), 1 << 20);
}

#[test]
fn what_is_no_disk_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let missing = folder.path("missing");
    assert!(refused("", &missing).contains("does not exist: add size="));
    assert!(refused(",ro", &missing).contains("does not exist"));
    assert!(!missing.exists());
    assert!(refused(",size=1M", &folder.path("no/such/folder")).contains("cannot make it"));

    assert!(refused("", folder.0.path()).contains("is a directory"));

    let other_size = folder.path("other");
    fs::write(&other_size, [0; 4096]).unwrap();
    let message = refused(",size=8K", &other_size);
    assert!(message.contains("has 4096 bytes, not 8K") && message.contains("rvmm disk resize"), "{message}");
    assert_eq!(fs::metadata(&other_size).unwrap().len(), 4096);

    let odd = folder.path("odd");
    fs::write(&odd, [0; 4097]).unwrap();
    assert!(refused("", &odd).contains("4097 bytes is not a size for a disk"));

    let socket = folder.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(refused("", &socket).contains("neither a file nor a block device"));
    assert!(refused(",ro", std::path::Path::new("/dev/null")).contains("neither a file nor"));
}

#[test]
fn a_fifo_does_not_block() {
    let folder = Folder::new();
    let fifo = folder.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());

    assert!(refused(",ro", &fifo).contains("neither a file nor a block device"));
}

#[test]
fn qcow2_in_raw_clothes_is_refused_unless_raw_is_stated() {
    let folder = Folder::new();
    let path = folder.path("disk.img");
    let mut bytes = vec![0; 4096];
    bytes[..4].copy_from_slice(b"QFI\xfb");
    fs::write(&path, &bytes).unwrap();

    for text in ["", ",ro", ",overlay=tmp", ",size=4K"] {
        assert!(refused(text, &path).contains("say format=qcow2, or format=raw"), "{text}");
    }
    let image = opened(",format=raw", &path).unwrap();
    let mut start = [0; 4];
    image.read_at(&mut start, 0).unwrap();
    assert_eq!(&start, b"QFI\xfb");
}

#[test]
fn one_writes_or_many_read() {
    let folder = Folder::new();
    let path = folder.path("disk.img");

    let writer = opened(",size=1M", &path).unwrap();
    for text in ["", ",ro", ",overlay=tmp"] {
        assert!(refused(text, &path).contains("is in use by"), "{text}");
    }
    drop(writer);
    let readers = ["ro", "ro", "overlay=tmp"].map(|text| opened(&format!(",{text}"), &path).unwrap());
    let message = refused("", &path);
    assert!(message.contains("is in use by another process or another disk of this machine"), "{message}");
    assert!(message.contains("or use the image with ro in both"), "{message}");
    drop(readers);
    opened("", &path).unwrap();
}

#[test]
fn a_file_without_write_permission_says_so() {
    let folder = Folder::new();
    let path = folder.path("disk.img");
    fs::write(&path, [0; 4096]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may write anything");
        return;
    }

    assert!(refused("", &path).contains("use it with ro, or change its permissions"));
    opened(",ro", &path).unwrap();
}

#[test]
fn an_image_that_is_removed_or_cut_off_while_in_use_fails_only_what_is_gone() {
    let folder = Folder::new();
    let path = folder.path("disk.img");
    let image = opened(",size=1M", &path).unwrap();
    image.write_at(&[1; 4096], 0).unwrap();

    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
    let mut buffer = [0; 4096];
    image.read_at(&mut buffer, 0).unwrap();
    assert_eq!(buffer, [1; 4096]);
    assert_eq!(image.read_at(&mut buffer, 8192).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);

    fs::remove_file(&path).unwrap();
    image.write_at(&[2; 4096], 0).unwrap();
    image.flush().unwrap();
    image.read_at(&mut buffer, 0).unwrap();
    assert_eq!(buffer, [2; 4096]);
}

#[test]
fn discards_and_zeros_give_space_back() {
    let folder = Folder::new();
    let path = folder.path("disk.img");
    let image = opened(",size=8M", &path).unwrap();
    let blocks = || fs::metadata(&path).unwrap().blocks() * 512;
    let fill = || {
        image.write_at(&vec![7; 8 << 20], 0).unwrap();
        image.flush().unwrap();
        assert!(blocks() >= 8 << 20);
    };

    fill();
    image.discard(0, 4 << 20).unwrap();
    assert!(blocks() <= (4 << 20) + 65536, "{}", blocks());
    fill();
    image.write_zeroes(100 * 512, 7 << 20, true).unwrap();
    assert!(blocks() <= (1 << 20) + 65536, "{}", blocks());
    fill();
    image.write_zeroes(0, 8 << 20, false).unwrap();
    assert!(blocks() >= 8 << 20, "{}", blocks());
    let mut all = vec![1; 8 << 20];
    image.read_at(&mut all, 0).unwrap();
    assert!(all.iter().all(|byte| *byte == 0));
}

#[test]
fn a_contradiction_in_a_configuration_is_an_error_of_opening_too() {
    let folder = Folder::new();
    let path = folder.path("disk.img");
    let config = DiskConfig { ro: true, size: Some("1M".parse().unwrap()), ..DiskConfig::new(&path) };

    let error = DiskImage::open(&config).unwrap_err();

    assert!(matches!(error, DiskError::Config { .. }), "{error}");
    assert!(!path.exists());
}
