//! Clock frequencies told by CPUID leaves 15h, 16h and 40000010h.

/// TSC and crystal frequencies that fit each other: `tsc_hz` ≈ `crystal_hz` × `numerator` / `denominator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Guest TSC ticks per second.
    pub tsc_hz: u64,
    /// "Core crystal clock". Linux takes it for the local APIC timer's input clock, so it must be that.
    pub crystal_hz: u32,
    /// CPUID.15H:EBX
    pub numerator: u32,
    /// CPUID.15H:EAX
    pub denominator: u32,
}

impl Timing {
    /// Chooses the crystal for a TSC of `tsc_hz`.
    pub fn for_tsc(tsc_hz: u64) -> Self {
        let numerator = (tsc_hz / 25_000_000).max(1);
        Self {
            tsc_hz,
            crystal_hz: u32::try_from(tsc_hz / numerator).unwrap_or(u32::MAX),
            numerator: u32::try_from(numerator).unwrap_or(u32::MAX),
            denominator: 1,
        }
    }
}
