//! Page-table walks (SDM vol. 3, chapter 4).

use super::Space;
use crate::cpu::control::{PHYSICAL_ADDRESS_BITS, cr0, cr4, efer};
use crate::cpu::{Cpu, Trap, TrapCause};
use crate::exit::{Access, MemoryViolation, Reason};
use crate::memory::{HostPtr, PAGE_SIZE};

/// Page-fault error code bits (SDM vol. 3, 4.7).
pub(crate) mod page_fault_code {
    pub(crate) const PRESENT: u32 = 1 << 0;
    pub(crate) const WRITE: u32 = 1 << 1;
    pub(crate) const USER: u32 = 1 << 2;
    pub(crate) const RESERVED: u32 = 1 << 3;
    pub(crate) const FETCH: u32 = 1 << 4;
}

/// Page-table entry bits.
mod pte {
    pub(super) const P: u64 = 1 << 0;
    pub(super) const W: u64 = 1 << 1;
    pub(super) const U: u64 = 1 << 2;
    pub(super) const A: u64 = 1 << 5;
    pub(super) const D: u64 = 1 << 6;
    pub(super) const PS: u64 = 1 << 7;
    pub(super) const G: u64 = 1 << 8;
    pub(super) const NX: u64 = 1 << 63;
}

const ADDRESS: u64 = ((1 << PHYSICAL_ADDRESS_BITS) - 1) & !(PAGE_SIZE as u64 - 1);
const RESERVED_HIGH: u64 = ((1 << 52) - 1) & !((1 << PHYSICAL_ADDRESS_BITS) - 1);

/// A translated page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Translation {
    /// Guest physical address of the byte asked for.
    pub(crate) gpa: u64,
    /// What paging allows for the space walked for; writing only if the dirty bit is set already.
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) fetch: bool,
    pub(crate) global: bool,
    /// Bytes of a page larger than 4 KiB.
    pub(crate) large: Option<u64>,
}

/// What the levels of the table said on the way.
struct Path {
    writable: bool,
    user: bool,
    no_execute: bool,
}

impl Cpu {
    fn paging_fault(&mut self, address: u64, access: Access, user: bool, code: u32) -> Trap {
        let fetch_reported =
            self.efer & efer::NXE != 0 && self.cr4 & cr4::PAE != 0 || self.cr4 & cr4::SMEP != 0;
        let code = code
            | if access == Access::Write { page_fault_code::WRITE } else { 0 }
            | if user { page_fault_code::USER } else { 0 }
            | if access == Access::Fetch && fetch_reported { page_fault_code::FETCH } else { 0 };
        self.cause = TrapCause::PageFault { address, error_code: code };
        Trap
    }

    /// A physical access that no mapping allows.
    #[cold]
    pub(super) fn violation(
        &mut self,
        gpa: u64,
        linear: Option<u64>,
        access: Access,
        is_final: bool,
    ) -> Trap {
        let allowed = self
            .mmu
            .map
            .find(gpa)
            .map_or((false, false, false), |m| (m.rights.read, m.rights.write, m.rights.execute));
        self.leave(Reason::Memory(MemoryViolation { gpa, linear, access, allowed, is_final }))
    }

    /// The host's address of a paging-structure entry.
    fn entry_pointer(&mut self, gpa: u64, linear: u64) -> Result<HostPtr, Trap> {
        match self.mmu.map.find(gpa) {
            Some(mapping) if mapping.rights.read => Ok(mapping.host(gpa)),
            _ => Err(self.violation(gpa, Some(linear), Access::Read, false)),
        }
    }

