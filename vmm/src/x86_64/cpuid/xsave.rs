//! Leaf 0Dh: which extended states the guest may enable and how large their save areas are (SDM vol. 1 chapter 13).
//!
//! The host's sizes are for its own XCR0, so those of the guest's are computed from the components' offsets.

use super::{CpuidResult, HostCpuid, Level};

/// States offered at most: x87, SSE, AVX and the three of AVX-512. Not MPX (macOS drops XCR0 bits 3 and 4), not PKRU.
const OFFERED: u64 = 0b1110_0111;
/// The legacy region and the header, bytes.
const LEGACY_SIZE: u32 = 576;
const YMM: u64 = 1 << 2;
const ZMM: u64 = 7 << 5;

/// One state component beyond x87 and SSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Component {
    /// Its XCR0 bit.
    number: u32,
    /// Bytes.
    size: u32,
    /// Offset in the standard format, bytes.
    offset: u32,
    /// ECX of its subleaf: bit 0 supervisor, bit 1 aligned to 64 bytes in the compacted format.
    flags: u32,
}

/// The save areas of the states on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct XsaveLayout {
    components: Vec<Component>,
}

/// XCR0 rules: x87 always, AVX needs SSE, the three of AVX-512 come together and need AVX.
pub(super) fn xcr0_valid(value: u64, mask: u64) -> bool {
    let avx_ok = value & YMM == 0 || value & 2 != 0;
    let zmm_ok = value & ZMM == 0 || (value & ZMM == ZMM && value & YMM != 0);
    value & 1 != 0 && value & !mask == 0 && avx_ok && zmm_ok
}

impl XsaveLayout {
    /// x87 and SSE alone.
    pub(super) fn legacy() -> Self {
        Self { components: Vec::new() }
    }

    /// What the engine keeps for a level.
    pub(super) fn soft(level: Option<Level>) -> Self {
        let upper = Component { number: 2, size: 256, offset: LEGACY_SIZE, flags: 0 };
        match level {
            Some(Level::V2) => Self::legacy(),
            Some(Level::V3) | None => Self { components: vec![upper] },
        }
    }

    /// Without the states that a level lacks.
    pub(super) fn within(mut self, level: Option<Level>) -> Self {
        let kept = match level {
            Some(Level::V2) => 3,
            Some(Level::V3) => 3 | YMM,
            None => u64::MAX,
        };
        self.components.retain(|component| kept >> component.number & 1 != 0);
        self
    }

    pub(super) fn of_host(host: &dyn HostCpuid) -> Self {
        if host.query(0, 0).eax < 0xd {
            return Self::legacy();
        }
        let main = host.query(0xd, 0);
        let supported = (u64::from(main.edx) << 32 | u64::from(main.eax)) & OFFERED;
        // All of AVX-512 or none of it.
        let supported = if supported & (ZMM | YMM) == ZMM | YMM { supported } else { supported & !ZMM };
        let components = (2..8)
            .filter(|number| supported >> number & 1 != 0)
            .map(|number| {
                let answer = host.query(0xd, number);
                Component { number, size: answer.eax, offset: answer.ebx, flags: answer.ecx }
            })
            .collect();
        Self { components }
    }

    pub(super) fn xcr0_mask(&self) -> u64 {
        self.components.iter().fold(3, |mask, component| mask | 1 << component.number)
    }

    fn enabled(&self, states: u64) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(move |component| states >> component.number & 1 != 0)
    }

    fn standard_size(&self, states: u64) -> u32 {
        self.enabled(states)
            .map(|component| component.offset.saturating_add(component.size))
            .fold(LEGACY_SIZE, u32::max)
    }

    fn compacted_size(&self, states: u64) -> u32 {
        self.enabled(states).fold(LEGACY_SIZE, |end, component| {
            let start = if component.flags & 2 != 0 { end.saturating_add(63) & !63 } else { end };
            start.saturating_add(component.size)
        })
    }

    /// `features` is EAX of subleaf 1, already filtered.
    pub(super) fn answer(&self, subleaf: u32, features: u32, xcr0: u64, xss: u64) -> CpuidResult {
        let mask = self.xcr0_mask();
        match subleaf {
            0 => CpuidResult {
                eax: mask as u32,
                ebx: self.standard_size(xcr0),
                ecx: self.standard_size(mask),
                edx: (mask >> 32) as u32,
            },
            // XSAVEC or XSAVES: the size of the compacted area; no supervisor states are offered (ECX, EDX).
            1 => CpuidResult {
                eax: features,
                ebx: if features & 0b1010 != 0 { self.compacted_size(xcr0 | xss) } else { 0 },
                ..CpuidResult::default()
            },
            _ => self
                .components
                .iter()
                .find(|component| component.number == subleaf)
                .map(|found| CpuidResult { eax: found.size, ebx: found.offset, ecx: found.flags, edx: 0 })
                .unwrap_or_default(),
        }
    }
}
