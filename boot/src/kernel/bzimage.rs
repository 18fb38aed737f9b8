//! bzImage: what a loader needs from the setup header, and the vmlinux inside the payload.

use super::KernelError;
use super::elf::{self, ElfKernel};
use super::setup_header::SetupHeader;
use super::slim::slim;
use crate::unpack::store::{self, Bytes};
use crate::unpack::{Compression, LoadOptions, UnpackError, unpack};

/// The oldest protocol with a stated command line size; kernels since 2.6.22.
const OLDEST_PROTOCOL: u16 = 0x206;

/// The longest version text shown.
const VERSION_TEXT: usize = 128;

/// Where things lie in a bzImage file.
#[derive(Clone, Debug)]
pub(crate) struct BzImage {
    pub(crate) header: SetupHeader,
    /// Offset and size in the file of the protected-mode kernel.
    pub(crate) kernel: (usize, usize),
    pub(crate) version: Option<String>,
}

/// What was in a payload.
pub(crate) struct Vmlinux {
    pub(crate) compression: Option<Compression>,
    pub(crate) bytes: Bytes<'static>,
}

impl BzImage {
    /// Checks `file`, which has the setup header `header`.
    pub(crate) fn parse(file: &[u8], header: SetupHeader, name: &str) -> Result<Self, KernelError> {
        if header.version() < OLDEST_PROTOCOL {
            return Err(KernelError::OldProtocol { file: name.to_owned(), version: header.version() });
        }
        if !header.loaded_high() {
            return Err(KernelError::ZImage { file: name.to_owned() });
        }
        let offset = header.protected_mode_offset();
        let found = file.len() as u64;
        // The size is rounded up to 16 bytes, files need not be. What follows (a signature) is not the kernel's.
        let size = header.protected_mode_size();
        let needed = (offset as u64).saturating_add(size.max(1));
        if found.saturating_add(15) < needed || found <= offset as u64 {
            return Err(KernelError::Truncated {
                file: name.to_owned(),
                what: "the protected-mode kernel",
                needed,
                found,
            });
        }
        let size = (file.len() - offset).min(size as usize);
        let version = header.kernel_version_offset().and_then(|offset| version_text(file, offset));
        Ok(Self { header, kernel: (offset, size), version })
    }

    /// Offset and size in the file of the payload, if the header tells.
    fn payload<'a>(&self, file: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, KernelError> {
        let Some((offset, length)) = self.header.payload() else {
            return Ok(None);
        };
        let start = self.kernel.0 as u64 + u64::from(offset);
        let end = start + u64::from(length);
        match file.get(start as usize..end as usize) {
            Some(payload) => Ok(Some(payload)),
            None => Err(KernelError::Truncated {
                file: name.to_owned(),
                what: "the kernel's payload",
                needed: end,
                found: file.len() as u64,
            }),
        }
    }

    /// Takes the vmlinux out of the payload; `None` where the header does not tell where the payload is (protocol 2.07
    /// and older).
    pub(crate) fn vmlinux(
        &self,
        file: &[u8],
        name: &str,
        options: &LoadOptions<'_>,
    ) -> Result<Option<Vmlinux>, KernelError> {
        let Some(payload) = self.payload(file, name)? else {
            return Ok(None);
        };
        if elf::is_elf(payload) {
            return Ok(Some(Vmlinux { compression: None, bytes: payload.to_vec().into() }));
        }
        let Some(format) = Compression::detect(payload) else {
            let mut magic = [0; 6];
            let shown = payload.len().min(magic.len());
            magic[..shown].copy_from_slice(&payload[..shown]);
            return Err(KernelError::UnknownCompression { file: name.to_owned(), magic });
        };
        let compression = Some(format);
        let key = options.store.and_then(|store| Some((store, store::key("kernel", format, payload)?)));
        if let Some((store, key)) = &key
            && let Some(bytes) = store::get(*store, key, options.limit())
        {
            return Ok(Some(Vmlinux { compression, bytes }));
        }
        let vmlinux = unpack_payload(format, payload, options.limit())
            .map_err(|source| KernelError::Unpack { file: name.to_owned(), source })?;
        if let Some((store, key)) = &key
            && let Ok(elf) = ElfKernel::parse(&vmlinux)
        {
            store::put(*store, key, slim(&vmlinux, &elf).as_deref().unwrap_or(&vmlinux));
        }
        Ok(Some(Vmlinux { compression, bytes: vmlinux.into() }))
    }
}

fn unpack_payload(format: Compression, payload: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    // The kernel's build puts the unpacked size behind the stream; gzip streams end in it anyway.
    let size = payload.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    let mut vmlinux = Vec::new();
    unpack(format, payload, size, &mut vmlinux, limit)?;
    if vmlinux.len() < size && size <= limit {
        return Err(UnpackError::Truncated { format });
    }
    Ok(vmlinux)
}

/// The zero-terminated text at `offset`, what is printable of it.
fn version_text(file: &[u8], offset: usize) -> Option<String> {
    let text = file.get(offset..)?;
    let text = &text[..text.len().min(VERSION_TEXT)];
    let text = text.split(|byte| *byte == 0).next()?;
    let text: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
    (!text.is_empty()).then_some(text)
}
