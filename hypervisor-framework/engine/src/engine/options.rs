//! How guest code is executed.

use crate::Level;

/// Compiling an instruction takes about as long as interpreting it this often: a boot then spends less on both threads
/// together than the interpreter alone, and the least on its own.
const PORTABLE_THRESHOLD: u32 = 20_000;

/// How guest code is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Hot blocks become host code, on hosts that have a translator.
    pub jit: bool,
    /// By the portable tier, also where the host has another. It has to be built in (feature `portable`).
    pub portable: bool,
    /// A block is translated when it has been interpreted this often. The portable tier compiles in the background; at
    /// 0 it does so before the first execution, and the CPU waits.
    pub threshold: u32,
    /// Bytes of host code kept; when they are full, all is dropped.
    pub cache_bytes: usize,
    /// What RDRAND and RDSEED answer follows from this number; `None` takes the host's randomness.
    pub seed: Option<u64>,
    /// Every so many instructions the CPU's state is compared with that of an interpreter beside it. Only for callers
    /// that bound runs by counts.
    pub check: Option<u64>,
    /// The instructions there are.
    pub level: Level,
}

impl Default for EngineOptions {
    fn default() -> Self {
        // Where only the portable tier is, it has to be asked for until it has run on such a host.
        let portable = !crate::os::TRANSLATES;
        let threshold = if portable { PORTABLE_THRESHOLD } else { 16 };
        Self {
            jit: !portable,
            portable,
            threshold,
            cache_bytes: 64 << 20,
            seed: None,
            check: None,
            level: Level::V2,
        }
    }
}

impl EngineOptions {
    /// With the portable tier, and its threshold.
    #[must_use]
    pub fn with_portable(self) -> Self {
        Self { jit: true, portable: true, threshold: PORTABLE_THRESHOLD, ..self }
    }

    /// The highest level whose instructions this tier runs as the host's own.
    pub fn host_level(&self) -> Level {
        if self.jit && !self.portable { crate::os::host_level() } else { Level::V2 }
    }

    /// Is the portable tier built in?
    pub fn has_portable() -> bool {
        crate::os::COMPILES
    }
}
