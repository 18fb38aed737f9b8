//! Kernels and initramfs made up for tests: every field is the test's choice.

use std::io::Write;

use crate::unpack::Compression;

/// An ELF file to be made.
#[derive(Clone)]
pub(crate) struct ElfSpec {
    pub(crate) is_64bit: bool,
    pub(crate) machine: u16,
    pub(crate) kind: u16,
    pub(crate) entry: u64,
    /// Physical address, bytes, size in memory.
    pub(crate) segments: Vec<(u64, Vec<u8>, u64)>,
    pub(crate) pvh_entry: Option<u32>,
}

impl ElfSpec {
    /// A 64-bit kernel at 16 MiB: code that does not compress well, then data with a BSS.
    pub(crate) fn linux64() -> Self {
        Self {
            is_64bit: true,
            machine: 62,
            kind: 2,
            entry: 0x100_0040,
            segments: vec![(0x100_0000, noise(30_000), 30_000), (0x101_0000, b"data".repeat(100), 0x8000)],
            pvh_entry: None,
        }
    }

    pub(crate) fn linux32() -> Self {
        Self { is_64bit: false, machine: 3, ..Self::linux64() }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let word = |value: u64| -> Vec<u8> {
            if self.is_64bit { value.to_le_bytes().to_vec() } else { (value as u32).to_le_bytes().to_vec() }
        };
        let (header_size, entry_size) = if self.is_64bit { (64_usize, 56_usize) } else { (52, 32) };
        let count = self.segments.len() + usize::from(self.pvh_entry.is_some());
        let mut file = b"\x7fELF".to_vec();
        file.extend([if self.is_64bit { 2 } else { 1 }, 1, 1, 0]);
        file.resize(16, 0);
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(word(self.entry));
        file.extend(word(header_size as u64));
        file.extend(word(0));
        file.extend(0_u32.to_le_bytes());
        for half in [header_size, entry_size, count, 0, 0, 0] {
            file.extend((half as u16).to_le_bytes());
        }
        assert_eq!(file.len(), header_size);

        let mut body = Vec::new();
        let mut header = |file: &mut Vec<u8>, kind: u32, physical: u64, bytes: &[u8], memory: u64| {
            let offset = (header_size + entry_size * count + body.len()) as u64;
            body.extend_from_slice(bytes);
            file.extend(kind.to_le_bytes());
            if self.is_64bit {
                file.extend(7_u32.to_le_bytes());
            }
            [offset, 0, physical, bytes.len() as u64, memory].iter().for_each(|v| file.extend(word(*v)));
            if !self.is_64bit {
                file.extend(7_u32.to_le_bytes());
            }
            file.extend(word(4));
        };
        for (physical, bytes, memory) in &self.segments {
            header(&mut file, 1, *physical, bytes, *memory);
        }
        if let Some(entry) = self.pvh_entry {
            header(&mut file, 4, 0, &notes(entry), 0);
        }
        file.extend(body);
        file
    }
}

/// A foreign note, then the PVH entry.
pub(crate) fn notes(entry: u32) -> Vec<u8> {
    let mut notes = Vec::new();
    for (owner, kind, value) in
        [(b"GNU\0", 3_u32, vec![1, 2, 3, 4, 5]), (b"Xen\0", 18, entry.to_le_bytes().to_vec())]
    {
        notes.extend(4_u32.to_le_bytes());
        notes.extend((value.len() as u32).to_le_bytes());
        notes.extend(kind.to_le_bytes());
        notes.extend_from_slice(owner);
        notes.extend_from_slice(&value);
        notes.resize(notes.len().next_multiple_of(4), 0);
    }
    notes
}

/// A bzImage to be made.
#[derive(Clone)]
pub(crate) struct BzImageSpec {
    pub(crate) protocol: u16,
    pub(crate) loadflags: u8,
    pub(crate) xloadflags: u16,
    pub(crate) relocatable: bool,
    pub(crate) pref_address: u64,
    pub(crate) init_size: u32,
    pub(crate) cmdline_size: u32,
    pub(crate) initrd_addr_max: u32,
    /// The payload, finished.
    pub(crate) payload: Vec<u8>,
}

impl BzImageSpec {
    pub(crate) const SETUP_SECTS: u8 = 3;
    /// Where the protected-mode kernel begins.
    pub(crate) const KERNEL: usize = (Self::SETUP_SECTS as usize + 1) * 512;
    /// Where the payload begins in it.
    pub(crate) const PAYLOAD: usize = 0x2cc;
    pub(crate) const VERSION: &str = "6.1.0-test (someone) #1";

