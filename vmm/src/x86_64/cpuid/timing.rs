//! Clock frequencies told by CPUID leaves 15h, 16h and 40000010h.

/// The crystal frequency aimed for, kHz: what Intel's client parts have is 24 or 25 MHz.
const CRYSTAL_KHZ: u64 = 25_000;

/// Range of crystal frequencies considered, kHz. Any is legal; a wide range finds an exact divisor more often.
const CRYSTAL_RANGE_KHZ: std::ops::RangeInclusive<u64> = 10_000..=200_000;

/// TSC and crystal frequencies that fit each other: `tsc_hz` ≈ `crystal_hz` × `numerator` / `denominator`.
///
/// Linux computes the product in 32 bits from a crystal truncated to kHz, so the denominator stays 1 and the crystal
/// a whole number of kHz. It also takes the crystal for the local APIC timer's input clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Guest TSC ticks per second.
    pub tsc_hz: u64,
    /// "Core crystal clock": the local APIC timer must count at this rate, before its divider.
    pub crystal_hz: u32,
    /// CPUID.15H:EBX
    pub numerator: u32,
    /// CPUID.15H:EAX
    pub denominator: u32,
}

impl Timing {
    /// Chooses the crystal for a TSC of `tsc_hz`: exact to the kHz if a divisor allows it, else as near as it gets
    /// (below one part per million for TSCs above 1 GHz).
    pub fn for_tsc(tsc_hz: u64) -> Self {
        let tsc_khz = (tsc_hz / 1000).clamp(1, u64::from(u32::MAX));
        let least = (tsc_khz / CRYSTAL_RANGE_KHZ.end()).max(1);
        let most = (tsc_khz / CRYSTAL_RANGE_KHZ.start()).max(least);
        // A TSC of 4 THz is still only 430,000 candidates; real ones are a few hundred.
        let (_, _, numerator, crystal_khz) = (least..=most)
            .map(|numerator| {
                let crystal_khz = ((tsc_khz + numerator / 2) / numerator).max(1);
                let error = (crystal_khz * numerator).abs_diff(tsc_khz);
                (error, crystal_khz.abs_diff(CRYSTAL_KHZ), numerator, crystal_khz)
            })
            .min()
            .unwrap_or((0, 0, 1, tsc_khz));
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            tsc_hz,
            crystal_hz: narrow(crystal_khz.saturating_mul(1000)),
            numerator: narrow(numerator),
            denominator: 1,
        }
    }
}

#[cfg(test)]
#[path = "timing_test.rs"]
mod timing_test;
