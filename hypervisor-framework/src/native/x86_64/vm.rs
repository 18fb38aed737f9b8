//! The process's virtual machine.
#![allow(unsafe_code)] // foreign functions

use std::sync::{Arc, Mutex, PoisonError};

use super::vcpu::NativeVcpu;
use super::{check, sys};
use crate::native::backing::Backings;
use crate::x86_64::{MemoryFlags, Vcpu, VcpuId, VcpuOptions, VcpuTicket, Vm, VmOptions};
use crate::{Error, HostRegion, Result, ReturnCode};

/// The VM of this process; the framework knows it without a handle. Shared by the tickets and vCPUs made from it, so
/// that it is destroyed last.
#[derive(Debug, Clone)]
pub(super) struct NativeVm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Keeps mapped host memory alive. Held across `hv_vm_map` and `hv_vm_unmap`, so that both agree.
    backings: Mutex<Backings>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: no vCPU is left: each holds a reference to this VM. Host memory is released after this call.
        if let Err(error) = check("hv_vm_destroy", unsafe { sys::hv_vm_destroy() }) {
            log::error!("{error}");
        }
    }
}

impl NativeVm {
    pub(super) fn create(options: VmOptions) -> Result<Self> {
        // SAFETY: no preconditions; a second VM in the process is refused by the framework.
        check("hv_vm_create", unsafe { sys::hv_vm_create(options.bits()) })?;
        Ok(Self(Arc::new(Inner { backings: Mutex::default() })))
    }
}

impl Vm for NativeVm {
    fn map(
        &self,
        backing: &Arc<HostRegion>,
        offset: usize,
        gpa: u64,
        size: usize,
        flags: MemoryFlags,
    ) -> Result<()> {
        const CALL: &str = "hv_vm_map";
        let end = offset.checked_add(size).filter(|end| size != 0 && *end <= backing.size());
        if end.is_none() || gpa.checked_add(size as u64).is_none() {
            return Err(Error { call: CALL, code: ReturnCode::BAD_ARGUMENT });
        }
        let mut backings = self.0.backings.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the range lies within `backing`, which `backings` keeps alive while it is mapped. The guest's accesses
        // race with the host's, which is why no reference to this memory ever exists.
        check(CALL, unsafe {
            sys::hv_vm_map(backing.as_ptr().wrapping_add(offset).cast(), gpa, size, flags.bits())
        })?;
        backings.insert(gpa, size as u64, Arc::clone(backing));
        Ok(())
    }

    fn unmap(&self, gpa: u64, size: usize) -> Result<()> {
        let mut backings = self.0.backings.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: takes access away; no pointer is passed.
        check("hv_vm_unmap", unsafe { sys::hv_vm_unmap(gpa, size) })?;
        backings.remove(gpa, size as u64);
        Ok(())
    }

    fn protect(&self, gpa: u64, size: usize, flags: MemoryFlags) -> Result<()> {
        // SAFETY: changes the rights of ranges mapped before; no pointer is passed.
        check("hv_vm_protect", unsafe { sys::hv_vm_protect(gpa, size, flags.bits()) })
    }

    fn sync_tsc(&self, tsc: u64) -> Result<()> {
        // SAFETY: no pointer is passed.
        check("hv_vm_sync_tsc", unsafe { sys::hv_vm_sync_tsc(tsc) })
    }

    fn tsc_clock(&self) -> Result<u64> {
        // SAFETY: valid while a VM exists, which `self` stands for.
        Ok(unsafe { sys::hv_tsc_clock() })
    }

    fn vcpu_ticket(&self, options: VcpuOptions) -> Result<Box<dyn VcpuTicket>> {
        Ok(Box::new(Ticket { vm: self.clone(), options }))
    }

    fn interrupt(&self, vcpus: &[VcpuId]) -> Result<()> {
        const CALL: &str = "hv_vcpu_interrupt";
        let mut vcpus = vcpus.to_vec();
        let count =
            u32::try_from(vcpus.len()).map_err(|_| Error { call: CALL, code: ReturnCode::BAD_ARGUMENT })?;
        // SAFETY: the array holds `count` ids; the call is allowed from any thread.
        check(CALL, unsafe { sys::hv_vcpu_interrupt(vcpus.as_mut_ptr(), count) })
    }
}

struct Ticket {
    vm: NativeVm,
    options: VcpuOptions,
}

impl VcpuTicket for Ticket {
    fn claim(self: Box<Self>) -> Result<Box<dyn Vcpu>> {
        Ok(Box::new(NativeVcpu::create(self.vm, self.options)?))
    }
}
