//! A vCPU that follows a script, for tests of the exit loop: each run hands the state to the next step of the script, which plays
//! the processor.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{Deadline, MsrFlags, Reg, Vcpu, VcpuId};
use hypervisor_framework::{Error, Result, ReturnCode};

/// Registers and fields.
#[derive(Default)]
pub(super) struct State {
    pub(super) registers: HashMap<u32, u64>,
    pub(super) fields: HashMap<u32, u64>,
    pub(super) msrs: HashMap<u32, u64>,
    pub(super) flushes: u32,
    script: VecDeque<StepOfScript>,
}

type StepOfScript = Box<dyn FnOnce(&mut State) -> u32 + Send>;

impl State {
    pub(super) fn field(&self, field: Field) -> u64 {
        self.fields.get(&field.0).copied().unwrap_or(0)
    }

    pub(super) fn set_field(&mut self, field: Field, value: u64) {
        self.fields.insert(field.0, value);
    }

    pub(super) fn register(&self, reg: Reg) -> u64 {
        self.registers.get(&reg.0).copied().unwrap_or(0)
    }

    pub(super) fn set_register(&mut self, reg: Reg, value: u64) {
        self.registers.insert(reg.0, value);
    }
}

/// The vCPU and the test's view of it.
#[derive(Clone, Default)]
pub(super) struct Scripted(pub(super) Arc<Mutex<State>>);

impl Scripted {
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// Adds a step: what the processor does in the next run, and the exit reason.
    pub(super) fn then(&self, step: impl FnOnce(&mut State) -> u32 + Send + 'static) {
        self.with(|state| state.script.push_back(Box::new(step)));
    }
}

fn refused<T>(call: &'static str) -> Result<T> {
    Err(Error { call, code: ReturnCode::UNSUPPORTED })
}

impl Vcpu for Scripted {
    fn id(&self) -> VcpuId {
        0
    }
    fn read_register(&self, reg: Reg) -> Result<u64> {
        Ok(self.with(|state| state.register(reg)))
    }
    fn write_register(&mut self, reg: Reg, value: u64) -> Result<()> {
        self.with(|state| state.set_register(reg, value));
        Ok(())
    }
    fn read_vmcs(&self, field: Field) -> Result<u64> {
        Ok(self.with(|state| state.field(field)))
    }
    fn write_vmcs(&mut self, field: Field, value: u64) -> Result<()> {
        self.with(|state| state.set_field(field, value));
        Ok(())
    }
    fn vmcs_write_capability(&self, _: Field) -> Result<(u64, u64)> {
        refused("hv_vmx_vcpu_get_cap_write_vmcs")
    }
    fn enable_native_msr(&mut self, _: u32, _: bool) -> Result<()> {
        Ok(())
    }
    fn enable_managed_msr(&mut self, _: u32, _: bool) -> Result<()> {
        refused("hv_vcpu_enable_managed_msr")
    }
    fn set_msr_access(&mut self, _: u32, _: MsrFlags) -> Result<()> {
        refused("hv_vcpu_set_msr_access")
    }
    fn read_msr(&self, msr: u32) -> Result<u64> {
        Ok(self.with(|state| state.msrs.get(&msr).copied().unwrap_or(0)))
    }
    fn write_msr(&mut self, msr: u32, value: u64) -> Result<()> {
        self.with(|state| state.msrs.insert(msr, value));
        Ok(())
    }
    fn read_fpstate(&self, _: &mut [u8]) -> Result<()> {
        refused("hv_vcpu_read_fpstate")
    }
    fn write_fpstate(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn invalidate_tlb(&mut self) -> Result<()> {
        self.with(|state| state.flushes += 1);
        Ok(())
    }
    fn set_apic_address(&mut self, _: u64) -> Result<()> {
        refused("hv_vmx_vcpu_set_apic_address")
    }
    fn set_tsc_relative(&mut self, _: i64) -> Result<()> {
        refused("hv_vcpu_set_tsc_relative")
    }
    fn exec_time_ns(&self) -> Result<u64> {
        Ok(0)
    }
    fn idle_time_ns(&self) -> Result<u64> {
        Ok(0)
    }
    fn vmx_status(&self) -> Result<u32> {
        Ok(0)
    }
    fn run(&mut self) -> Result<u32> {
        refused("hv_vcpu_run")
    }
    fn run_until(&mut self, _: Deadline) -> Result<u32> {
        let step = self.with(|state| state.script.pop_front());
        let Some(step) = step else { return refused("hv_vcpu_run_until") };
        Ok(self.with(|state| {
            state.set_field(Field::RO_IDT_VECTOR_INFO, 0);
            state.set_field(Field::RO_VMEXIT_INSTR_LEN, 0);
            let reason = step(state);
            state.set_field(Field::RO_EXIT_REASON, reason.into());
            reason
        }))
    }
    fn instructions_retired(&self) -> Option<u64> {
        None
    }
    fn cache_bytes(&self) -> Option<u64> {
        None
    }
}
