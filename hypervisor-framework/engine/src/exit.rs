//! What leaves the engine.

/// Why [`crate::Engine::run`] returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The cause.
    pub reason: Reason,
    /// Bytes of the instruction that caused it; 0 where no instruction did.
    pub instruction_length: u8,
    /// The event whose delivery through the IDT was cut short by this exit, if any (SDM vol. 3, 28.2.4).
    pub vectoring: Option<Event>,
    /// The instruction was an IRET that had already unblocked NMIs (SDM vol. 3, 28.2.3).
    pub nmi_unblocked_by_iret: bool,
}

/// An interrupt or exception, delivered through the IDT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// 0–255.
    pub vector: u8,
    /// Where it comes from.
    pub kind: EventKind,
    /// Pushed on the handler's stack, for the exceptions that have one.
    pub error_code: Option<u32>,
    /// For software interrupts and exceptions: length of the instruction, added to the pushed RIP.
    pub instruction_length: u8,
}

/// The kinds of events, numbered as VM-entry interruption types (SDM vol. 3, 25.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// From an interrupt controller.
    External = 0,
    /// Vector 2.
    Nmi = 2,
    /// A fault, trap or abort.
    Exception = 3,
    /// INT n.
    SoftwareInterrupt = 4,
    /// INT1 (ICEBP).
    PrivilegedSoftwareException = 5,
    /// INT3, INTO.
    SoftwareException = 6,
}

/// Causes of an [`Exit`]; one per VMX basic exit reason that can come from guest code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// An exception selected by the exception bitmap, or an injected NMI's vector. `qualification` is the linear
    /// address for #PF and the DR6 bits for #DB, else 0.
    Exception {
        /// The event as it would have been delivered.
        event: Event,
        /// SDM vol. 3, 28.2.1.
        qualification: u64,
    },
    /// A [`crate::Kicker`] was used while the CPU ran.
    Kicked,
    /// The deadline given to run has passed.
    Deadline,
    /// An exception during the delivery of a double fault.
    TripleFault,
    /// Interrupts can be delivered now, and [`crate::Controls::INTERRUPT_WINDOW`] is set.
    InterruptWindow,
    /// NMIs can be delivered now, and [`crate::Controls::NMI_WINDOW`] is set.
    NmiWindow,
    /// A task switch was asked for.
    TaskSwitch {
        /// Selector of the TSS.
        selector: u16,
        /// What asked.
        source: TaskSwitchSource,
    },
    /// CPUID.
    Cpuid,
    /// HLT.
    Hlt,
    /// INVD.
    Invd,
    /// INVLPG of this linear address.
    Invlpg(u64),
    /// INVPCID.
    Invpcid,
    /// RDPMC.
    Rdpmc,
    /// RDTSC.
    Rdtsc,
    /// RDTSCP.
    Rdtscp,
    /// RDRAND.
    Rdrand,
    /// RDSEED.
    Rdseed,
    /// WBINVD or WBNOINVD.
    Wbinvd,
    /// PAUSE.
    Pause,
    /// MONITOR.
    Monitor,
    /// MWAIT.
    Mwait,
    /// XSETBV.
    Xsetbv,
    /// A VMX instruction; the number is its basic exit reason (18–27, 50, 53, 59).
    Vmx(u8),
    /// MOV CR, CLTS or LMSW.
    ControlRegister(ControlRegisterAccess),
    /// MOV DR.
    DebugRegister(DebugRegisterAccess),
    /// IN, OUT, INS or OUTS.
    Io(Io),
    /// RDMSR of an MSR the guest may not read by itself; ECX has its number.
    ReadMsr,
    /// WRMSR likewise.
    WriteMsr,
    /// LGDT, LIDT, SGDT or SIDT.
    GdtrIdtrAccess,
    /// LLDT, LTR, SLDT or STR.
    LdtrTrAccess,
    /// One instruction has completed under [`crate::Controls::MONITOR_TRAP`].
    MonitorTrap,
    /// An access to physical memory that is not mapped or not mapped so.
    Memory(MemoryViolation),
}

/// What asked for a task switch, numbered as bits 31:30 of the exit qualification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TaskSwitchSource {
    /// CALL.
    Call = 0,
    /// IRET.
    Iret = 1,
    /// JMP.
    Jmp = 2,
    /// A task gate in the IDT.
    IdtGate = 3,
}

/// A control register access (SDM vol. 3, table 28-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlRegisterAccess {
    /// MOV to CR `cr` from general register `gpr` (ModRM numbering).
    Write {
        /// 0, 3, 4 or 8.
        cr: u8,
        /// 0–15.
        gpr: u8,
    },
    /// MOV from CR `cr`.
    Read {
        /// 3 or 8.
        cr: u8,
        /// 0–15.
        gpr: u8,
    },
    /// CLTS.
    Clts,
    /// LMSW.
    Lmsw {
        /// The source operand.
        source: u16,
        /// The linear address of a memory operand.
        address: Option<u64>,
    },
}

/// A debug register access (SDM vol. 3, table 28-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebugRegisterAccess {
    /// 0–7.
    pub dr: u8,
    /// 0–15, ModRM numbering.
    pub gpr: u8,
    /// MOV from DR.
    pub read: bool,
}

/// A port access (SDM vol. 3, table 28-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Io {
    /// The port.
    pub port: u16,
    /// 1, 2 or 4 bytes.
    pub width: u8,
    /// IN or INS.
    pub input: bool,
    /// INS or OUTS.
    pub string: bool,
    /// With a REP prefix.
    pub repeat: bool,
    /// The port is an immediate operand.
    pub immediate: bool,
    /// Strings: address size in bytes, 2, 4 or 8.
    pub address_size: u8,
    /// Strings: the segment, 0 ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS.
    pub segment: u8,
    /// Strings: the linear address of the first element.
    pub linear_address: u64,
}

/// How memory was accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A data read.
    Read,
    /// A data write (or a read with intent to write).
    Write,
    /// An instruction fetch.
    Fetch,
}

/// An access that physical memory refused (an EPT violation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryViolation {
    /// Guest physical address of the first byte refused.
    pub gpa: u64,
    /// Linear address, where the access had one.
    pub linear: Option<u64>,
    /// What was tried.
    pub access: Access,
    /// What the mapping allows there: read, write, execute.
    pub allowed: (bool, bool, bool),
    /// The access itself, not a page-table walk on its way.
    pub is_final: bool,
}
