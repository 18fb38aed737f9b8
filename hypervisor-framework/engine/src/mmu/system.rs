//! Implicit supervisor accesses: descriptor tables and task-state segments.

use super::Space;
use crate::cpu::{Cpu, Trap};
use crate::memory::Scalar;

impl Cpu {
    /// Does something with supervisor rights, whatever the CPL.
    fn as_supervisor<R>(&mut self, action: impl FnOnce(&mut Self) -> Result<R, Trap>) -> Result<R, Trap> {
        let space = self.mmu.space();
        self.mmu.set_space(Space::Supervisor);
        let result = action(self);
        self.mmu.set_space(space);
        result
    }

    /// Loads with supervisor rights.
    pub(crate) fn load_system<T: Scalar>(&mut self, address: u64) -> Result<T, Trap> {
        self.as_supervisor(|cpu| cpu.load(cpu.wrap_system(address)))
    }

    /// Updates atomically with supervisor rights.
    pub(crate) fn update_system<T: Scalar>(
        &mut self,
        address: u64,
        update: impl FnMut(T) -> T,
    ) -> Result<T, Trap> {
        self.as_supervisor(|cpu| cpu.update_locked(cpu.wrap_system(address), update))
    }

    /// System structures may lie above 4 GiB in compatibility mode, too.
    fn wrap_system(&self, address: u64) -> u64 {
        if self.efer & crate::cpu::control::efer::LMA != 0 { address } else { address & 0xffff_ffff }
    }
}
