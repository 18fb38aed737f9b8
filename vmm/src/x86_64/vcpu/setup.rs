//! Controls a vCPU is made with.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{
    EntryControls, ExitControls, Hypervisor, PinBased, ProcBased, ProcBased2, VmxCapability,
    canonical_control,
};

use super::{VcpuError, X86Vcpu};
use crate::x86_64::cpuid::ProviderFeatures;

/// CR0 bits that must be 1 in VMX operation, where the framework does not tell (before macOS 11): NE.
const CR0_MUST_FALLBACK: u64 = 1 << 5;
/// CR4 bits that must be 1 in VMX operation, where the framework does not tell: VMXE.
const CR4_MUST_FALLBACK: u64 = 1 << 13;
/// An unrestricted guest may clear these although the fixed bits say otherwise (SDM vol. 3, A.7): PE and PG.
const UNRESTRICTED_CR0: u64 = 1 | 1 << 31;

/// #AC is looked at: a guest whose #AC handler faults with #AC again never leaves the processor's microcode by itself.
const EXCEPTION_BITMAP: u64 = 1 << 17;

/// Controls as this host allows them, the same for all vCPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ControlPlan {
    pin: u32,
    /// Without the interrupt and NMI windows, which come and go.
    pub(super) primary: u32,
    secondary: u32,
    pub(super) entry: u32,
    exit: u32,
    /// CR0 bits that must be 1 while the guest runs.
    pub(super) cr0_must: u64,
    /// CR4 bits that must be 1 while the guest runs.
    pub(super) cr4_must: u64,
}

/// What CPUID may offer because the provider lets the instructions through.
pub(crate) fn provider_features(hypervisor: &dyn Hypervisor) -> Result<ProviderFeatures, VcpuError> {
    let secondary = hypervisor.vmx_capability(VmxCapability::PROCBASED2)?;
    let may = |control: ProcBased2| canonical_control(control.bits(), secondary) & control.bits() != 0;
    Ok(ProviderFeatures {
        rdtscp: may(ProcBased2::RDTSCP),
        invpcid: may(ProcBased2::INVPCID),
        // Supervisor XSAVE state is not offered: nothing below the user's needs it, and IA32_XSS would have to be native.
        xsaves: false,
        // Speculation control needs both MSRs native, which is known only once a vCPU exists.
        spec_ctrl: false,
        arch_capabilities: None,
    })
}

impl ControlPlan {
    /// For a guest whose time is counted: the count is exact only outside the guest, so reading the TSC exits.
    #[must_use]
    pub(crate) fn counting_time(self) -> Self {
        Self { primary: self.primary | ProcBased::RDTSC.bits(), ..self }
    }

    /// Asks the provider what it can do.
    pub(crate) fn new(hypervisor: &dyn Hypervisor) -> Result<Self, VcpuError> {
        let control = |want: u32, capability: VmxCapability, need: u32, what: &'static str| {
            let value = canonical_control(want, hypervisor.vmx_capability(capability)?);
            if value & need == need { Ok(value) } else { Err(VcpuError::MissingControl(what)) }
        };
        let pin = PinBased::INTR | PinBased::NMI | PinBased::VIRTUAL_NMI;
        let primary = ProcBased::SECONDARY
            | ProcBased::HLT
            | ProcBased::MWAIT
            | ProcBased::MONITOR
            | ProcBased::RDPMC
            | ProcBased::UNCONDITIONAL_IO
            | ProcBased::MSR_BITMAPS
            | ProcBased::CR8_LOAD
            | ProcBased::CR8_STORE
            | ProcBased::TSC_OFFSET;
        let primary_need = ProcBased::SECONDARY | ProcBased::HLT | ProcBased::CR8_LOAD | ProcBased::CR8_STORE;
        let secondary = ProcBased2::EPT
            | ProcBased2::UNRESTRICTED
            | ProcBased2::VPID
            | ProcBased2::RDTSCP
            | ProcBased2::INVPCID;
        let exit = ExitControls::HOST_IA32E | ExitControls::SAVE_EFER | ExitControls::LOAD_EFER;
        let fixed = |capability, fallback| hypervisor.vmx_capability(capability).unwrap_or(fallback);
        Ok(Self {
            pin: control(
                pin.bits(),
                VmxCapability::PINBASED,
                PinBased::INTR.bits(),
                "external-interrupt exiting",
            )?,
            primary: control(
                primary.bits(),
                VmxCapability::PROCBASED,
                primary_need.bits(),
                "HLT exiting, CR8 exiting and secondary controls",
            )?,
            secondary: control(
                secondary.bits(),
                VmxCapability::PROCBASED2,
                ProcBased2::UNRESTRICTED.bits(),
                "unrestricted guest",
            )?,
            entry: control(
                EntryControls::LOAD_EFER.bits(),
                VmxCapability::ENTRY,
                EntryControls::LOAD_EFER.bits(),
                "loading IA32_EFER at VM entry",
            )?,
            exit: control(exit.bits(), VmxCapability::EXIT, 0, "")?,
            cr0_must: fixed(VmxCapability::CR0_FIXED0, CR0_MUST_FALLBACK) & !UNRESTRICTED_CR0,
            cr4_must: fixed(VmxCapability::CR4_FIXED0, CR4_MUST_FALLBACK),
        })
    }
}

impl X86Vcpu {
    /// Writes the controls that never change and gives the guest its MSRs.
    pub(super) fn set_up(&mut self) -> Result<(), VcpuError> {
        let plan = self.plan;
        self.vcpu.write_vmcs(Field::CTRL_PIN_BASED, plan.pin.into())?;
        self.vcpu.write_vmcs(Field::CTRL_CPU_BASED, plan.primary.into())?;
        self.vcpu.write_vmcs(Field::CTRL_CPU_BASED2, plan.secondary.into())?;
        self.vcpu.write_vmcs(Field::CTRL_VMENTRY_CONTROLS, plan.entry.into())?;
        self.vcpu.write_vmcs(Field::CTRL_VMEXIT_CONTROLS, plan.exit.into())?;
        self.vcpu.write_vmcs(Field::CTRL_EXC_BITMAP, EXCEPTION_BITMAP)?;
        self.events.primary = plan.primary;
        for native in self.msrs.native() {
            match self.vcpu.enable_native_msr(native.msr, true) {
                Ok(()) => {}
                Err(source) if native.required => {
                    return Err(VcpuError::NativeMsr { msr: native.msr, source });
                }
                Err(error) => log::debug!("MSR {:#x} is not native: {error}", native.msr),
            }
        }
        Ok(())
    }
}
