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

const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const EXECUTE_DISABLE: u64 = 1 << 63;

const FAULT_PRESENT: u32 = 1 << 0;
const FAULT_WRITE: u32 = 1 << 1;
const FAULT_USER: u32 = 1 << 2;
const FAULT_RESERVED: u32 = 1 << 3;
const FAULT_FETCH: u32 = 1 << 4;

/// Walks that lose a race for an accessed or dirty bit before the walker gives up. Each loss is another CPU's progress.
const MAX_WALKS: u32 = 64;

/// Paging structures on the way to a page, at most (five-level paging).
const MAX_LEVELS: usize = 5;

/// Translates `linear` for `access`, checking rights and setting accessed and dirty bits.
///
/// The address must be canonical in long mode; bits above 32 are ignored outside it.
/// # Errors
/// See [`WalkError`]; after a page fault no bit has been set.
pub fn translate(
    ram: &dyn GuestRam,
    state: &PagingState,
    linear: u64,
    access: Access,
) -> Result<Translation, WalkError> {
    for _ in 0..MAX_WALKS {
        let walk = Walk::new(ram, state, linear, access)?;
        walk.check_rights(state, access)?;
        if walk.mark(ram, access)? {
            return Ok(walk.translation);
        }
    }
    Err(WalkError::Contended { linear })
}

/// Translates `linear` without checking rights and without setting bits, as a debugger or a dump wants it.
pub fn probe(ram: &dyn GuestRam, state: &PagingState, linear: u64) -> Option<Translation> {
    Walk::new(ram, state, linear, Access::Read).ok().map(|walk| walk.translation)
}

/// The layout of the paging structures (SDM vol. 3A table 5-1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    ThirtyTwoBit,
    Pae,
    FourLevel,
    FiveLevel,
}

impl Mode {
    fn of(state: &PagingState) -> Option<Self> {
        if state.cr0 & CR0_PG == 0 {
            None
        } else if state.efer & EFER_LMA != 0 {
            Some(if state.cr4 & CR4_LA57 != 0 { Self::FiveLevel } else { Self::FourLevel })
        } else if state.cr4 & CR4_PAE != 0 {
            Some(Self::Pae)
        } else {
            Some(Self::ThirtyTwoBit)
        }
    }

    /// Bytes of an entry.
    fn width(self) -> u8 {
        if self == Self::ThirtyTwoBit { 4 } else { 8 }
    }

    /// Level of the structure walked first; the page table is level 1. PAE starts below the PDPTEs.
    fn top(self) -> u32 {
        match self {
            Self::ThirtyTwoBit | Self::Pae => 2,
            Self::FourLevel => 4,
            Self::FiveLevel => 5,
        }
    }

    /// The lowest linear address bit that selects an entry at `level`.
    fn shift(self, level: u32) -> u32 {
        let index_bits = if self == Self::ThirtyTwoBit { 10 } else { 9 };
        12 + (level - 1) * index_bits
    }

    /// May an entry of `level` map a page?
    fn maps_page(self, state: &PagingState, level: u32, entry: u64) -> bool {
        level == 1
            || entry & LARGE != 0
                && match self {
                    Self::ThirtyTwoBit => state.cr4 & CR4_PSE != 0,
                    Self::Pae => level == 2,
                    Self::FourLevel | Self::FiveLevel => level <= 3,
                }
    }

    /// Bits that must be 0 in a present entry of `level` (SDM vol. 3A §5.3–§5.5).
    fn reserved(self, state: &PagingState, level: u32, leaf: bool) -> u64 {
        if self == Self::ThirtyTwoBit {
            // PSE-36: bits 20:13 of a 4 MiB page are address bits 39:32, bit 21 is reserved.
            let above = state.physical_bits.clamp(32, 40) - 32;
            let beyond = bits(13 + u32::from(above), 20);
            return if leaf && level == 2 { beyond | 1 << 21 } else { 0 };
        }
        let mut reserved = bits(u32::from(state.physical_bits), 51);
        if state.efer & EFER_NXE == 0 {
            reserved |= EXECUTE_DISABLE;
        }
        if self == Self::Pae {
            reserved |= bits(52, 62);
        }
        if leaf && level > 1 {
            // Address bits below the page's size; bit 12 is PAT.
            reserved |= bits(13, self.shift(level) - 1);
        } else if level > 3 {
            reserved |= LARGE;
        }
        reserved
    }
}

/// Bits `low` to `high`, both included; none if `low` is above `high`.
fn bits(low: u32, high: u32) -> u64 {
    if low > high { 0 } else { (u64::MAX >> (63 - high)) & (u64::MAX << low) }
}

#[derive(Clone, Copy, Default)]
struct Entry {
    gpa: u64,
    value: u64,
}

/// One way through the paging structures, before rights are looked at.
struct Walk {
    linear: u64,
    width: u8,
    entries: [Entry; MAX_LEVELS],
    depth: usize,
    translation: Translation,
}

