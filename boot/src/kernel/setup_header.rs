//! The setup header of a bzImage (Linux boot protocol, "The Real-Mode Kernel Header"), and the same fields in the zero page.

/// Byte offsets, the same in the file and in the zero page.
pub(crate) mod offset {
    pub(crate) const SETUP_SECTS: usize = 0x1f1;
    pub(crate) const SYSSIZE: usize = 0x1f4;
    pub(crate) const BOOT_FLAG: usize = 0x1fe;
    /// The jump's displacement: the header ends at 0x202 plus this byte.
    pub(crate) const JUMP: usize = 0x201;
    pub(crate) const MAGIC: usize = 0x202;
    pub(crate) const VERSION: usize = 0x206;
    pub(crate) const KERNEL_VERSION: usize = 0x20e;
    pub(crate) const TYPE_OF_LOADER: usize = 0x210;
    pub(crate) const LOADFLAGS: usize = 0x211;
    pub(crate) const CODE32_START: usize = 0x214;
    pub(crate) const RAMDISK_IMAGE: usize = 0x218;
    pub(crate) const RAMDISK_SIZE: usize = 0x21c;
    pub(crate) const CMD_LINE_PTR: usize = 0x228;
    pub(crate) const INITRD_ADDR_MAX: usize = 0x22c;
    pub(crate) const RELOCATABLE_KERNEL: usize = 0x234;
    pub(crate) const XLOADFLAGS: usize = 0x236;
    pub(crate) const CMDLINE_SIZE: usize = 0x238;
    pub(crate) const PAYLOAD_OFFSET: usize = 0x248;
    pub(crate) const PAYLOAD_LENGTH: usize = 0x24c;
    pub(crate) const SETUP_DATA: usize = 0x250;
    pub(crate) const PREF_ADDRESS: usize = 0x258;
    pub(crate) const INIT_SIZE: usize = 0x260;
    /// Where the header's place in the zero page ends.
    pub(crate) const END: usize = 0x290;
}

/// 0xaa55 at [`offset::BOOT_FLAG`].
const BOOT_FLAG: u16 = 0xaa55;
/// "HdrS" at [`offset::MAGIC`].
const MAGIC: &[u8] = b"HdrS";
/// A loader without an assigned number.
pub(crate) const LOADER_UNDEFINED: u8 = 0xff;

/// `loadflags`: the protected-mode kernel is loaded at 1 MiB or above.
pub(crate) const LOADED_HIGH: u8 = 1 << 0;
/// `loadflags`: the kernel was placed at random; set by the kernel's own unpacker only.
pub(crate) const KASLR_FLAG: u8 = 1 << 1;
/// `xloadflags`: there is a 64-bit entry point at 0x200.
const XLF_KERNEL_64: u16 = 1 << 0;
/// `xloadflags`: everything may lie above 4 GiB.
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;

/// `cmdline_size` of kernels that do not say.
const OLD_CMDLINE_SIZE: u32 = 255;

/// A setup header: the file's bytes up to the header's end. Fields newer than the header's version read as absent.
#[derive(Clone, Debug)]
pub(crate) struct SetupHeader {
    bytes: Vec<u8>,
}

impl SetupHeader {
    /// The header of `file`, if it has one.
    pub(crate) fn find(file: &[u8]) -> Option<Self> {
        let fixed = file.get(..offset::VERSION + 2)?;
        let boot_flag = u16::from_le_bytes([fixed[offset::BOOT_FLAG], fixed[offset::BOOT_FLAG + 1]]);
        if boot_flag != BOOT_FLAG || &fixed[offset::MAGIC..offset::MAGIC + 4] != MAGIC {
            return None;
        }
        // The jump over the header tells its length. What a damaged one leaves out reads as absent.
        let end = (offset::MAGIC + usize::from(fixed[offset::JUMP])).min(offset::END).min(file.len());
        let end = end.max(fixed.len());
        Some(Self { bytes: file[..end].to_vec() })
    }

    /// A header for a kernel that comes without: what a loader of protocol 2.15 would have left in the zero page.
    pub(crate) fn synthetic() -> Self {
        let mut bytes = vec![0; offset::END];
        bytes[offset::BOOT_FLAG..][..2].copy_from_slice(&BOOT_FLAG.to_le_bytes());
        bytes[offset::MAGIC..][..4].copy_from_slice(MAGIC);
        bytes[offset::VERSION..][..2].copy_from_slice(&0x20f_u16.to_le_bytes());
        bytes[offset::LOADFLAGS] = LOADED_HIGH;
        Self { bytes }
    }

