//! Loads and stores at linear addresses.
#![allow(unsafe_code)] // turns TLB entries back into host pointers

use super::Space;
use crate::cpu::control::{Mode, cr0};
use crate::cpu::flags::bit;
use crate::cpu::trap_vector as vector;
use crate::cpu::{Cpu, Trap, TrapCause, slot};
use crate::exit::Access;
use crate::memory::{HostPtr, PAGE_SIZE, Scalar, WriteWatch};

const PAGE_MASK: u64 = PAGE_SIZE as u64 - 1;

#[inline(always)]
fn host(address: usize) -> HostPtr {
    // SAFETY: TLB entries name pages of the mappings in `Mmu::map`, which keeps them alive; the entries are flushed
    // before the map is replaced.
    unsafe { HostPtr::from_address(address) }
}

impl Cpu {
    /// Loads a value of any alignment.
    #[inline(always)]
    pub(crate) fn load<T: Scalar>(&mut self, address: u64) -> Result<T, Trap> {
        match self.mmu.lookup_read(address, T::SIZE) {
            Some(at) => Ok(host(at).read()),
            None => self.load_slow(address),
        }
    }

    /// Stores a value at any alignment.
    #[inline(always)]
    pub(crate) fn store<T: Scalar>(&mut self, address: u64, value: T) -> Result<(), Trap> {
        match self.mmu.lookup_write(address, T::SIZE) {
            Some(at) => {
                host(at).write(value);
                Ok(())
            }
            None => self.store_slow(address, value),
        }
    }

    /// Replaces a value in memory by `update(old)`; answers `old`. Not atomic.
    #[inline(always)]
    pub(crate) fn update<T: Scalar>(
        &mut self,
        address: u64,
        mut update: impl FnMut(T) -> T,
    ) -> Result<T, Trap> {
        match self.mmu.lookup_write(address, T::SIZE) {
            Some(at) => {
                let old = host(at).read();
                host(at).write(update(old));
                Ok(old)
            }
            None => {
                self.probe_write(address, T::SIZE)?;
                let old = self.load(address)?;
                self.store(address, update(old))?;
                Ok(old)
            }
        }
    }

    /// As [`Self::update`], in one atomic step. Across a page border it is not atomic.
    pub(crate) fn update_locked<T: Scalar>(
        &mut self,
        address: u64,
        update: impl FnMut(T) -> T,
    ) -> Result<T, Trap> {
        if let Some(at) = self.mmu.lookup_write(address, T::SIZE) {
            return Ok(host(at).update(update));
        }
        self.check_alignment(address, T::SIZE)?;
        if address & PAGE_MASK > (PAGE_SIZE - T::SIZE) as u64 {
            return self.update(address, update);
        }
        let at = self.translate(address, Access::Write)?;
        Ok(at.update(update))
    }

    /// 16 bytes of any alignment.
    #[inline(always)]
    pub(crate) fn load_u128(&mut self, address: u64) -> Result<u128, Trap> {
        match self.mmu.lookup_read(address, 16) {
            Some(at) => Ok(host(at).read_u128()),
            None => self.load_u128_slow(address),
        }
    }

    #[cold]
    #[inline(never)]
    fn load_u128_slow(&mut self, address: u64) -> Result<u128, Trap> {
        let low = self.load::<u64>(address)?;
        let high = self.load::<u64>(self.wrap(address.wrapping_add(8)))?;
        Ok(u128::from(low) | u128::from(high) << 64)
    }

    /// 16 bytes at any alignment.
    #[inline(always)]
    pub(crate) fn store_u128(&mut self, address: u64, value: u128) -> Result<(), Trap> {
        match self.mmu.lookup_write(address, 16) {
            Some(at) => {
                host(at).write_u128(value);
                Ok(())
            }
            None => self.store_u128_slow(address, value),
        }
    }

    #[cold]
    #[inline(never)]
    fn store_u128_slow(&mut self, address: u64, value: u128) -> Result<(), Trap> {
        self.probe_write(address, 16)?;
        self.store(address, value as u64)?;
        self.store(self.wrap(address.wrapping_add(8)), (value >> 64) as u64)
    }

    /// CMPXCHG16B's memory step; `address` is 16-byte aligned. Answers what was there.
    pub(crate) fn compare_exchange_u128(&mut self, address: u64, old: u128, new: u128) -> Result<u128, Trap> {
        let at = match self.mmu.lookup_write(address, 16) {
            Some(at) => host(at),
            None => self.translate(address, Access::Write)?,
        };
        Ok(at.compare_exchange_u128(old, new))
    }

    /// Reads bytes, across pages if need be.
    pub(crate) fn load_bytes(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Trap> {
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = self.load(self.wrap(address.wrapping_add(i as u64)))?;
        }
        Ok(())
    }

    /// Writes bytes, across pages if need be, all or nothing. At most a page long.
    pub(crate) fn store_bytes(&mut self, address: u64, bytes: &[u8]) -> Result<(), Trap> {
        self.probe_write(address, bytes.len())?;
        for (i, byte) in bytes.iter().enumerate() {
            self.store(self.wrap(address.wrapping_add(i as u64)), *byte)?;
        }
        Ok(())
    }

    /// Linear addresses have 32 bits outside of 64-bit mode.
    #[inline(always)]
    pub(crate) fn wrap(&self, address: u64) -> u64 {
        if self.mode.is64() { address } else { address & 0xffff_ffff }
    }