    /// Sets accessed and dirty bits in an entry, as one locked update.
    fn mark_entry(
        &mut self,
        pointer: HostPtr,
        gpa: u64,
        linear: u64,
        bits: u64,
        wide: bool,
    ) -> Result<(), Trap> {
        let Some(mapping) = self.mmu.map.find(gpa) else {
            return Err(self.violation(gpa, Some(linear), Access::Write, false));
        };
        if !mapping.rights.write {
            return Err(self.violation(gpa, Some(linear), Access::Write, false));
        }
        let (watch, page) = mapping.watch_page(gpa);
        if watch.is_watched(page) {
            let host_page = pointer.address() & !(PAGE_SIZE - 1);
            self.memory.code_written(watch, page, host_page);
        }
        if wide {
            pointer.update::<u64>(|entry| entry | bits);
        } else {
            pointer.update::<u32>(|entry| entry | bits as u32);
        }
        Ok(())
    }

    /// Walks the page tables for an access from `space`.
    pub(super) fn walk(&mut self, address: u64, access: Access, space: Space) -> Result<Translation, Trap> {
        let user = match space {
            Space::User => true,
            Space::Checked => self.cpl == 3,
            Space::Supervisor | Space::SupervisorAc => false,
        };
        if self.cr0 & cr0::PG == 0 {
            let gpa = address & 0xffff_ffff;
            return Ok(Translation { gpa, read: true, write: true, fetch: true, global: false, large: None });
        }
        if self.cr4 & cr4::PAE == 0 {
            return self.walk_32bit(address, access, user, space);
        }
        let nx = self.efer & efer::NXE != 0;
        let mut path = Path { writable: true, user: true, no_execute: false };
        let mut table;
        let mut level;
        if self.efer & efer::LMA != 0 {
            table = self.cr3 & ADDRESS;
            level = 4;
        } else {
            let pdpte = self.mmu.pdptes[(address >> 30 & 3) as usize];
            if pdpte & pte::P == 0 {
                return Err(self.paging_fault(address, access, user, 0));
            }
            table = pdpte & ADDRESS;
            level = 2;
        }
        loop {
            let shift = 12 + 9 * (level - 1);
            let gpa = table + (address >> shift & 0x1ff) * 8;
            let pointer = self.entry_pointer(gpa, address)?;
            let entry = pointer.read::<u64>();
            if entry & pte::P == 0 {
                return Err(self.paging_fault(address, access, user, 0));
            }
            let leaf = level == 1 || entry & pte::PS != 0 && level <= 3;
            let size = 1_u64 << shift;
            let mut reserved = RESERVED_HIGH;
            if !nx {
                reserved |= pte::NX;
            }
            if level == 4 {
                reserved |= pte::PS;
            } else if leaf && level > 1 {
                reserved |= (size - 1) & ADDRESS & !(1 << 12);
            }
            if self.efer & efer::LMA == 0 {
                reserved |= 0x7ff << 52;
            }
            if entry & reserved != 0 {
                let code = page_fault_code::PRESENT | page_fault_code::RESERVED;
                return Err(self.paging_fault(address, access, user, code));
            }
            path.writable &= entry & pte::W != 0;
            path.user &= entry & pte::U != 0;
            path.no_execute |= nx && entry & pte::NX != 0;
            if leaf {
                let page = entry & ADDRESS & !(size - 1);
                return self.finish(
                    (pointer, gpa, entry, true),
                    page,
                    size,
                    path,
                    address,
                    access,
                    space,
                    user,
                );
            }
            if entry & pte::A == 0 {
                self.mark_entry(pointer, gpa, address, pte::A, true)?;
            }
            table = entry & ADDRESS;
            level -= 1;
        }
    }

