//! Why a run ended.

use std::fmt;

use serde::Serialize;

/// What [`crate::Machine::run`] answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum StopReason {
    /// The guest switched itself off (ACPI S5).
    PowerOff,
    /// The guest reset itself and [`crate::config::OnReboot::Exit`] is set.
    Reset,
    /// An exception during the delivery of a double fault.
    TripleFault {
        /// The vCPU.
        cpu: u32,
        /// Its registers.
        registers: Box<RegisterDump>,
    },
    /// The guest did what cannot be carried out, such as jumping out of memory.
    GuestFault {
        /// The vCPU.
        cpu: u32,
        /// What it did.
        what: String,
        /// Its registers.
        registers: Box<RegisterDump>,
    },
    /// The guest's kernel panicked: told by pvpanic or by its last words on the console.
    Panic,
    /// All vCPUs sleep with interrupts off: nothing but a reset could wake them.
    Halted,
    /// The guest wrote to the debug-exit port.
    DebugExit {
        /// The value written.
        code: u32,
    },
    /// The configured time is over.
    Timeout,
    /// The console showed the expected pattern.
    ExpectMatched,
    /// Asked for through [`crate::MachineHandle::quit`] or the console's escape key.
    Quit,
    /// A signal asked the process to end.
    Signal {
        /// Its number.
        number: i32,
    },
    /// Nobody reads the console any more (standard output is a pipe without a reader).
    ConsoleClosed,
    /// The VMM could not go on.
    Error {
        /// One line.
        message: String,
    },
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => f.write_str("the guest powered off"),
            Self::Reset => f.write_str("the guest reset itself"),
            Self::TripleFault { cpu, registers } => write!(f, "triple fault on vCPU {cpu}: {registers}"),
            Self::GuestFault { cpu, what, registers } => write!(f, "vCPU {cpu}: {what}: {registers}"),
            Self::Panic => f.write_str("the guest's kernel panicked"),
            Self::Halted => f.write_str("the guest halted with interrupts off"),
            Self::DebugExit { code } => write!(f, "the guest wrote {code:#x} to the debug-exit port"),
            Self::Timeout => f.write_str("timed out"),
            Self::ExpectMatched => f.write_str("the expected pattern was seen"),
            Self::Quit => f.write_str("quit"),
            Self::Signal { number } => write!(f, "ended by signal {number}"),
            Self::ConsoleClosed => f.write_str("nobody reads the console any more"),
            Self::Error { message } => f.write_str(message),
        }
    }
}

/// A vCPU's registers, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RegisterDump {
    /// Names and values, in the order they are shown.
    pub registers: Vec<(&'static str, u64)>,
    /// Bytes at the instruction pointer, as far as they can be read.
    pub code: Vec<u8>,
}

impl fmt::Display for RegisterDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.registers {
            write!(f, "{name}={value:#x} ")?;
        }
        f.write_str("code=")?;
        if self.code.is_empty() {
            return f.write_str("?");
        }
        self.code.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
