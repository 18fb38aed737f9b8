//! A virtual machine of the software provider.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::{Engine, EngineOptions, TimeSource};

use super::kick::Kick;
use super::lockstep::{Lockstep, Twin};
use super::memory::Memory;
use super::vcpu::SoftVcpu;
use super::{Quirks, capability};
use crate::x86_64::{MemoryFlags, Vcpu, VcpuId, VcpuOptions, VcpuTicket, Vm};
use crate::{Error, HostRegion, Result, ReturnCode};

/// The VM, shared by its tickets and vCPUs.
#[derive(Clone)]
pub(super) struct SoftVm(Arc<Shared>);

pub(super) struct Shared {
    pub(super) quirks: Quirks,
    options: EngineOptions,
    pub(super) clock: Arc<dyn TimeSource>,
    pub(super) tsc_frequency_hz: u64,
    pub(super) memory: Memory,
    /// What `hv_vm_sync_tsc` made of the guest's TSC: guest = clock + this.
    pub(super) tsc_offset: AtomicI64,
    vcpus: Mutex<Vcpus>,
    /// Where CPUs are checked.
    pub(super) lockstep: Option<Lockstep>,
    /// Tickets given out.
    tickets: AtomicU64,
    /// The provider's count of VMs.
    count: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Vcpus {
    next: VcpuId,
    kicks: BTreeMap<VcpuId, Arc<Kick>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SoftVm {
    pub(super) fn new(
        quirks: Quirks,
        options: EngineOptions,
        clock: Arc<dyn TimeSource>,
        tsc_frequency_hz: u64,
        count: Arc<AtomicUsize>,
    ) -> Self {
        let memory = Memory::new(&quirks);
        Self(Arc::new(Shared {
            quirks,
            options,
            clock,
            tsc_frequency_hz,
            memory,
            tsc_offset: AtomicI64::new(0),
            vcpus: Mutex::default(),
            lockstep: options.check.map(|_| Lockstep::default()),
            tickets: AtomicU64::new(0),
            count,
        }))
    }
}

impl Shared {
    fn add(&self, engine: &Engine) -> Option<(VcpuId, Arc<Kick>)> {
        let mut vcpus = self.vcpus.lock().unwrap_or_else(PoisonError::into_inner);
        if vcpus.kicks.len() as u64 >= capability::VCPU_MAX {
            return None;
        }
        let id = vcpus.next;
        vcpus.next = vcpus.next.wrapping_add(1);
        let kick = Arc::new(Kick::new(engine.kicker(), self.quirks.sticky_kicks));
        vcpus.kicks.insert(id, Arc::clone(&kick));
        Some((id, kick))
    }

    pub(super) fn remove(&self, id: VcpuId) {
        self.vcpus.lock().unwrap_or_else(PoisonError::into_inner).kicks.remove(&id);
    }
}

fn answer(call: &'static str, result: std::result::Result<(), ReturnCode>) -> Result<()> {
    result.map_err(|code| Error { call, code })
}

impl Vm for SoftVm {
    fn map(
        &self,
        backing: &Arc<HostRegion>,
        offset: usize,
        gpa: u64,
        size: usize,
        flags: MemoryFlags,
    ) -> Result<()> {
        answer("hv_vm_map", self.0.memory.map(backing, offset, gpa, size, flags))
    }

    fn unmap(&self, gpa: u64, size: usize) -> Result<()> {
        answer("hv_vm_unmap", self.0.memory.unmap(gpa, size))
    }

    fn protect(&self, gpa: u64, size: usize, flags: MemoryFlags) -> Result<()> {
        answer("hv_vm_protect", self.0.memory.protect(gpa, size, flags))
    }

    fn sync_tsc(&self, tsc: u64) -> Result<()> {
        self.0.tsc_offset.store(tsc.wrapping_sub(self.0.clock.tsc()) as i64, Ordering::SeqCst);
        Ok(())
    }

    fn tsc_clock(&self) -> Result<u64> {
        Ok(self.0.clock.tsc())
    }

    fn vcpu_ticket(&self, options: VcpuOptions) -> Result<Box<dyn VcpuTicket>> {
        let number = self.0.tickets.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Ticket { vm: Arc::clone(&self.0), options, number }))
    }

    fn interrupt(&self, vcpus: &[VcpuId]) -> Result<()> {
        let kicks: Option<Vec<_>> = {
            let known = self.0.vcpus.lock().unwrap_or_else(PoisonError::into_inner);
            vcpus.iter().map(|id| known.kicks.get(id).cloned()).collect()
        };
        let code = ReturnCode::BAD_ARGUMENT;
        for kick in kicks.ok_or(Error { call: "hv_vcpu_interrupt", code })? {
            kick.kick();
        }
        Ok(())
    }
}

struct Ticket {
    vm: Arc<Shared>,
    options: VcpuOptions,
    /// Threads claim in any order; what differs between seeded vCPUs follows this number.
    number: u64,
}

impl VcpuTicket for Ticket {
    fn claim(self: Box<Self>) -> Result<Box<dyn Vcpu>> {
        let mut options = self.vm.options;
        options.seed = options.seed.map(|seed| seed ^ self.number << 32);
        let engine = Engine::with_options(self.vm.memory.engine(), Arc::clone(&self.vm.clock), options);
        let twin = match (&self.vm.lockstep, options.check) {
            (Some(lockstep), Some(every)) => {
                Some(Twin::new(lockstep, Arc::clone(&self.vm.clock), options, every))
            }
            _ => None,
        };
        let code = ReturnCode::NO_RESOURCES;
        let (id, kick) = self.vm.add(&engine).ok_or(Error { call: "hv_vcpu_create", code })?;
        let mut vcpu = SoftVcpu::new(self.vm, id, kick, engine, self.options);
        vcpu.twin = twin;
        Ok(Box::new(vcpu))
    }
}