    fn walk_32bit(
        &mut self,
        address: u64,
        access: Access,
        user: bool,
        space: Space,
    ) -> Result<Translation, Trap> {
        let mut path = Path { writable: true, user: true, no_execute: false };
        let gpa = (self.cr3 & 0xffff_f000) + (address >> 22 & 0x3ff) * 4;
        let pointer = self.entry_pointer(gpa, address)?;
        let entry = u64::from(pointer.read::<u32>());
        if entry & pte::P == 0 {
            return Err(self.paging_fault(address, access, user, 0));
        }
        path.writable &= entry & pte::W != 0;
        path.user &= entry & pte::U != 0;
        if entry & pte::PS != 0 && self.cr4 & cr4::PSE != 0 {
            // PSE-36: bits 20:13 are address bits 39:32.
            if entry & 1 << 21 != 0 {
                let code = page_fault_code::PRESENT | page_fault_code::RESERVED;
                return Err(self.paging_fault(address, access, user, code));
            }
            let page = entry & 0xffc0_0000 | (entry >> 13 & 0xff) << 32;
            return self.finish(
                (pointer, gpa, entry, false),
                page,
                1 << 22,
                path,
                address,
                access,
                space,
                user,
            );
        }
        if entry & pte::A == 0 {
            self.mark_entry(pointer, gpa, address, pte::A, false)?;
        }
        let gpa = (entry & 0xffff_f000) + (address >> 12 & 0x3ff) * 4;
        let pointer = self.entry_pointer(gpa, address)?;
        let entry = u64::from(pointer.read::<u32>());
        if entry & pte::P == 0 {
            return Err(self.paging_fault(address, access, user, 0));
        }
        path.writable &= entry & pte::W != 0;
        path.user &= entry & pte::U != 0;
        self.finish(
            (pointer, gpa, entry, false),
            entry & 0xffff_f000,
            1 << 12,
            path,
            address,
            access,
            space,
            user,
        )
    }

    /// Checks rights at the leaf and sets its accessed and dirty bits.
    #[allow(clippy::too_many_arguments)] // one step of the walk, split off for its length
    fn finish(
        &mut self,
        (pointer, gpa, entry, wide): (HostPtr, u64, u64, bool),
        page: u64,
        size: u64,
        path: Path,
        address: u64,
        access: Access,
        space: Space,
        user: bool,
    ) -> Result<Translation, Trap> {
        let protect = self.cr0 & cr0::WP != 0;
        let smap = self.cr4 & cr4::SMAP != 0
            && space != Space::SupervisorAc
            && !(space == Space::Checked && self.flags.has(crate::cpu::flags::bit::AC));
        let smep = self.cr4 & cr4::SMEP != 0;
        let read = if user { path.user } else { !(smap && path.user) };
        let write = read && (path.writable || !user && !protect);
        let fetch = !path.no_execute && if user { path.user } else { !(smep && path.user) };
        let allowed = match access {
            Access::Read => read,
            Access::Write => write,
            Access::Fetch => fetch,
        };
        if !allowed {
            return Err(self.paging_fault(address, access, user, page_fault_code::PRESENT));
        }
        let dirty = if access == Access::Write { pte::D } else { 0 };
        let wanted = pte::A | dirty;
        if entry & wanted != wanted {
            self.mark_entry(pointer, gpa, address, wanted, wide)?;
        }
        let is_dirty = (entry | dirty) & pte::D != 0;
        Ok(Translation {
            gpa: page | address & (size - 1),
            read,
            write: write && is_dirty,
            fetch,
            global: self.cr4 & cr4::PGE != 0 && entry & pte::G != 0,
            large: (size > PAGE_SIZE as u64).then_some(size),
        })
    }

    /// Loads the four PDPTEs of PAE paging from memory at CR3 (SDM vol. 3, 4.4.1). False if one has reserved bits set.
    pub(crate) fn load_pdptes(&mut self) -> Result<bool, Trap> {
        let table = self.cr3 & 0xffff_ffe0;
        let mut pdptes = [0; 4];
        for (i, pdpte) in pdptes.iter_mut().enumerate() {
            *pdpte = self.entry_pointer(table + i as u64 * 8, 0)?.read::<u64>();
            if *pdpte & pte::P != 0 && *pdpte & (RESERVED_HIGH | 0xfff0_0000_0000_01e6) != 0 {
                return Ok(false);
            }
        }
        self.mmu.pdptes = pdptes;
        Ok(true)
    }
}
