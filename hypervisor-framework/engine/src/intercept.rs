//! What makes the guest exit, and what the engine does by itself.

bitflags::bitflags! {
    /// Instructions and conditions that exit. I/O, CPUID, INVD, XSETBV and VMX instructions always do.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Controls: u32 {
        /// Exit when an external interrupt could be delivered.
        const INTERRUPT_WINDOW = 1 << 0;
        /// Exit when an NMI could be delivered.
        const NMI_WINDOW = 1 << 1;
        /// Exit after each instruction.
        const MONITOR_TRAP = 1 << 2;
        /// HLT exits; otherwise it waits inside the engine for a kick or an event.
        const HLT = 1 << 3;
        /// INVLPG (and INVPCID) exit.
        const INVLPG = 1 << 4;
        /// MWAIT exits; otherwise it is a no-op.
        const MWAIT = 1 << 5;
        /// MONITOR exits; otherwise it is a no-op.
        const MONITOR = 1 << 6;
        /// RDPMC exits; otherwise it raises #GP.
        const RDPMC = 1 << 7;
        /// RDTSC and RDTSCP exit.
        const RDTSC = 1 << 8;
        /// MOV to CR3 exits unless the value is a CR3 target.
        const CR3_LOAD = 1 << 9;
        /// MOV from CR3 exits.
        const CR3_STORE = 1 << 10;
        /// MOV to CR8 exits.
        const CR8_LOAD = 1 << 11;
        /// MOV from CR8 exits.
        const CR8_STORE = 1 << 12;
        /// MOV DR exits.
        const MOV_DR = 1 << 13;
        /// PAUSE exits.
        const PAUSE = 1 << 14;
        /// LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT and STR exit.
        const DESCRIPTOR_TABLE = 1 << 15;
        /// WBINVD exits.
        const WBINVD = 1 << 16;
        /// RDRAND exits.
        const RDRAND = 1 << 17;
        /// RDSEED exits.
        const RDSEED = 1 << 18;
        /// RDTSCP and RDPID exist; otherwise #UD.
        const ENABLE_RDTSCP = 1 << 24;
        /// INVPCID exists; otherwise #UD.
        const ENABLE_INVPCID = 1 << 25;
        /// XSAVES and XRSTORS exist; otherwise #UD.
        const ENABLE_XSAVES = 1 << 26;
        /// NMI blocking is tracked for the guest (virtual NMIs).
        const VIRTUAL_NMIS = 1 << 27;
    }
}

/// What the guest may do with an MSR without an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsrRight {
    /// The MSR's number.
    pub msr: u32,
    /// RDMSR is done by the engine.
    pub read: bool,
    /// WRMSR is done by the engine.
    pub write: bool,
}

/// The engine's policy for one CPU.
#[derive(Debug, Clone, Default)]
pub struct Intercepts {
    /// Instructions and conditions.
    pub controls: Controls,
    /// Exceptions that exit, by vector. #PF also needs `error & pf_mask == pf_match` (inverted when bit 14 is 0).
    pub exceptions: u32,
    /// See `exceptions`.
    pub pf_mask: u32,
    /// See `exceptions`.
    pub pf_match: u32,
    /// CR0 bits owned by the host: reads see `cr0_shadow`, writes that differ from it exit.
    pub cr0_mask: u64,
    /// See `cr0_mask`.
    pub cr0_shadow: u64,
    /// CR4 bits owned by the host.
    pub cr4_mask: u64,
    /// See `cr4_mask`.
    pub cr4_shadow: u64,
    /// Values MOV to CR3 may load without an exit.
    pub cr3_targets: Vec<u64>,
    /// MSRs the guest uses without an exit; all others exit.
    pub msrs: Vec<MsrRight>,
    /// Added to the time source's TSC.
    pub tsc_offset: i64,
}
