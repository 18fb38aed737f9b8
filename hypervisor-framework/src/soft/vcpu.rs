//! A vCPU of the software provider.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::Engine;

use super::kick::Kick;
use super::lockstep::Twin;
use super::msr::{self, MsrAccess};
use super::run::{Entry, Random};
use super::state::State;
use super::vm::Shared;
use super::{registers, rights};
use crate::x86_64::vmcs::Field;
use crate::x86_64::{Deadline, MsrFlags, Reg, Vcpu, VcpuId, VcpuOptions};
use crate::{Error, Result, ReturnCode};

/// A vCPU, for the thread that created it.
pub(super) struct SoftVcpu {
    pub(super) vm: Arc<Shared>,
    id: VcpuId,
    pub(super) kick: Arc<Kick>,
    pub(super) state: State,
    /// Where it is checked.
    pub(super) twin: Option<Twin>,
    options: VcpuOptions,
    msrs: MsrAccess,
    /// Guest TSC = clock + this, with [`VcpuOptions::TSC_RELATIVE`].
    tsc_relative: i64,
    /// What a client's write to the TSC moved it by.
    tsc_moved: i64,
    /// Flags of the last failed entry: ZF (bit 6) or CF (bit 0).
    pub(super) vmx_status: u32,
    pub(super) in_guest: Duration,
    pub(super) random: Random,
    owner: usize,
}

thread_local! {
    /// Its address tells threads apart.
    static HERE: u8 = const { 0 };
}

/// A number that no other living thread has.
fn this_thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

impl SoftVcpu {
    pub(super) fn new(
        vm: Arc<Shared>,
        id: VcpuId,
        kick: Arc<Kick>,
        engine: Engine,
        options: VcpuOptions,
    ) -> Self {
        let state = State::new(engine, vm.quirks.stale_tpr);
        let random = Random::new(vm.quirks.seed ^ u64::from(id) << 32);
        Self {
            vm,
            id,
            kick,
            state,
            twin: None,
            options,
            msrs: MsrAccess::default(),
            tsc_relative: 0,
            tsc_moved: 0,
            vmx_status: 0,
            in_guest: Duration::ZERO,
            random,
            owner: this_thread(),
        }
    }

    /// Only the owner may call.
    fn owned(&self, call: &'static str) -> Result<()> {
        if this_thread() == self.owner {
            Ok(())
        } else {
            Err(Error { call, code: self.vm.quirks.wrong_thread })
        }
    }

    /// The offset of the guest's TSC from the clock.
    pub(super) fn tsc_offset(&self) -> i64 {
        if self.options.contains(VcpuOptions::TSC_RELATIVE) {
            self.tsc_relative
        } else {
            self.vm.tsc_offset.load(Ordering::SeqCst).wrapping_add(self.tsc_moved)
        }
    }

    fn check_msr(&self, call: &'static str, msr: u32) -> Result<()> {
        let usable =
            msr::NATIVE.contains(&msr) && (!self.vm.quirks.msr_needs_enabling || self.msrs.is_enabled(msr));
        if usable { Ok(()) } else { Err(Error { call, code: ReturnCode::BAD_ARGUMENT }) }
    }

    fn change_msrs(
        &mut self,
        call: &'static str,
        change: impl FnOnce(&mut MsrAccess) -> std::result::Result<(), ReturnCode>,
    ) -> Result<()> {
        self.owned(call)?;
        change(&mut self.msrs).map_err(|code| Error { call, code })?;
        self.state.engine.cpu.intercepts.msrs = self.msrs.rights();
        Ok(())
    }
}

impl Drop for SoftVcpu {
    fn drop(&mut self) {
        self.vm.remove(self.id);
    }
}

const fn bad_argument(call: &'static str) -> Error {
    Error { call, code: ReturnCode::BAD_ARGUMENT }
}

fn refused_image(call: &'static str, error: engine::XsaveImageError) -> Error {
    log::debug!("{call}: {error}");
    bad_argument(call)
}

impl Vcpu for SoftVcpu {
    fn id(&self) -> VcpuId {
        self.id
    }

    fn read_register(&self, reg: Reg) -> Result<u64> {
        const CALL: &str = "hv_vcpu_read_register";
        self.owned(CALL)?;
        registers::read(&self.state, reg).ok_or(bad_argument(CALL))
    }

    fn write_register(&mut self, reg: Reg, value: u64) -> Result<()> {
        const CALL: &str = "hv_vcpu_write_register";
        self.owned(CALL)?;
        registers::write(&mut self.state, reg, value, self.vm.quirks.mpx_ignored).ok_or(bad_argument(CALL))
    }

    fn read_vmcs(&self, field: Field) -> Result<u64> {
        const CALL: &str = "hv_vmx_vcpu_read_vmcs";
        self.owned(CALL)?;
        if field.name().is_none() {
            return Err(bad_argument(CALL));
        }
        Ok(if field == Field::CTRL_TSC_OFFSET { self.tsc_offset() as u64 } else { self.state.get(field) })
    }

    fn write_vmcs(&mut self, field: Field, value: u64) -> Result<()> {
        const CALL: &str = "hv_vmx_vcpu_write_vmcs";
        self.owned(CALL)?;
        if !rights::may_write(field, value) {
            log::debug!("write of {value:#x} to {field:?} refused");
            return Err(Error { call: CALL, code: self.vm.quirks.refused_write });
        }
        self.state.set(field, value);
        if field == Field::GUEST_CR3 && self.vm.quirks.cr3_write_flushes {
            self.state.engine.cpu.flush_tlb();
        }
        Ok(())
    }

