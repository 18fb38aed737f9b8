//! A vCPU of the framework, on the thread that created it.
#![allow(unsafe_code)] // foreign functions

use std::marker::PhantomData;

use super::vm::NativeVm;
use super::{check, clock, late, sys};
use crate::x86_64::{Deadline, MsrFlags, Reg, Vcpu, VcpuId, VcpuOptions, vmcs};
use crate::{Error, Result, ReturnCode};

/// Largest XSAVE image handled: AVX-512 and everything before it fit.
const FPSTATE_MAX: usize = 4096;

/// The processor wants XSAVE images on 64-byte boundaries.
#[repr(C, align(64))]
struct FpState([u8; FPSTATE_MAX]);

/// Bound to its thread: the raw pointer marker makes it neither `Send` nor `Sync`.
#[derive(Debug)]
pub(super) struct NativeVcpu {
    id: u32,
    _vm: NativeVm,
    _thread: PhantomData<*const ()>,
}

impl NativeVcpu {
    pub(super) fn create(vm: NativeVm, options: VcpuOptions) -> Result<Self> {
        let mut id = 0;
        // SAFETY: the out-pointer is valid for the call; a VM exists.
        check("hv_vcpu_create", unsafe { sys::hv_vcpu_create(&raw mut id, options.bits()) })?;
        Ok(Self { id, _vm: vm, _thread: PhantomData })
    }

    fn exit_reason(&self) -> Result<u32> {
        self.read_vmcs(vmcs::Field::RO_EXIT_REASON).map(|reason| reason as u32)
    }
}

impl Drop for NativeVcpu {
    fn drop(&mut self) {
        // SAFETY: this type never leaves the thread that created the vCPU.
        if let Err(error) = check("hv_vcpu_destroy", unsafe { sys::hv_vcpu_destroy(self.id) }) {
            log::error!("{error}");
        }
    }
}

// Every SAFETY below rests on the same two facts: `NativeVcpu` stays on the thread that created the vCPU, and
// out-pointers are to locals.
impl Vcpu for NativeVcpu {
    fn id(&self) -> VcpuId {
        self.id
    }

    fn read_register(&self, reg: Reg) -> Result<u64> {
        let mut value = 0;
        // SAFETY: owning thread; valid out-pointer.
        check("hv_vcpu_read_register", unsafe {
            sys::hv_vcpu_read_register(self.id, reg.0, &raw mut value)
        })?;
        Ok(value)
    }

    fn write_register(&mut self, reg: Reg, value: u64) -> Result<()> {
        // SAFETY: owning thread.
        check("hv_vcpu_write_register", unsafe { sys::hv_vcpu_write_register(self.id, reg.0, value) })
    }

    fn read_vmcs(&self, field: vmcs::Field) -> Result<u64> {
        let mut value = 0;
        // SAFETY: owning thread; valid out-pointer.
        check("hv_vmx_vcpu_read_vmcs", unsafe {
            sys::hv_vmx_vcpu_read_vmcs(self.id, field.0, &raw mut value)
        })?;
        Ok(value)
    }

    fn write_vmcs(&mut self, field: vmcs::Field, value: u64) -> Result<()> {
        // SAFETY: owning thread; the framework refuses fields that would reach beyond the guest.
        check("hv_vmx_vcpu_write_vmcs", unsafe { sys::hv_vmx_vcpu_write_vmcs(self.id, field.0, value) })
    }

    fn vmcs_write_capability(&self, field: vmcs::Field) -> Result<(u64, u64)> {
        let (mut allowed_0, mut allowed_1) = (0, 0);
        // SAFETY: owning thread; valid out-pointers.
        let code = unsafe {
            sys::hv_vmx_vcpu_get_cap_write_vmcs(self.id, field.0, &raw mut allowed_0, &raw mut allowed_1)
        };
        check("hv_vmx_vcpu_get_cap_write_vmcs", code)?;
        Ok((allowed_0, allowed_1))
    }

    fn enable_native_msr(&mut self, msr: u32, enable: bool) -> Result<()> {
        // SAFETY: owning thread.
        check("hv_vcpu_enable_native_msr", unsafe { sys::hv_vcpu_enable_native_msr(self.id, msr, enable) })
    }

    fn enable_managed_msr(&mut self, msr: u32, enable: bool) -> Result<()> {
        // SAFETY: owning thread.
        check("hv_vcpu_enable_managed_msr", unsafe { sys::hv_vcpu_enable_managed_msr(self.id, msr, enable) })
    }

