//! The answer to each leaf.

use super::Register::{Eax, Ebx, Ecx, Edx};
use super::{CpuidPolicy, CpuidResult, DynamicState, Feature, Signature};

/// Highest basic leaf: processor frequencies.
const MAX_BASIC: u32 = 0x16;
/// Highest hypervisor leaf: timing information.
const MAX_HYPERVISOR: u32 = 0x4000_0010;
/// Highest extended leaf: address sizes.
const MAX_EXTENDED: u32 = 0x8000_0008;
/// CLFLUSH line of 8 × 8 bytes, leaf 1 EBX 15:8.
const CLFLUSH: u32 = 8 << 8;
const CR4_OSXSAVE: u64 = 1 << 18;
/// Leaf 1 ECX.
const OSXSAVE: u32 = 1 << 27;
/// Linear address bits, leaf 80000008h EAX 15:8.
const LINEAR_BITS: u32 = 48;

pub(super) fn answer(policy: &CpuidPolicy, leaf: u32, subleaf: u32, state: &DynamicState) -> CpuidResult {
    let timing = &policy.config.timing;
    match leaf {
        0 => with_text(MAX_BASIC, &vendor_order(policy.identity.vendor)),
        1 => version(policy, state),
        2 => policy.identity.descriptors,
        4 => cache(policy, subleaf),
        6 => CpuidResult { eax: policy.word(6, 0, Eax), ..CpuidResult::default() },
        7 if subleaf == 0 => CpuidResult {
            eax: 0,
            ebx: policy.word(7, 0, Ebx),
            ecx: policy.word(7, 0, Ecx),
            edx: policy.word(7, 0, Edx),
        },
        0xb => topology(policy.config.cpus, subleaf, state.apic_id),
        0xd if policy.has(Feature::XSAVE) => {
            policy.xsave.answer(subleaf, policy.word(0xd, 1, Eax), state.xcr0, state.xss)
        }
        0x15 => {
            CpuidResult { eax: timing.denominator, ebx: timing.numerator, ecx: timing.crystal_hz, edx: 0 }
        }
        // Base and maximum frequency, bus reference frequency, MHz in 15:0.
        0x16 => {
            let mhz = ((timing.tsc_hz + 500_000) / 1_000_000).min(0xffff) as u32;
            CpuidResult { eax: mhz, ebx: mhz, ecx: 100, edx: 0 }
        }
        0x4000_0000..=MAX_HYPERVISOR => hypervisor(policy, leaf),
        0x8000_0000 => CpuidResult { eax: MAX_EXTENDED, ..CpuidResult::default() },
        0x8000_0001 => CpuidResult {
            ecx: policy.word(leaf, 0, Ecx),
            edx: policy.word(leaf, 0, Edx),
            ..CpuidResult::default()
        },
        0x8000_0002..=0x8000_0004 => brand(policy, leaf),
        0x8000_0006 => CpuidResult { ecx: policy.identity.l2, ..CpuidResult::default() },
        0x8000_0007 => CpuidResult { edx: policy.word(leaf, 0, Edx), ..CpuidResult::default() },
        0x8000_0008 => CpuidResult {
            eax: LINEAR_BITS << 8 | u32::from(policy.identity.physical_bits),
            ..CpuidResult::default()
        },
        _ => CpuidResult::default(),
    }
}

/// Leaf 0 answers the vendor in EBX, EDX, ECX; [`with_text`] fills EBX, ECX, EDX.
fn vendor_order(vendor: [u8; 12]) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = vendor;
    [a, b, c, d, i, j, k, l, e, f, g, h]
}

fn with_text(eax: u32, text: &[u8; 12]) -> CpuidResult {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *text;
    CpuidResult {
        eax,
        ebx: u32::from_le_bytes([a, b, c, d]),
        ecx: u32::from_le_bytes([e, f, g, h]),
        edx: u32::from_le_bytes([i, j, k, l]),
    }
}

fn version(policy: &CpuidPolicy, state: &DynamicState) -> CpuidResult {
    let cpus = policy.config.cpus;
    let count = if cpus > 1 { cpus.checked_next_power_of_two().unwrap_or(u32::MAX).min(255) } else { 1 };
    let mut ecx = policy.word(1, 0, Ecx);
    if state.cr4 & CR4_OSXSAVE != 0 && policy.has(Feature::XSAVE) {
        ecx |= OSXSAVE;
    }
    let mut edx = policy.word(1, 0, Edx);
    if !state.apic_enabled {
        edx &= !(1 << Feature::APIC.bit);
    }
    CpuidResult {
        eax: policy.identity.version,
        ebx: (state.apic_id & 0xff) << 24 | count << 16 | CLFLUSH,
        ecx,
        edx,
    }
}

/// Leaf 4: each cache with who shares it (25:14) and how many cores the package has (31:26), both as a power of two
/// less one.
fn cache(policy: &CpuidPolicy, subleaf: u32) -> CpuidResult {
    let Some(cache) = policy.caches.get(subleaf as usize) else { return CpuidResult::default() };
    let cores = policy.config.cpus.clamp(1, 1 << 16).next_power_of_two() - 1;
    let level = cache.eax >> 5 & 7;
    let sharing = if level >= 3 { cores.min(0xfff) } else { 0 };
    CpuidResult { eax: cache.eax & 0x3fff | sharing << 14 | cores.min(63) << 26, ..*cache }
}

/// Leaf 0Bh: one thread per core, all cores in one package. EDX is the x2APIC id for every subleaf.
fn topology(cpus: u32, subleaf: u32, apic_id: u32) -> CpuidResult {
    const SMT: u32 = 1 << 8;
    const CORE: u32 = 2 << 8;
    let cpus = cpus.clamp(1, 1 << 16);
    let number = subleaf & 0xff;
    match subleaf {
        0 => CpuidResult { eax: 0, ebx: 1, ecx: SMT | number, edx: apic_id },
        1 => {
            let shift = cpus.next_power_of_two().trailing_zeros();
            CpuidResult { eax: shift, ebx: cpus, ecx: CORE | number, edx: apic_id }
        }
        _ => CpuidResult { eax: 0, ebx: 0, ecx: number, edx: apic_id },
    }
}

fn hypervisor(policy: &CpuidPolicy, leaf: u32) -> CpuidResult {
    let timing = &policy.config.timing;
    match leaf {
        0x4000_0000 => match policy.config.signature {
            Signature::Rvmm => with_text(MAX_HYPERVISOR, b"rvmmrvmmrvmm"),
            Signature::KvmCompatible => with_text(MAX_HYPERVISOR, b"KVMKVMKVM\0\0\0"),
        },
        // TSC and APIC timer frequency in kHz.
        MAX_HYPERVISOR => CpuidResult {
            eax: u32::try_from(timing.tsc_hz / 1000).unwrap_or(u32::MAX),
            ebx: timing.crystal_hz / 1000,
            ..CpuidResult::default()
        },
        _ => CpuidResult::default(),
    }
}

fn brand(policy: &CpuidPolicy, leaf: u32) -> CpuidResult {
    let start = leaf.saturating_sub(0x8000_0002) as usize * 16;
    let word = |index: usize| {
        let at = start + index * 4;
        let bytes = policy.identity.brand.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    CpuidResult { eax: word(0), ebx: word(1), ecx: word(2), edx: word(3) }
}
