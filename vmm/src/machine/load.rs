//! Kernel and initramfs: read, unpacked, planned, placed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::Instant;

use boot::{
    AcpiConfig, InitialState, Initramfs, KernelImage, LoadOptions, PlanRequest, Unpack, UnpackedStore, plan,
};

use super::MachineError;
use crate::config::{BootConfig, UnpackBy};
use crate::memory::{GuestRam, MemoryMap};
use crate::unpack_cache::UnpackCache;

/// A boot, placed in guest memory.
pub(super) struct Loaded {
    /// What the boot processor starts with.
    pub(super) entry: InitialState,
    /// When both files had been read.
    pub(super) read_at: Instant,
    /// When both were unpacked and placed.
    pub(super) placed_at: Instant,
}

/// Reads the files anew, unpacks and places them.
///
/// Nothing of them stays in the VMM's memory. A reset of the guest does all this again, as firmware would: the files are
/// those found at that time.
pub(super) fn load(
    boot: &BootConfig,
    memory_bytes: u64,
    map: &MemoryMap,
    acpi: &AcpiConfig,
    ram: &GuestRam,
) -> Result<Loaded, MachineError> {
    let unpack = match boot.unpack {
        UnpackBy::Host => Unpack::Host,
        UnpackBy::Guest => Unpack::Guest,
    };
    let cache = boot.unpack_cache.as_deref().filter(|_| unpack == Unpack::Host).and_then(open_cache);
    let store = cache.as_ref().map(|cache| cache as &dyn UnpackedStore);
    let options = LoadOptions { unpack, max_unpacked: memory_bytes, store };
    let kernel_bytes = read("kernel", &boot.kernel, memory_bytes)?;
    let initrd_bytes =
        boot.initrd.as_deref().map(|path| Ok::<_, MachineError>((path, read("initrd", path, memory_bytes)?)));
    let initrd_bytes = initrd_bytes.transpose()?;
    let read_at = Instant::now();
    let (kernel, initramfs) = thread::scope(|scope| {
        let initramfs = initrd_bytes.map(|(path, bytes)| {
            scope.spawn(move || Initramfs::load_with(bytes, &path.display().to_string(), &options))
        });
        let kernel = KernelImage::load_with(kernel_bytes, &boot.kernel.display().to_string(), &options);
        let initramfs = initramfs.map(|thread| {
            thread.join().map_err(|_| MachineError::internal("initrd", "the unpacking thread panicked"))
        });
        (kernel, initramfs)
    });
    let kernel = kernel?;
    let initramfs = initramfs.transpose()?.transpose()?;
    let layout = map.layout();
    let image = plan(&PlanRequest {
        kernel: &kernel,
        initramfs: initramfs.as_ref(),
        cmdline: &boot.cmdline,
        memory: &layout,
        acpi: Some(acpi),
    })?;
    for placement in &image.placements {
        ram.place(placement)?;
    }
    log::debug!("kernel {:?} {:?}, entry {:#x}", kernel.format(), kernel.version(), image.entry.rip);
    Ok(Loaded { entry: image.entry, read_at, placed_at: Instant::now() })
}

/// The folder with what earlier runs unpacked. One that cannot be used makes the boot slower, no more.
fn open_cache(path: &Path) -> Option<UnpackCache> {
    UnpackCache::open(path)
        .inspect_err(|error| log::info!("unpacked files are not kept in {}: {error}", path.display()))
        .ok()
}

/// The whole of a file, which may be a pipe, but no larger than guest memory.
fn read(what: &'static str, path: &Path, limit: u64) -> Result<Vec<u8>, MachineError> {
    let fail = |source: io::Error| MachineError::File { what, path: path.to_owned(), source };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let too_large = || MachineError::FileTooLarge { what, path: path.to_owned(), memory_bytes: limit };
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}
