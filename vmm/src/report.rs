//! What a run leaves to look at.

use std::time::Duration;

use serde::Serialize;

use crate::memory::Resident;

/// A point a boot passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// `load`, `unpack`, `first_instruction`, `first_console_byte`, `init`, `panic`, `end`.
    pub name: &'static str,
    /// Time since the machine began to be made, microseconds.
    pub at_us: u64,
}

/// Exits of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExitCount {
    /// The exit reason's name.
    pub reason: String,
    /// How often, all vCPUs together.
    pub count: u64,
}

/// An access to a port, an address or an MSR that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnknownAccess {
    /// `port`, `mmio` or `msr`.
    pub space: &'static str,
    /// Port, guest-physical address or number.
    pub address: u64,
    /// Written, else read.
    pub write: bool,
    /// How often.
    pub count: u64,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// `hvf` or `soft`.
    pub engine: String,
    /// Number of vCPUs.
    pub cpus: u32,
    /// Guest memory, bytes.
    pub memory_bytes: u64,
    /// Points the boot passed, in order of time; `end` is always there. After a guest reset those of the first boot stay.
    pub phases: Vec<Phase>,
    /// Exits, most frequent first.
    pub exits: Vec<ExitCount>,
    /// Guest instructions executed; `None` where the engine does not count.
    pub guest_instructions: Option<u64>,
    /// Times the guest was reset in place.
    pub resets: u64,
    /// The kernel was seen to panic.
    pub panicked: bool,
    /// Accesses to what is not there.
    pub unknown_accesses: Vec<UnknownAccess>,
    /// Bytes of console output.
    pub console_bytes: u64,
    /// Bytes of console output nobody took.
    pub console_bytes_dropped: u64,
    /// Bytes of the engine's caches at the end, all vCPUs together: translations of guest code and addresses. `None`
    /// where the processor itself runs the guest.
    pub engine_cache_bytes: Option<u64>,
    /// What was in the host's memory at the end; `None` where the host does not tell.
    pub resident: Option<Resident>,
}

impl Report {
    /// When the boot passed a point, in microseconds since the machine began to be made.
    pub fn phase_us(&self, name: &str) -> Option<u64> {
        self.phases.iter().find(|phase| phase.name == name).map(|phase| phase.at_us)
    }

    /// Microseconds from the first guest instruction to the end; `None` if there was no instruction.
    pub fn run_us(&self) -> Option<u64> {
        self.phase_us("end")?.checked_sub(self.phase_us("first_instruction")?)
    }

    /// Bytes resident beyond guest memory and the engine's caches: what the VMM itself costs.
    pub fn own_bytes(&self) -> Option<u64> {
        let resident = self.resident?;
        let besides = resident.guest_bytes.saturating_add(self.engine_cache_bytes.unwrap_or(0));
        Some(resident.process_bytes.saturating_sub(besides))
    }
}

/// Whole microseconds, saturating.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
