//! What a guest asks of the whole machine.

/// Who asked for a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetSource {
    /// The reset register at port 0xcf9.
    ResetRegister,
    /// The keyboard controller's pulse of its reset output.
    KeyboardController,
    /// The fast reset bit of port 0x92.
    Port92,
    /// A processor that shut itself down on purpose: a chipset answers with a reset.
    Shutdown,
}

/// A request to the machine's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SystemEvent {
    /// Reset the machine.
    Reset(ResetSource),
    /// Power off: ACPI S5.
    PowerOff,
    /// The guest's kernel panicked (pvpanic).
    Panicked,
    /// The guest's kernel panicked and now runs its crash kernel (pvpanic).
    CrashLoaded,
    /// A test wrote this value to the debug-exit port.
    DebugExit(u32),
}

/// Takes requests. Called with a device locked, on a vCPU's thread: it notes the request and wakes the owner.
///
/// The guest goes on until its vCPUs are stopped; the vCPU that asked should be stopped before its next instruction.
pub trait SystemEvents: Send + Sync {
    /// The guest asked for `event`.
    fn notify(&self, event: SystemEvent);
}
