//! Chains of backing files.

use std::path::Path;
use std::sync::Arc;

use imago::FormatAccess;
use imago::raw::Raw;

use super::header::{Backing, Header};
use super::storage::QcowFile;
use super::tables::Tables;
use super::view::View;
use super::{contained, open_layer};
use crate::disk::config::FlushMode;
use crate::disk::error::DiskError;
use crate::disk::file::{Access, ImageFile};

/// The longest chain below an image: files may name each other in a circle.
const MAX_CHAIN: usize = 8;

/// Opens the backing file that the image at `above` names, and what is below that. All are read only, and locked against
/// writers.
pub(super) fn open(
    above: &Path,
    backing: &Backing,
    flush: FlushMode,
) -> Result<FormatAccess<QcowFile>, DiskError> {
    open_link(above, backing, flush, MAX_CHAIN)
}

fn open_link(
    above: &Path,
    backing: &Backing,
    flush: FlushMode,
    links_left: usize,
) -> Result<FormatAccess<QcowFile>, DiskError> {
    let refused = |reason: String| DiskError::Refused { path: above.to_owned(), reason };
    let Some(links_left) = links_left.checked_sub(1) else {
        return Err(refused(format!("its chain of backing files is longer than {MAX_CHAIN}, or a circle")));
    };
    let path = above.parent().unwrap_or(Path::new("")).join(&backing.name);
    let file = ImageFile::open(&path, Access::Read, flush)?;
    match backing.format.as_deref() {
        Some("qcow2") => {
            let header = Header::read(View::of(&file))?;
            header.check_supported(&file)?;
            Tables::read(&header, View::of(&file))?;
            let below =
                header.backing.as_ref().map(|next| open_link(&path, next, flush, links_left)).transpose()?;
            let mut image = open_layer(QcowFile::new(file, Arc::default()), &path, false)?;
            image.set_backing(below);
            Ok(FormatAccess::new(image))
        }
        Some("raw") => {
            let storage = QcowFile::new(file, Arc::default());
            let raw = contained(|| Raw::open_image(storage, false));
            let raw = raw.map_err(|source| DiskError::Io { path, action: "open it", source })?;
            Ok(FormatAccess::new(raw))
        }
        Some(other) => {
            Err(refused(format!("its backing file has the format {other:?}; rvmm knows raw and qcow2")))
        }
        None => Err(refused(format!(
            "it does not say the format of its backing file {:?}: set it with `qemu-img rebase -u -F FORMAT -b FILE`",
            backing.name
        ))),
    }
}
