//! A VM without substance, for tests of what surrounds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hypervisor_framework::x86_64::{MemoryFlags, VcpuId, VcpuOptions, VcpuTicket, Vm};
use hypervisor_framework::{Error, HostRegion, Result, ReturnCode};

/// Counts interrupts, does nothing else.
#[derive(Default)]
pub(crate) struct CountingVm(pub(crate) AtomicUsize);

fn unsupported<T>() -> Result<T> {
    Err(Error { call: "test", code: ReturnCode::UNSUPPORTED })
}

impl Vm for CountingVm {
    fn map(&self, _: &Arc<HostRegion>, _: usize, _: u64, _: usize, _: MemoryFlags) -> Result<()> {
        unsupported()
    }
    fn unmap(&self, _: u64, _: usize) -> Result<()> {
        unsupported()
    }
    fn protect(&self, _: u64, _: usize, _: MemoryFlags) -> Result<()> {
        unsupported()
    }
    fn sync_tsc(&self, _: u64) -> Result<()> {
        unsupported()
    }
    fn tsc_clock(&self) -> Result<u64> {
        unsupported()
    }
    fn vcpu_ticket(&self, _: VcpuOptions) -> Result<Box<dyn VcpuTicket>> {
        unsupported()
    }
    fn interrupt(&self, vcpus: &[VcpuId]) -> Result<()> {
        self.0.fetch_add(vcpus.len(), Ordering::SeqCst);
        Ok(())
    }
}
