//! Bits of the VMX control fields (SDM vol. 3, chapter 25).

bitflags::bitflags! {
    /// Pin-based controls, [`Field::CTRL_PIN_BASED`](super::vmcs::Field::CTRL_PIN_BASED).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct PinBased: u32 {
        /// External interrupts of the host exit.
        const INTR = 1 << 0;
        /// NMIs of the host exit.
        const NMI = 1 << 3;
        /// NMI blocking is the guest's own.
        const VIRTUAL_NMI = 1 << 5;
        /// The VMX-preemption timer counts down in the guest.
        const PREEMPTION_TIMER = 1 << 6;
        /// Posted interrupts.
        const POSTED_INTERRUPTS = 1 << 7;
    }

    /// Primary processor-based controls, [`Field::CTRL_CPU_BASED`](super::vmcs::Field::CTRL_CPU_BASED).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ProcBased: u32 {
        /// Exit when the guest can take an interrupt.
        const IRQ_WINDOW = 1 << 2;
        /// RDTSC adds the TSC offset.
        const TSC_OFFSET = 1 << 3;
        /// HLT exits.
        const HLT = 1 << 7;
        /// INVLPG exits.
        const INVLPG = 1 << 9;
        /// MWAIT exits.
        const MWAIT = 1 << 10;
        /// RDPMC exits.
        const RDPMC = 1 << 11;
        /// RDTSC and RDTSCP exit.
        const RDTSC = 1 << 12;
        /// MOV to CR3 exits, CR3 targets excepted.
        const CR3_LOAD = 1 << 15;
        /// MOV from CR3 exits.
        const CR3_STORE = 1 << 16;
        /// MOV to CR8 exits.
        const CR8_LOAD = 1 << 19;
        /// MOV from CR8 exits.
        const CR8_STORE = 1 << 20;
        /// CR8 is the virtual APIC page's TPR.
        const TPR_SHADOW = 1 << 21;
        /// Exit when the guest can take an NMI.
        const NMI_WINDOW = 1 << 22;
        /// MOV DR exits.
        const MOV_DR = 1 << 23;
        /// All port accesses exit.
        const UNCONDITIONAL_IO = 1 << 24;
        /// The I/O bitmaps choose which ports exit.
        const IO_BITMAPS = 1 << 25;
        /// Exit after each instruction.
        const MONITOR_TRAP = 1 << 27;
        /// The MSR bitmaps choose which MSRs exit.
        const MSR_BITMAPS = 1 << 28;
        /// MONITOR exits.
        const MONITOR = 1 << 29;
        /// PAUSE exits.
        const PAUSE = 1 << 30;
        /// The secondary controls count.
        const SECONDARY = 1 << 31;
    }

    /// Secondary processor-based controls, [`Field::CTRL_CPU_BASED2`](super::vmcs::Field::CTRL_CPU_BASED2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ProcBased2: u32 {
        /// Accesses to the APIC-access page exit with reason 44.
        const VIRTUAL_APIC = 1 << 0;
        /// Nested paging.
        const EPT = 1 << 1;
        /// LGDT, LIDT, LLDT, LTR and their stores exit.
        const DESCRIPTOR_TABLE = 1 << 2;
        /// RDTSCP and RDPID exist.
        const RDTSCP = 1 << 3;
        /// x2APIC MSR virtualization.
        const X2APIC = 1 << 4;
        /// Tagged TLB.
        const VPID = 1 << 5;
        /// WBINVD exits.
        const WBINVD = 1 << 6;
        /// Real mode and unpaged protected mode can run.
        const UNRESTRICTED = 1 << 7;
        /// APIC register virtualization.
        const APIC_REGISTERS = 1 << 8;
        /// Virtual interrupt delivery.
        const INTERRUPT_DELIVERY = 1 << 9;
        /// Loops of PAUSE exit.
        const PAUSE_LOOP = 1 << 10;
        /// RDRAND exits.
        const RDRAND = 1 << 11;
        /// INVPCID exists.
        const INVPCID = 1 << 12;
        /// VM functions.
        const VMFUNC = 1 << 13;
        /// VMCS shadowing.
        const VMCS_SHADOW = 1 << 14;
        /// ENCLS exits.
        const ENCLS = 1 << 15;
        /// RDSEED exits.
        const RDSEED = 1 << 16;
        /// Page-modification logging.
        const PML = 1 << 17;
        /// EPT violations as #VE.
        const EPT_VE = 1 << 18;
        /// XSAVES and XRSTORS exist.
        const XSAVES = 1 << 20;
        /// TSC scaling.
        const TSC_SCALING = 1 << 25;
        /// TPAUSE, UMONITOR, UMWAIT exist.
        const USER_WAIT = 1 << 26;
    }

    /// VM-exit controls, [`Field::CTRL_VMEXIT_CONTROLS`](super::vmcs::Field::CTRL_VMEXIT_CONTROLS).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ExitControls: u32 {
        /// DR7 and IA32_DEBUGCTL are saved.
        const SAVE_DEBUG = 1 << 2;
        /// The host is in 64-bit mode.
        const HOST_IA32E = 1 << 9;
        /// IA32_PERF_GLOBAL_CTRL is loaded for the host.
        const LOAD_PERF = 1 << 12;
        /// The interrupt controller is acknowledged by the exit.
        const ACK_INTERRUPT = 1 << 15;
        /// IA32_PAT is saved.
        const SAVE_PAT = 1 << 18;
        /// IA32_PAT is loaded for the host.
        const LOAD_PAT = 1 << 19;
        /// IA32_EFER is saved.
        const SAVE_EFER = 1 << 20;
        /// IA32_EFER is loaded for the host.
        const LOAD_EFER = 1 << 21;
        /// The VMX-preemption timer's value is saved.
        const SAVE_TIMER = 1 << 22;
    }

    /// VM-entry controls, [`Field::CTRL_VMENTRY_CONTROLS`](super::vmcs::Field::CTRL_VMENTRY_CONTROLS).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct EntryControls: u32 {
        /// DR7 and IA32_DEBUGCTL are loaded.
        const LOAD_DEBUG = 1 << 2;
        /// The guest is in IA-32e mode (EFER.LMA).
        const GUEST_IA32E = 1 << 9;
        /// Entry to system management mode.
        const SMM = 1 << 10;
        /// Deactivates the dual-monitor treatment.
        const DUAL_MONITOR = 1 << 11;
        /// IA32_PERF_GLOBAL_CTRL is loaded.
        const LOAD_PERF = 1 << 13;
        /// IA32_PAT is loaded.
        const LOAD_PAT = 1 << 14;
        /// IA32_EFER is loaded from the VMCS.
        const LOAD_EFER = 1 << 15;
    }

    /// [`Field::GUEST_INTERRUPTIBILITY`](super::vmcs::Field::GUEST_INTERRUPTIBILITY): what blocks events.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Interruptibility: u32 {
        /// The instruction after STI.
        const STI = 1 << 0;
        /// The instruction after MOV SS or POP SS.
        const MOV_SS = 1 << 1;
        /// In system management mode.
        const SMI = 1 << 2;
        /// NMIs, until IRET.
        const NMI = 1 << 3;
    }
}

/// Values of [`Field::GUEST_ACTIVITY_STATE`](super::vmcs::Field::GUEST_ACTIVITY_STATE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ActivityState(pub u32);

impl ActivityState {
    /// Executes instructions.
    pub const ACTIVE: Self = Self(0);
    /// After HLT.
    pub const HLT: Self = Self(1);
    /// After a triple fault. The framework refuses it.
    pub const SHUTDOWN: Self = Self(2);
    /// Waits for a start-up IPI. The framework refuses it.
    pub const WAIT_FOR_SIPI: Self = Self(3);
}