    fn set_msr_access(&mut self, msr: u32, flags: MsrFlags) -> Result<()> {
        // SAFETY: owning thread.
        check("hv_vcpu_set_msr_access", unsafe { sys::hv_vcpu_set_msr_access(self.id, msr, flags.bits()) })
    }

    fn read_msr(&self, msr: u32) -> Result<u64> {
        let mut value = 0;
        // SAFETY: owning thread; valid out-pointer.
        check("hv_vcpu_read_msr", unsafe { sys::hv_vcpu_read_msr(self.id, msr, &raw mut value) })?;
        Ok(value)
    }

    fn write_msr(&mut self, msr: u32, value: u64) -> Result<()> {
        // SAFETY: owning thread; the value goes by value, not by pointer.
        check("hv_vcpu_write_msr", unsafe { sys::hv_vcpu_write_msr(self.id, msr, value) })
    }

    fn read_fpstate(&self, buffer: &mut [u8]) -> Result<()> {
        const CALL: &str = "hv_vcpu_read_fpstate";
        let mut state = FpState([0; FPSTATE_MAX]);
        let Some(image) = state.0.get_mut(..buffer.len()) else {
            return Err(Error { call: CALL, code: ReturnCode::BAD_ARGUMENT });
        };
        // SAFETY: owning thread; the aligned image is writable for the size given.
        check(CALL, unsafe { sys::hv_vcpu_read_fpstate(self.id, image.as_mut_ptr().cast(), image.len()) })?;
        buffer.copy_from_slice(image);
        Ok(())
    }

    fn write_fpstate(&mut self, buffer: &[u8]) -> Result<()> {
        const CALL: &str = "hv_vcpu_write_fpstate";
        let mut state = FpState([0; FPSTATE_MAX]);
        let Some(image) = state.0.get_mut(..buffer.len()) else {
            return Err(Error { call: CALL, code: ReturnCode::BAD_ARGUMENT });
        };
        image.copy_from_slice(buffer);
        // SAFETY: owning thread; the aligned image is readable for the size given.
        check(CALL, unsafe { sys::hv_vcpu_write_fpstate(self.id, image.as_ptr().cast(), image.len()) })
    }

    fn invalidate_tlb(&mut self) -> Result<()> {
        // SAFETY: owning thread.
        check("hv_vcpu_invalidate_tlb", unsafe { sys::hv_vcpu_invalidate_tlb(self.id) })
    }

    fn set_apic_address(&mut self, gpa: u64) -> Result<()> {
        // SAFETY: owning thread.
        check("hv_vmx_vcpu_set_apic_address", unsafe { sys::hv_vmx_vcpu_set_apic_address(self.id, gpa) })
    }

    fn set_tsc_relative(&mut self, offset: i64) -> Result<()> {
        // SAFETY: owning thread.
        check("hv_vcpu_set_tsc_relative", unsafe { sys::hv_vcpu_set_tsc_relative(self.id, offset) })
    }

    fn exec_time_ns(&self) -> Result<u64> {
        let mut time = 0;
        // SAFETY: owning thread; valid out-pointer.
        check("hv_vcpu_get_exec_time", unsafe { sys::hv_vcpu_get_exec_time(self.id, &raw mut time) })?;
        Ok(time)
    }

    fn idle_time_ns(&self) -> Result<u64> {
        late::idle_time_ns(self.id)
    }

    fn vmx_status(&self) -> Result<u32> {
        late::vmx_status(self.id)
    }

    fn run(&mut self) -> Result<u32> {
        // SAFETY: owning thread; the memory mapped into the VM is kept alive by it.
        check("hv_vcpu_run", unsafe { sys::hv_vcpu_run(self.id) })?;
        self.exit_reason()
    }

    fn run_until(&mut self, deadline: Deadline) -> Result<u32> {
        let until = match deadline {
            Deadline::Forever => sys::DEADLINE_FOREVER,
            Deadline::At(instant) => clock::mach_time(instant),
        };
        // SAFETY: as `run`.
        check("hv_vcpu_run_until", unsafe { sys::hv_vcpu_run_until(self.id, until) })?;
        self.exit_reason()
    }

    fn instructions_retired(&self) -> Option<u64> {
        None
    }

    fn cache_bytes(&self) -> Option<u64> {
        None
    }
}