    /// A modern 64-bit kernel around `payload`.
    pub(crate) fn new(payload: Vec<u8>) -> Self {
        Self {
            protocol: 0x20f,
            loadflags: 1,
            xloadflags: 0x3,
            relocatable: true,
            pref_address: 0x100_0000,
            init_size: 0x20_0000,
            cmdline_size: 2047,
            initrd_addr_max: 0x7fff_ffff,
            payload,
        }
    }

    /// `vmlinux` packed the way the kernel's build does.
    pub(crate) fn packed(format: Compression, vmlinux: &[u8]) -> Self {
        let mut payload = pack(format, vmlinux);
        if format != Compression::Gzip {
            payload.extend((vmlinux.len() as u32).to_le_bytes());
        }
        Self::new(payload)
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut file = vec![0; Self::KERNEL + Self::PAYLOAD];
        let size = (Self::PAYLOAD + self.payload.len()).div_ceil(16) as u32;
        let mut put = |offset: usize, bytes: &[u8]| file[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0x1f1, &[Self::SETUP_SECTS]);
        put(0x1f4, &size.to_le_bytes());
        put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(0x202, b"HdrS");
        put(0x206, &self.protocol.to_le_bytes());
        put(0x20e, &0x200_u16.to_le_bytes());
        put(0x400, Self::VERSION.as_bytes());
        put(0x211, &[self.loadflags]);
        put(0x214, &0x10_0000_u32.to_le_bytes());
        put(0x22c, &self.initrd_addr_max.to_le_bytes());
        put(0x230, &0x20_0000_u32.to_le_bytes());
        put(0x234, &[u8::from(self.relocatable)]);
        put(0x236, &self.xloadflags.to_le_bytes());
        put(0x238, &self.cmdline_size.to_le_bytes());
        put(0x248, &(Self::PAYLOAD as u32).to_le_bytes());
        put(0x24c, &(self.payload.len() as u32).to_le_bytes());
        put(0x258, &self.pref_address.to_le_bytes());
        put(0x260, &self.init_size.to_le_bytes());
        // Something to know the protected-mode kernel by.
        put(Self::KERNEL, b"protected mode");
        file.extend_from_slice(&self.payload);
        file.resize(Self::KERNEL + size as usize * 16, 0);
        file
    }
}

/// Every format that is unpacked.
pub(crate) const FORMATS: [Compression; 7] = [
    Compression::Gzip,
    Compression::Xz,
    Compression::Lzma,
    Compression::Bzip2,
    Compression::Lz4Legacy,
    Compression::Lz4Frame,
    Compression::Zstd,
];

pub(crate) fn pack(format: Compression, data: &[u8]) -> Vec<u8> {
    match format {
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => pack_xz(data, None),
        Compression::Lzma => {
            let options = lzma_rust2::LzmaOptions::with_preset(1);
            let size = Some(data.len() as u64);
            let mut encoder = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, size).unwrap();
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lz4Legacy => {
            let mut packed = vec![0x02, 0x21, 0x4c, 0x18];
            for block in data.chunks(8 << 20) {
                let block = lz4_flex::block::compress(block);
                packed.extend((block.len() as u32).to_le_bytes());
                packed.extend(block);
            }
            packed
        }
        Compression::Lz4Frame => {
            let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => {
            ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
        }
        Compression::Lzo => b"\x89LZO\0\r\n\x1a\n".to_vec(),
    }
}

/// xz as the kernel's build makes it where a filter is named: CRC32 and the filter before LZMA2.
pub(crate) fn pack_xz(data: &[u8], filter: Option<lzma_rust2::FilterType>) -> Vec<u8> {
    let mut options = lzma_rust2::XzOptions::with_preset(1);
    options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
    if let Some(filter) = filter {
        options.prepend_pre_filter(filter, 0);
    }
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A cpio archive of one file.
pub(crate) fn cpio(name: &str, data: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, data) in [(name, data), ("TRAILER!!!", &[][..])] {
        let sizes = [1, 0o100_644, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
        archive.extend_from_slice(b"070701");
        sizes.iter().for_each(|field| archive.extend(format!("{field:08X}").bytes()));
        archive.extend_from_slice(name.as_bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// Bytes that look random and are the same every time (xorshift).
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(&mut next).take(size).collect()
}
