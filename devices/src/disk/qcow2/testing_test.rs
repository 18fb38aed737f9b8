//! What tests of several modules do with qcow2 images.

use std::path::Path;
use std::process::{Command, Output};

use imago::qcow2::Qcow2;
use imago::{FormatAccess, FormatCreateBuilder};

use super::storage::QcowFile;
use crate::disk::file::ImageFile;

/// Makes an image that names a backing file, of an empty file.
pub(in crate::disk) fn create_backed(file: ImageFile, below: &str, format: &str, bytes: u64) {
    let builder: imago::qcow2::Qcow2CreateBuilder<QcowFile, FormatAccess<QcowFile>> =
        Qcow2::create_builder(QcowFile::new(file, Default::default()));
    builder.size(bytes).backing(below.to_owned(), format.to_owned()).create().unwrap();
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
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stdout));
}
