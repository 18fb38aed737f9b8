//! qcow2 images, through the imago crate.
//!
//! imago keeps tables and reference counts. Here is what goes around it: [`header`] and [`tables`] refuse what is damaged
//! before imago sees it, [`storage`] is the locked file below it, whose writes [`order`] puts in order, and [`Qcow2Image`]
//! above it adds holes in the host's file for what is discarded, keeps discards and new tables apart from everything else,
//! and turns an internal failure of imago into failing requests.
//! Data goes through a buffer of our own, since imago's vectors are Rust slices, which guest memory must not be.

mod backing;
mod create;
mod header;
mod order;
mod storage;
mod tables;
mod view;

use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use imago::format::PreallocateMode;
use imago::qcow2::Qcow2;
use imago::{FormatAccess, Mapping};

use self::create::format;
pub(super) use self::create::{create, create_with};
pub(super) use self::header::{Header, has_magic};
use self::order::Order;
use self::storage::QcowFile;
pub(super) use self::tables::Tables;
pub(super) use self::view::View;
use super::buffers::{Source, Target};
use super::config::FlushMode;
use super::error::DiskError;
use super::file::{Access, ImageFile};
use super::layer::Layer;
use super::size::DiskSize;

/// The most bytes in flight between imago and a request's memory, per thread.
const BOUNCE_BYTES: usize = 256 << 10;

/// An open qcow2 image.
#[derive(Debug)]
pub(super) struct Qcow2Image {
    /// Taken exclusively by what moves or frees clusters, which imago lets be done only while nothing else runs, and by what
    /// makes tables.
    access: RwLock<FormatAccess<QcowFile>>,
    header: Header,
    bytes: u64,
    is_writable: bool,
    /// Shared with the storage below.
    sealed: Arc<AtomicBool>,
    /// The same.
    order: Arc<Order>,
}

/// What is to be opened.
pub(super) struct Qcow2Request<'a> {
    pub(super) path: &'a Path,
    pub(super) access: Access,
    pub(super) flush: FlushMode,
    /// Made with this size if missing or empty, else the size that it must have.
    pub(super) size: Option<DiskSize>,
    /// Whether a backing file may be used.
    pub(super) backing: bool,
}

impl Qcow2Image {
    pub(super) fn open(request: &Qcow2Request<'_>) -> Result<Self, DiskError> {
        let &Qcow2Request { path, access, flush, size, .. } = request;
        let file = match (ImageFile::open(path, access, flush), size) {
            (Err(DiskError::Missing { .. }), Some(size)) => create(path, size, flush)?,
            (opened, _) => opened?,
        };
        let file = match (file.len(), size) {
            (Ok(0), Some(size)) if !file.is_device() => format(file, size, None)?,
            _ => file,
        };
        Self::of_file(file, request)
    }