    fn vmcs_write_capability(&self, field: Field) -> Result<(u64, u64)> {
        const CALL: &str = "hv_vmx_vcpu_get_cap_write_vmcs";
        self.owned(CALL)?;
        rights::write_capability(field).ok_or(bad_argument(CALL))
    }

    fn enable_native_msr(&mut self, msr: u32, enable: bool) -> Result<()> {
        self.change_msrs("hv_vcpu_enable_native_msr", |msrs| msrs.enable_native(msr, enable))
    }

    fn enable_managed_msr(&mut self, msr: u32, enable: bool) -> Result<()> {
        self.change_msrs("hv_vcpu_enable_managed_msr", |msrs| msrs.enable_managed(msr, enable))
    }

    fn set_msr_access(&mut self, msr: u32, flags: MsrFlags) -> Result<()> {
        self.change_msrs("hv_vcpu_set_msr_access", |msrs| msrs.set_rights(msr, flags))
    }

    fn read_msr(&self, msr: u32) -> Result<u64> {
        const CALL: &str = "hv_vcpu_read_msr";
        self.owned(CALL)?;
        self.check_msr(CALL, msr)?;
        if msr == 0x10 {
            return Ok(self.vm.clock.tsc().wrapping_add(self.tsc_offset() as u64));
        }
        msr::read(&self.state.engine.cpu, msr).ok_or(bad_argument(CALL))
    }

    fn write_msr(&mut self, msr: u32, value: u64) -> Result<()> {
        const CALL: &str = "hv_vcpu_write_msr";
        self.owned(CALL)?;
        self.check_msr(CALL, msr)?;
        if msr == 0x10 {
            let now = self.vm.clock.tsc().wrapping_add(self.tsc_offset() as u64);
            let forward = value.wrapping_sub(now) as i64;
            self.tsc_moved = self.tsc_moved.wrapping_add(forward);
            self.tsc_relative = self.tsc_relative.wrapping_add(forward);
            return Ok(());
        }
        msr::write(&mut self.state.engine.cpu, msr, value).ok_or(bad_argument(CALL))?;
        self.state.changed.guest = true;
        Ok(())
    }

    fn read_fpstate(&self, buffer: &mut [u8]) -> Result<()> {
        const CALL: &str = "hv_vcpu_read_fpstate";
        self.owned(CALL)?;
        self.state.engine.cpu.read_xsave_image(buffer).map_err(|error| refused_image(CALL, error))
    }

    fn write_fpstate(&mut self, buffer: &[u8]) -> Result<()> {
        const CALL: &str = "hv_vcpu_write_fpstate";
        self.owned(CALL)?;
        self.state.engine.cpu.write_xsave_image(buffer).map_err(|error| refused_image(CALL, error))
    }

    fn invalidate_tlb(&mut self) -> Result<()> {
        self.owned("hv_vcpu_invalidate_tlb")?;
        self.state.engine.cpu.flush_tlb();
        if let Some(twin) = &mut self.twin {
            twin.flush_tlb();
        }
        Ok(())
    }

    fn set_apic_address(&mut self, gpa: u64) -> Result<()> {
        const CALL: &str = "hv_vmx_vcpu_set_apic_address";
        self.owned(CALL)?;
        if gpa & 0xfff != 0 || gpa >> engine::PHYSICAL_ADDRESS_BITS != 0 {
            return Err(bad_argument(CALL));
        }
        self.state.store.set(Field::CTRL_APIC_ACCESS, gpa);
        Ok(())
    }

    fn set_tsc_relative(&mut self, offset: i64) -> Result<()> {
        const CALL: &str = "hv_vcpu_set_tsc_relative";
        self.owned(CALL)?;
        if !self.options.contains(VcpuOptions::TSC_RELATIVE) {
            return Err(bad_argument(CALL));
        }
        self.tsc_relative = offset;
        Ok(())
    }

    fn exec_time_ns(&self) -> Result<u64> {
        self.owned("hv_vcpu_get_exec_time")?;
        Ok(u64::try_from(self.in_guest.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The idle time of the in-kernel APIC, which this provider does not have.
    fn idle_time_ns(&self) -> Result<u64> {
        self.owned("hv_vcpu_get_idle_time")?;
        Ok(0)
    }

    fn vmx_status(&self) -> Result<u32> {
        self.owned("hv_vcpu_vmx_status")?;
        Ok(self.vmx_status)
    }

    fn run(&mut self) -> Result<u32> {
        const CALL: &str = "hv_vcpu_run";
        self.owned(CALL)?;
        self.enter(CALL, Entry::Plain)
    }

    fn run_until(&mut self, deadline: Deadline) -> Result<u32> {
        const CALL: &str = "hv_vcpu_run_until";
        self.owned(CALL)?;
        let deadline = match deadline {
            Deadline::Forever => None,
            Deadline::At(instant) => Some(instant),
        };
        self.enter(CALL, Entry::Until(deadline))
    }

    fn run_for(&mut self, instructions: u64) -> Result<u32> {
        const CALL: &str = "run_for";
        self.owned(CALL)?;
        let count = self.state.engine.cpu.instructions().saturating_add(instructions);
        self.enter(CALL, Entry::To(count))
    }

    fn instructions_retired(&self) -> Option<u64> {
        Some(self.state.engine.cpu.instructions())
    }

    fn cache_bytes(&self) -> Option<u64> {
        Some(self.state.engine.statistics().cache_bytes as u64)
    }
}