impl Walk {
    fn new(ram: &dyn GuestRam, state: &PagingState, linear: u64, access: Access) -> Result<Self, WalkError> {
        let Some(mode) = Mode::of(state) else {
            let translation = Translation { gpa: linear & 0xffff_ffff, page_size: 0x1000 };
            return Ok(Self {
                linear,
                width: 8,
                entries: [Entry::default(); MAX_LEVELS],
                depth: 0,
                translation,
            });
        };
        let linear = match mode {
            Mode::ThirtyTwoBit | Mode::Pae => linear & 0xffff_ffff,
            Mode::FourLevel | Mode::FiveLevel => linear,
        };
        let width = mode.width();
        let address_mask = if mode == Mode::ThirtyTwoBit { 0xffff_f000 } else { bits(12, 51) };
        let index_mask = if mode == Mode::ThirtyTwoBit { 0x3ff } else { 0x1ff };
        let fault = |bits| WalkError::PageFault { linear, error_code: error_code(state, access, bits) };

        let mut table = match mode {
            Mode::ThirtyTwoBit => state.cr3 & 0xffff_f000,
            Mode::Pae => {
                let pdpte = page_directory_pointer(ram, state, linear)?;
                if pdpte & PRESENT == 0 {
                    return Err(fault(0));
                }
                pdpte & address_mask
            }
            Mode::FourLevel | Mode::FiveLevel => state.cr3 & address_mask,
        };
        let mut entries = [Entry::default(); MAX_LEVELS];
        for (level, slot) in (1..=mode.top()).rev().zip(&mut entries) {
            let index = linear >> mode.shift(level) & index_mask;
            let gpa = table.wrapping_add(index * u64::from(width));
            let value = read_entry(ram, gpa, width).ok_or(WalkError::TableOutsideRam { linear, gpa })?;
            if value & PRESENT == 0 {
                return Err(fault(0));
            }
            let leaf = mode.maps_page(state, level, value);
            if value & mode.reserved(state, level, leaf) != 0 {
                return Err(fault(FAULT_PRESENT | FAULT_RESERVED));
            }
            *slot = Entry { gpa, value };
            if leaf {
                let depth = (mode.top() + 1 - level) as usize;
                let page_size = 1 << mode.shift(level);
                let mut frame = value & address_mask;
                if mode == Mode::ThirtyTwoBit && level == 2 {
                    frame |= (value >> 13 & 0xff) << 32;
                }
                let gpa = frame & !(page_size - 1) | linear & (page_size - 1);
                return Ok(Self {
                    linear,
                    width,
                    entries,
                    depth,
                    translation: Translation { gpa, page_size },
                });
            }
            table = value & address_mask;
        }
        // Level 1 always maps a page, so the loop has returned.
        Err(fault(0))
    }

    fn used(&self) -> &[Entry] {
        self.entries.get(..self.depth).unwrap_or_default()
    }

    /// SDM vol. 3A §5.6: rights are combined over all levels.
    fn check_rights(&self, state: &PagingState, access: Access) -> Result<(), WalkError> {
        if self.depth == 0 {
            return Ok(());
        }
        let all = self.used().iter().fold(u64::MAX, |all, entry| all & entry.value);
        let any = self.used().iter().fold(0, |any, entry| any | entry.value);
        let user_page = all & USER != 0;
        let writable = all & WRITABLE != 0;
        let execute_disable = self.width == 8 && state.efer & EFER_NXE != 0 && any & EXECUTE_DISABLE != 0;
        let smap = state.cr4 & CR4_SMAP != 0 && !state.alignment_check;
        let allowed = match (access, state.user) {
            (Access::Read, true) => user_page,
            (Access::Write, true) => user_page && writable,
            (Access::Fetch, true) => user_page && !execute_disable,
            (Access::Read, false) => !(user_page && smap),
            (Access::Write, false) => !(user_page && smap) && (writable || state.cr0 & CR0_WP == 0),
            (Access::Fetch, false) => !(execute_disable || user_page && state.cr4 & CR4_SMEP != 0),
        };
        if allowed {
            Ok(())
        } else {
            let error_code = error_code(state, access, FAULT_PRESENT);
            Err(WalkError::PageFault { linear: self.linear, error_code })
        }
    }

    /// Sets accessed bits, and the dirty bit for a write. False: an entry has changed since it was read.
    fn mark(&self, ram: &dyn GuestRam, access: Access) -> Result<bool, WalkError> {
        for (index, entry) in self.used().iter().enumerate() {
            let leaf = index + 1 == self.depth;
            let dirty = if leaf && access == Access::Write { DIRTY } else { 0 };
            let marked = entry.value | ACCESSED | dirty;
            if marked == entry.value {
                continue;
            }
            match ram.replace_entry(entry.gpa, self.width, entry.value, marked) {
                Replaced::Done => {}
                Replaced::Changed => return Ok(false),
                Replaced::NotRam => {
                    return Err(WalkError::TableOutsideRam { linear: self.linear, gpa: entry.gpa });
                }
            }
        }
        Ok(true)
    }
}

/// The error code of a #PF, `bits` being present and reserved (SDM vol. 3A §5.7).
fn error_code(state: &PagingState, access: Access, bits: u32) -> u32 {
    let user = if state.user { FAULT_USER } else { 0 };
    let long_entries = state.cr4 & CR4_PAE != 0 || state.efer & EFER_LMA != 0;
    let told = state.cr4 & CR4_SMEP != 0 || long_entries && state.efer & EFER_NXE != 0;
    bits | user
        | match access {
            Access::Read => 0,
            Access::Write => FAULT_WRITE,
            Access::Fetch if told => FAULT_FETCH,
            Access::Fetch => 0,
        }
}

fn page_directory_pointer(ram: &dyn GuestRam, state: &PagingState, linear: u64) -> Result<u64, WalkError> {
    let index = linear >> 30 & 3;
    if let Some(held) = state.pdptes.and_then(|held| held.get(index as usize).copied()) {
        return Ok(held);
    }
    let gpa = (state.cr3 & 0xffff_ffe0).wrapping_add(index * 8);
    read_entry(ram, gpa, 8).ok_or(WalkError::TableOutsideRam { linear, gpa })
}

fn read_entry(ram: &dyn GuestRam, gpa: u64, width: u8) -> Option<u64> {
    let mut bytes = [0; 8];
    let wanted = bytes.get_mut(..usize::from(width))?;
    ram.read(gpa, wanted).then(|| u64::from_le_bytes(bytes))
}

#[cfg(test)]
#[path = "paging_test.rs"]
mod paging_test;