    /// Of a file that is an image already.
    fn of_file(file: ImageFile, request: &Qcow2Request<'_>) -> Result<Self, DiskError> {
        let &Qcow2Request { path, access, flush, size, backing } = request;
        let header = Header::read(View::of(&file))?;
        header.check_supported(&file)?;
        let tables = Tables::read(&header, View::of(&file))?;
        if access == Access::Write {
            tables.check_counts(&file)?;
        }
        if let Some(stated) = size.filter(|size| size.bytes() != header.bytes) {
            return Err(DiskError::OtherSize { path: path.to_owned(), actual: header.bytes, stated });
        }
        DiskSize::new(header.bytes).map_err(|source| DiskError::Size { path: path.to_owned(), source })?;
        let below = match &header.backing {
            Some(named) if !backing => {
                let backing = named.name.clone();
                return Err(DiskError::BackingNotAllowed { path: path.to_owned(), backing });
            }
            Some(named) => Some(backing::open(path, named, flush)?),
            None => None,
        };
        let is_writable = access == Access::Write;
        let sealed = Arc::new(AtomicBool::new(false));
        let order = Arc::new(Order::new(tables));
        let storage = if is_writable {
            QcowFile::ordered(file, Arc::clone(&sealed), Arc::clone(&order))
        } else {
            QcowFile::new(file, Arc::clone(&sealed))
        };
        let mut image = open_layer(storage, path, is_writable)?;
        image.set_backing(below);
        let access = RwLock::new(FormatAccess::new(image));
        Ok(Self { access, bytes: header.bytes, header, is_writable, sealed, order })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Changes the size of the disk; what is beyond a smaller size is lost.
    pub(super) fn resize(&mut self, size: DiskSize) -> io::Result<()> {
        self.contained(|image| image.exclusive().resize(size.bytes(), PreallocateMode::None))?;
        self.bytes = size.bytes();
        self.flush()
    }

    fn shared(&self) -> RwLockReadGuard<'_, FormatAccess<QcowFile>> {
        self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, FormatAccess<QcowFile>> {
        self.access.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out what uses imago. If that panics, which a damaged image might bring about, the request fails and the
    /// image is sealed: its tables in memory are in doubt, and must not reach the file.
    fn contained<T>(&self, work: impl FnOnce(&Self) -> io::Result<T>) -> io::Result<T> {
        if self.sealed.load(Ordering::Acquire) {
            return Err(io::Error::other("the image failed internally before"));
        }
        catch_unwind(AssertUnwindSafe(|| work(self))).unwrap_or_else(|_| {
            self.sealed.store(true, Ordering::Release);
            Err(beyond_use())
        })
    }

    /// What of `range` is the matter of one L2 table, from its start on.
    fn of_one_table(&self, range: Range<u64>) -> Range<u64> {
        let bytes = self.header.bytes_per_l2();
        let end = (range.start / bytes).saturating_add(1).saturating_mul(bytes);
        range.start..range.end.min(end)
    }

    /// Before a new table is made for the byte at `offset` of the disk, nothing waits to be written.
    fn settle(&self, access: &FormatAccess<QcowFile>, offset: u64) -> io::Result<()> {
        if self.order.names_table_for(offset) { Ok(()) } else { access.flush() }
    }

    /// Makes whole and partial clusters read as zeros, frees the whole ones, and gives their space back to the host.
    fn free(&self, range: Range<u64>) -> io::Result<()> {
        let mut access = self.exclusive();
        let mut offset = range.start;
        while offset < range.end {
            let part = self.of_one_table(offset..range.end);
            let (mapping, len) = access.get_mapping(offset, part.end - offset)?;
            if len == 0 {
                break;
            }
            let is_zero = match mapping {
                Mapping::Zero { .. } | Mapping::Eof { .. } => true,
                // Only this image's own clusters are writable. The hole may reach the disk before the table does, or
                // without it: the range reads as zeros either way.
                Mapping::Raw { storage, offset: place, writable: true, .. } => {
                    storage.punch(place..place.saturating_add(len))?;
                    false
                }
                _ => false,
            };
            if !is_zero {
                self.settle(&access, offset)?;
                access.discard_to_zero(offset, len)?;
            }
            offset = offset.saturating_add(len);
        }
        Ok(())
    }

    /// Version 2 has no zero clusters.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = vec![0; BOUNCE_BYTES];
        let mut offset = range.start;
        while offset < range.end {
            let len = (range.end - offset).min(BOUNCE_BYTES as u64);
            self.write(Source::repeating(&zeros, len as usize), offset)?;
            offset += len;
        }
        Ok(())
    }
}

/// The same for images that are not in use yet.
fn contained<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(beyond_use()))
}

fn beyond_use() -> io::Error {
    io::Error::other("the qcow2 image's tables are damaged beyond use")
}

/// One file of a chain.
fn open_layer(file: QcowFile, path: &Path, is_writable: bool) -> Result<Qcow2<QcowFile>, DiskError> {
    let damaged = |error: io::Error| DiskError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let mut image = contained(|| Qcow2::<QcowFile>::open_image(file, is_writable)).map_err(damaged)?;
    image.set_data_file(None);
    Ok(image)
}

