//! Basic exit reasons (SDM vol. 3, appendix C).

/// The exit reason field ([`Field::RO_EXIT_REASON`](super::vmcs::Field::RO_EXIT_REASON)) as read, flags included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ExitReason(pub u32);

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl ExitReason {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Every basic reason named here.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The basic reason's name.
            pub fn name(self) -> Option<&'static str> {
                Some(match self.basic().0 {
                    $($number => stringify!($name),)*
                    _ => return None,
                })
            }
        }
    };
}

reasons! {
    /// Exception or NMI; see the exit interruption information.
    EXCEPTION_NMI = 0;
    /// External interrupt of the host, and the framework's kick.
    EXTERNAL_INTERRUPT = 1;
    /// Triple fault.
    TRIPLE_FAULT = 2;
    /// INIT signal.
    INIT = 3;
    /// Start-up IPI.
    SIPI = 4;
    /// I/O system management interrupt.
    IO_SMI = 5;
    /// Other system management interrupt.
    OTHER_SMI = 6;
    /// The guest can take an interrupt now.
    INTERRUPT_WINDOW = 7;
    /// The guest can take an NMI now.
    NMI_WINDOW = 8;
    /// Task switch.
    TASK_SWITCH = 9;
    /// CPUID.
    CPUID = 10;
    /// GETSEC.
    GETSEC = 11;
    /// HLT.
    HLT = 12;
    /// INVD.
    INVD = 13;
    /// INVLPG.
    INVLPG = 14;
    /// RDPMC.
    RDPMC = 15;
    /// RDTSC.
    RDTSC = 16;
    /// RSM.
    RSM = 17;
    /// VMCALL.
    VMCALL = 18;
    /// VMCLEAR.
    VMCLEAR = 19;
    /// VMLAUNCH.
    VMLAUNCH = 20;
    /// VMPTRLD.
    VMPTRLD = 21;
    /// VMPTRST.
    VMPTRST = 22;
    /// VMREAD.
    VMREAD = 23;
    /// VMRESUME.
    VMRESUME = 24;
    /// VMWRITE.
    VMWRITE = 25;
    /// VMXOFF.
    VMXOFF = 26;
    /// VMXON.
    VMXON = 27;
    /// MOV CR, CLTS, LMSW; see [`CrQualification`](super::CrQualification).
    CR_ACCESS = 28;
    /// MOV DR; see [`DrQualification`](super::DrQualification).
    DR_ACCESS = 29;
    /// IN, OUT, INS, OUTS; see [`IoQualification`](super::IoQualification).
    IO = 30;
    /// RDMSR.
    RDMSR = 31;
    /// WRMSR.
    WRMSR = 32;
    /// VM entry failed: invalid guest state.
    INVALID_GUEST_STATE = 33;
    /// VM entry failed: MSR loading.
    MSR_LOADING = 34;
    /// MWAIT.
    MWAIT = 36;
    /// Monitor trap flag.
    MONITOR_TRAP = 37;
    /// MONITOR.
    MONITOR = 39;
    /// PAUSE.
    PAUSE = 40;
    /// VM entry failed: machine check.
    ENTRY_MACHINE_CHECK = 41;
    /// The TPR shadow fell below the threshold.
    TPR_BELOW_THRESHOLD = 43;
    /// Access to the APIC-access page.
    APIC_ACCESS = 44;
    /// Virtualized EOI.
    VIRTUALIZED_EOI = 45;
    /// LGDT, LIDT, SGDT, SIDT.
    GDTR_IDTR_ACCESS = 46;
    /// LLDT, LTR, SLDT, STR.
    LDTR_TR_ACCESS = 47;
    /// EPT violation; see [`EptQualification`](super::EptQualification).
    EPT_VIOLATION = 48;
    /// EPT misconfiguration.
    EPT_MISCONFIGURATION = 49;
    /// INVEPT.
    INVEPT = 50;
    /// RDTSCP.
    RDTSCP = 51;
    /// The VMX-preemption timer expired; the deadline of `hv_vcpu_run_until`.
    PREEMPTION_TIMER = 52;
    /// INVVPID.
    INVVPID = 53;
    /// WBINVD or WBNOINVD.
    WBINVD = 54;
    /// XSETBV.
    XSETBV = 55;
    /// APIC write.
    APIC_WRITE = 56;
    /// RDRAND.
    RDRAND = 57;
    /// INVPCID.
    INVPCID = 58;
    /// VMFUNC.
    VMFUNC = 59;
    /// ENCLS.
    ENCLS = 60;
    /// RDSEED.
    RDSEED = 61;
    /// Page-modification log full.
    PML_FULL = 62;
    /// XSAVES.
    XSAVES = 63;
    /// XRSTORS.
    XRSTORS = 64;
    /// Sub-page permission event.
    SPP = 66;
    /// UMWAIT.
    UMWAIT = 67;
    /// TPAUSE.
    TPAUSE = 68;
}

impl ExitReason {
    /// Bit 31: VM entry failed, no guest instruction ran.
    pub const ENTRY_FAILURE: u32 = 1 << 31;

    /// Bits 15:0.
    pub const fn basic(self) -> Self {
        Self(self.0 & 0xffff)
    }

    /// Bit 31.
    pub const fn is_entry_failure(self) -> bool {
        self.0 & Self::ENTRY_FAILURE != 0
    }
}

impl std::fmt::Display for ExitReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "reason {}", self.basic().0)?,
        }
        if self.is_entry_failure() { f.write_str(" (entry failure)") } else { Ok(()) }
    }
}

impl std::fmt::Debug for ExitReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