    /// Checks that `size` bytes (at most a page) can be written, with all side effects of doing so but the store.
    pub(crate) fn probe_write(&mut self, address: u64, size: usize) -> Result<(), Trap> {
        if size == 0 {
            return Ok(());
        }
        self.translate(address, Access::Write)?;
        let last = self.wrap(address.wrapping_add(size as u64 - 1));
        if (last ^ address) & !PAGE_MASK != 0 {
            self.translate(last & !PAGE_MASK, Access::Write)?;
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn load_slow<T: Scalar>(&mut self, address: u64) -> Result<T, Trap> {
        self.check_alignment(address, T::SIZE)?;
        if address & PAGE_MASK <= (PAGE_SIZE - T::SIZE) as u64 {
            let value = self.translate(address, Access::Read)?.read();
            self.watch_data(address, T::SIZE, Access::Read);
            return Ok(value);
        }
        let mut value = 0;
        for i in 0..T::SIZE as u64 {
            let byte = self.translate(self.wrap(address.wrapping_add(i)), Access::Read)?.read::<u8>();
            value |= u64::from(byte) << (8 * i);
        }
        self.watch_data(address, T::SIZE, Access::Read);
        Ok(T::narrow(value))
    }

    #[cold]
    #[inline(never)]
    fn store_slow<T: Scalar>(&mut self, address: u64, value: T) -> Result<(), Trap> {
        self.check_alignment(address, T::SIZE)?;
        if address & PAGE_MASK <= (PAGE_SIZE - T::SIZE) as u64 {
            self.translate(address, Access::Write)?.write(value);
        } else {
            self.probe_write(address, T::SIZE)?;
            for i in 0..T::SIZE as u64 {
                let at = self.wrap(address.wrapping_add(i));
                self.translate(at, Access::Write)?.write((value.widen() >> (8 * i)) as u8);
            }
        }
        self.watch_data(address, T::SIZE, Access::Write);
        Ok(())
    }

    /// #AC for CPL 3 with CR0.AM and EFLAGS.AC.
    pub(crate) fn check_alignment(&mut self, address: u64, size: usize) -> Result<(), Trap> {
        if self.mmu.space() == Space::Checked
            && self.cpl == 3
            && self.cr0 & cr0::AM != 0
            && self.flags.has(bit::AC)
            && address & (size as u64 - 1) != 0
        {
            return Err(self.fault_with(vector::AC, 0));
        }
        Ok(())
    }

    /// Is the address canonical (64-bit mode, 48 bits)?
    #[inline(always)]
    pub(crate) fn canonical(address: u64) -> bool {
        (address as i64) << 16 >> 16 == address as i64
    }

    /// Guest physical address of an instruction fetch.
    pub(crate) fn code_gpa(&mut self, linear: u64) -> Result<u64, Trap> {
        let space = self.mmu.space();
        Ok(self.walk(linear, Access::Fetch, space)?.gpa)
    }

    /// The host's address of one byte for an access from the current space; fills the TLB.
    pub(crate) fn translate(&mut self, address: u64, access: Access) -> Result<HostPtr, Trap> {
        let cached = match access {
            Access::Read => self.mmu.lookup_read(address, 1),
            Access::Write => self.mmu.lookup_write(address, 1),
            Access::Fetch => self.mmu.lookup_fetch(address),
        };
        if let Some(at) = cached {
            return Ok(host(at));
        }
        if let Some(at) = self.mmu.refill(address, access) {
            return Ok(host(at));
        }
        if !Self::canonical(address) {
            self.cause = TrapCause::BadAddress;
            return Err(Trap);
        }
        let space = self.mmu.space();
        let found = self.walk(address, access, space)?;
        let Some(mapping) = self.mmu.map.find(found.gpa) else {
            return Err(self.violation(found.gpa, Some(address), access, true));
        };
        let rights = mapping.rights;
        let allowed = match access {
            Access::Read => rights.read,
            Access::Write => rights.write,
            Access::Fetch => rights.execute,
        };
        if !allowed {
            return Err(self.violation(found.gpa, Some(address), access, true));
        }
        let at = mapping.host(found.gpa);
        let host_page = at.address() & !(PAGE_SIZE - 1);
        let (watch, page) = mapping.watch_page(found.gpa);
        let mut has_code = watch.is_watched(page);
        if has_code && access == Access::Write {
            let watch = watch.clone();
            self.overwrite_code(&watch, page, host_page)?;
            has_code = false;
        }
        if !self.watched(address) {
            let rights = (
                found.read && rights.read,
                found.write && rights.write && !has_code,
                found.fetch && rights.execute,
            );
            self.mmu.insert(address, access, host_page, rights, found.global, found.large);
        }
        Ok(at)
    }

    /// Before a store to a page that holds translated code. A block that writes to its own page is left first: the
    /// instruction is tried again alone, so that what follows it is decoded anew.
    fn overwrite_code(&mut self, watch: &WriteWatch, page: usize, host_page: usize) -> Result<(), Trap> {
        if !self.mode.has(Mode::SINGLE) {
            let code = self.code_address(self.regs[slot::BLOCK_RIP as usize]);
            let own = self.mmu.lookup_fetch(code).is_none_or(|at| at & !(PAGE_SIZE - 1) == host_page);
            if own {
                self.cause = TrapCause::Retry;
                return Err(Trap);
            }
        }
        self.memory.code_written(watch, page, host_page);
        Ok(())
    }
}