impl Layer for Qcow2Image {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn discard_bytes(&self) -> u64 {
        self.header.cluster_bytes
    }

    fn read(&self, mut target: Target<'_>, mut offset: u64) -> io::Result<()> {
        let mut bounce = vec![0; target.len().min(BOUNCE_BYTES)];
        while target.len() > 0 {
            let mut part = target.take(BOUNCE_BYTES);
            let buffer = bounce.get_mut(..part.len()).unwrap_or_default();
            self.contained(|image| image.shared().read(&mut *buffer, offset))?;
            part.copy_from(buffer);
            offset = offset.saturating_add(part.len() as u64);
        }
        Ok(())
    }

    fn write(&self, mut source: Source<'_>, mut offset: u64) -> io::Result<()> {
        let mut bounce = vec![0; source.len().min(BOUNCE_BYTES)];
        while source.len() > 0 {
            let most = source.len().min(BOUNCE_BYTES) as u64;
            let range = self.of_one_table(offset..offset.saturating_add(most));
            let part = source.take((range.end - range.start) as usize);
            let buffer = bounce.get_mut(..part.len()).unwrap_or_default();
            part.copy_to(buffer);
            self.contained(|image| {
                if image.order.names_table_for(offset) {
                    return image.shared().write(&*buffer, offset);
                }
                let access = image.exclusive();
                image.settle(&access, offset)?;
                access.write(&*buffer, offset)
            })?;
            offset = offset.saturating_add(part.len() as u64);
        }
        Ok(())
    }

    /// Tables follow the data to the file, then both to safety.
    fn flush(&self) -> io::Result<()> {
        self.contained(|image| {
            let access = image.shared();
            access.flush()?;
            access.sync()
        })
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        let cluster = self.header.cluster_bytes;
        let start = range.start.checked_next_multiple_of(cluster).unwrap_or(range.end);
        // The last cluster may be cut by the disk's end.
        let end = if range.end == self.bytes { range.end } else { range.end - range.end % cluster };
        if self.header.version < 3 || start >= end {
            return Ok(());
        }
        self.contained(|image| image.free(start..end))
    }

    fn zero(&self, range: Range<u64>, unmap: bool) -> io::Result<()> {
        match (self.header.version, unmap) {
            (..3, _) => self.write_zeros(range),
            (_, true) => self.contained(|image| image.free(range)),
            // Exclusively: a cluster that is zero but for one concurrent write could be marked as zero, with that write.
            (_, false) => self.contained(|image| {
                let access = image.exclusive();
                let mut rest = range;
                while !rest.is_empty() {
                    let part = image.of_one_table(rest.clone());
                    image.settle(&access, part.start)?;
                    access.write_zeroes(part.start, part.end - part.start)?;
                    rest.start = part.end;
                }
                Ok(())
            }),
        }
    }

    fn next_data(&self, mut offset: u64) -> io::Result<Option<Range<u64>>> {
        self.contained(|image| {
            let access = image.shared();
            while offset < image.bytes {
                let (mapping, len) = access.get_mapping(offset, image.bytes - offset)?;
                match mapping {
                    _ if len == 0 => break,
                    Mapping::Zero { .. } | Mapping::Eof { .. } => offset = offset.saturating_add(len),
                    _ => return Ok(Some(offset..offset.saturating_add(len))),
                }
            }
            Ok(None)
        })
    }
}

/// What imago still keeps in memory goes to the file. To safety it goes by a flush only.
impl Drop for Qcow2Image {
    fn drop(&mut self) {
        if !self.is_writable || self.sealed.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = self.contained(|image| image.shared().flush()) {
            log::error!("a qcow2 image's tables could not be written at its end: {error}");
        }
    }
}

#[cfg(test)]
#[path = "testing_test.rs"]
pub(super) mod testing;

#[cfg(test)]
mod power_test;
#[cfg(test)]
#[path = "qcow2_test.rs"]
mod qcow2_test;
