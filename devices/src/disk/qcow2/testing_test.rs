//! What tests of several modules do with qcow2 images.

use std::path::Path;
use std::process::{Command, Output};

use imago::qcow2::Qcow2;
use imago::{FormatAccess, FormatCreateBuilder};

use super::storage::QcowFile;
use crate::disk::file::ImageFile;
use crate::disk::{CreateRequest, DiskConfig, DiskImage, ImageFormat, create};

/// Makes an image that names a backing file, of an empty file.
pub(in crate::disk) fn create_backed(file: ImageFile, below: &str, format: &str, bytes: u64) {
    let builder: imago::qcow2::Qcow2CreateBuilder<QcowFile, FormatAccess<QcowFile>> =
        Qcow2::create_builder(QcowFile::new(file, Default::default()));
    builder.size(bytes).backing(below.to_owned(), format.to_owned()).create().unwrap();
}

/// The bytes of a new image of 1 MiB: after the header come the refcount table at 0x10000, its only block, and the L1 table
/// at 0x30000.
pub(super) fn sound() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound");
    let size = "1M".parse().unwrap();
    create(&CreateRequest { path: path.clone(), size, format: ImageFormat::Qcow2 }).unwrap();
    std::fs::read(&path).unwrap()
}

/// The same with some bytes changed.
pub(super) fn changed(at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = sound();
    bytes[at..at + field.len()].copy_from_slice(field);
    bytes
}

/// What a user who opens a file of these bytes gets.
pub(super) fn open_bytes(bytes: &[u8]) -> Result<DiskImage, String> {
    open_bytes_with(bytes, "")
}

/// The same, with more options.
pub(super) fn open_bytes_with(bytes: &[u8], options: &str) -> Result<DiskImage, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    std::fs::write(&path, bytes).unwrap();
    let config: DiskConfig = format!("{},format=qcow2{options}", path.display()).parse().unwrap();
    DiskImage::open(&config).map_err(|error| error.to_string())
}

/// Numbers that are the same each time (xorshift, by a seed that is not 0).
pub(super) fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Runs qemu-img if there is one. Debian has it in qemu-utils.
pub(in crate::disk) fn qemu_img(arguments: &[&str], files: &[&Path]) -> Option<Output> {
    match Command::new("qemu-img").args(arguments).args(files).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("skipped: qemu-img (package qemu-utils): {error}");
            None
        }
    }
}

/// Runs qemu-img, which must succeed if there is one.
pub(in crate::disk) fn must_qemu_img(arguments: &[&str], files: &[&Path]) -> bool {
    let Some(output) = qemu_img(arguments, files) else { return false };
    assert!(
        output.status.success(),
        "qemu-img {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

/// QEMU finds no fault with the image: neither errors nor leaked clusters.
pub(in crate::disk) fn check_with_qemu(path: &Path) {
    must_qemu_img(&["check", "-q", "-f", "qcow2"], &[path]);
}

/// The same for one whose last user was killed: leaked clusters (exit code 3) are no harm.
pub(in crate::disk) fn check_structure_with_qemu(path: &Path) {
    let Some(output) = qemu_img(&["check", "-f", "qcow2"], &[path]) else { return };
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(matches!(output.status.code(), Some(0 | 3)), "{error}{out}");
}