    /// The bytes that belong into the zero page, at [`offset::SETUP_SECTS`].
    pub(crate) fn zero_page_bytes(&self) -> &[u8] {
        self.bytes.get(offset::SETUP_SECTS..).unwrap_or_default()
    }

    fn field<const N: usize>(&self, offset: usize, since: u16) -> Option<[u8; N]> {
        (self.version() >= since).then(|| self.bytes.get(offset..)?.first_chunk::<N>().copied()).flatten()
    }

    fn u32(&self, offset: usize, since: u16) -> Option<u32> {
        self.field(offset, since).map(u32::from_le_bytes)
    }

    /// Protocol version, major in the high byte.
    pub(crate) fn version(&self) -> u16 {
        u16::from_le_bytes([self.bytes[offset::VERSION], self.bytes[offset::VERSION + 1]])
    }

    /// Where the protected-mode kernel begins in the file.
    pub(crate) fn protected_mode_offset(&self) -> usize {
        // 0 means 4, for the oldest kernels.
        let sectors = match self.bytes[offset::SETUP_SECTS] {
            0 => 4,
            sectors => usize::from(sectors),
        };
        (sectors + 1) * 512
    }

    /// Size of the protected-mode kernel in bytes, rounded up to 16.
    pub(crate) fn protected_mode_size(&self) -> u64 {
        u64::from(self.u32(offset::SYSSIZE, 0x204).unwrap_or(0)) * 16
    }

    /// Offset in the file of the kernel's version text.
    pub(crate) fn kernel_version_offset(&self) -> Option<usize> {
        let pointer = u16::from_le_bytes(self.field(offset::KERNEL_VERSION, 0x200)?);
        (pointer != 0).then(|| usize::from(pointer) + 0x200)
    }

    pub(crate) fn loaded_high(&self) -> bool {
        self.field(offset::LOADFLAGS, 0x200).is_some_and(|[flags]| flags & LOADED_HIGH != 0)
    }

    /// Where a kernel that cannot be moved wants to be.
    pub(crate) fn code32_start(&self) -> u32 {
        self.u32(offset::CODE32_START, 0x200).unwrap_or(0x10_0000)
    }

    pub(crate) fn initrd_addr_max(&self) -> u32 {
        // The limit of kernels before 2.03, and of a header that has 0 there.
        self.u32(offset::INITRD_ADDR_MAX, 0x203).filter(|max| *max != 0).unwrap_or(0x37ff_ffff)
    }

    pub(crate) fn relocatable(&self) -> bool {
        self.field(offset::RELOCATABLE_KERNEL, 0x205).is_some_and(|[flag]| flag != 0)
    }

    fn xloadflags(&self) -> u16 {
        self.field(offset::XLOADFLAGS, 0x20c).map_or(0, u16::from_le_bytes)
    }

    pub(crate) fn has_64bit_entry(&self) -> bool {
        self.xloadflags() & XLF_KERNEL_64 != 0
    }

    pub(crate) fn takes_ramdisk_above_4g(&self) -> bool {
        self.xloadflags() & XLF_CAN_BE_LOADED_ABOVE_4G != 0
    }

    /// The longest command line in bytes, without the terminating zero.
    pub(crate) fn cmdline_size(&self) -> u32 {
        self.u32(offset::CMDLINE_SIZE, 0x206).filter(|size| *size != 0).unwrap_or(OLD_CMDLINE_SIZE)
    }

    /// Offset from the protected-mode kernel's start, and length, of the compressed payload.
    pub(crate) fn payload(&self) -> Option<(u32, u32)> {
        let length = self.u32(offset::PAYLOAD_LENGTH, 0x208)?;
        Some((self.u32(offset::PAYLOAD_OFFSET, 0x208)?, length)).filter(|_| length != 0)
    }

    pub(crate) fn pref_address(&self) -> Option<u64> {
        self.field(offset::PREF_ADDRESS, 0x20a).map(u64::from_le_bytes)
    }

    pub(crate) fn init_size(&self) -> Option<u32> {
        self.u32(offset::INIT_SIZE, 0x20a)
    }
}
