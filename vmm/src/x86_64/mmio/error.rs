//! How an emulation ends.

/// The guest-visible end of one emulated instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an exception has to be injected"]
pub enum Outcome {
    /// The instruction has retired: RIP is past it, interrupt blocking is over, a pending single-step trap is noted.
    Retired,
    /// RIP still points to the instruction: a repeated string instruction did part of its count (count and pointers
    /// say how far it came), or page tables changed under the walk. Deliver pending interrupts and re-enter.
    Partial,
    /// The instruction raised a fault: RIP still points to it; inject this.
    Exception(Exception),
}

/// A fault for the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// Vector 0 to 31.
    pub vector: u8,
    /// The error code to push; `None` for vectors without one, and always in real mode.
    pub error_code: Option<u32>,
    /// For #PF: what the VMM has to write to CR2 before injecting.
    pub cr2: Option<u64>,
}

impl Exception {
    /// #UD, vector 6.
    pub const fn invalid_opcode() -> Self {
        Self { vector: 6, error_code: None, cr2: None }
    }

    /// #SS(0), vector 12.
    pub const fn stack_fault() -> Self {
        Self { vector: 12, error_code: Some(0), cr2: None }
    }

    /// #GP(0), vector 13.
    pub const fn general_protection() -> Self {
        Self { vector: 13, error_code: Some(0), cr2: None }
    }

    /// #PF, vector 14.
    pub const fn page_fault(linear: u64, error_code: u32) -> Self {
        Self { vector: 14, error_code: Some(error_code), cr2: Some(linear) }
    }
}

/// An instruction that could not be emulated. The guest has not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmulationError<E> {
    /// The context (the provider's vCPU) failed.
    #[error("vCPU access failed: {0}")]
    Context(E),
    /// The instruction is not one that is emulated.
    #[error(
        "instruction at {rip:#x} touches a device in a way that is not emulated: {reason} (bytes {bytes:02x?})"
    )]
    Unsupported {
        /// Where it stands.
        rip: u64,
        /// Its bytes, as far as they could be fetched.
        bytes: Vec<u8>,
        /// Why not.
        reason: Unsupported,
    },
}

/// Why an instruction is not emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// No semantics for this instruction here.
    #[error("unknown instruction form")]
    Instruction,
    /// VEX, EVEX, XOP or other encodings beyond the legacy one.
    #[error("VEX or EVEX encoding")]
    Encoding,
    /// No operand in memory: the exit came from something else (event delivery, a table walk, changed code).
    #[error("no memory operand")]
    NoMemoryOperand,
    /// The instruction itself lies in a device.
    #[error("instruction bytes in a device")]
    FetchFromDevice,
    /// A paging structure lies outside RAM.
    #[error("page tables outside RAM, entry at {0:#x}")]
    PageTable(u64),
    /// The context gives no access to vector registers.
    #[error("vector registers are not available")]
    VectorRegisters,
}

/// What ends an instruction early, inside the emulator and in a [`super::GuestContext`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop<E> {
    /// A fault for the guest.
    Exception(Exception),
    /// Nothing was done; enter the guest again, it will be back if it has to.
    Retry,
    /// No emulation possible.
    Unsupported(Unsupported),
    /// The context failed.
    Context(E),
}

impl<E> From<Exception> for Stop<E> {
    fn from(exception: Exception) -> Self {
        Self::Exception(exception)
    }
}

impl<E> From<Unsupported> for Stop<E> {
    fn from(reason: Unsupported) -> Self {
        Self::Unsupported(reason)
    }
}
