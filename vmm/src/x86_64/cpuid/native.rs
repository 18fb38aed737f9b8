//! What is taken from the host's CPUID as it is.

use super::soft::brand;
use super::{CpuidConfig, CpuidResult, Feature, HostCpuid, Identity, Register};

/// Bits of the host's IA32_ARCH_CAPABILITIES that are plain statements (SDM vol. 4, MSR 10Ah). Left out are those that
/// announce MSRs which are not handled: TSX_CTRL 7, MISC_PACKAGE_CTRLS 10, ENERGY_FILTERING 11, DOITM 12, FB_CLEAR_CTRL
/// 18, XAPIC_DISABLE 21, OVERCLOCKING 23.
pub(super) const ARCH_CAPABILITIES: u64 = {
    let bits = [0_u32, 1, 2, 3, 4, 5, 6, 8, 13, 14, 15, 17, 19, 20, 24, 25, 26, 27, 62];
    let mut value = 0;
    let mut i = 0;
    while i < bits.len() {
        value |= 1 << bits[i];
        i += 1;
    }
    value
};

/// Caches a processor may list in leaf 4; real ones list four.
const MAX_CACHES: u32 = 8;

pub(super) fn has(host: &dyn HostCpuid, feature: Feature) -> bool {
    let highest = host.query(feature.leaf & 0x8000_0000, 0).eax;
    if feature.leaf > highest {
        return false;
    }
    let answer = host.query(feature.leaf, feature.subleaf);
    register(&answer, feature.register) >> (feature.bit & 31) & 1 != 0
}

pub(super) fn register(answer: &CpuidResult, register: Register) -> u32 {
    match register {
        Register::Eax => answer.eax,
        Register::Ebx => answer.ebx,
        Register::Ecx => answer.ecx,
        Register::Edx => answer.edx,
    }
}

pub(super) fn identity(config: &CpuidConfig, host: &dyn HostCpuid) -> Identity {
    let zero = host.query(0, 0);
    let mut vendor = [0; 12];
    let words = [zero.ebx, zero.edx, zero.ecx];
    for (slot, byte) in vendor.iter_mut().zip(words.iter().flat_map(|word| word.to_le_bytes())) {
        *slot = byte;
    }
    let highest = host.query(0x8000_0000, 0).eax;
    let host_bits = if highest >= 0x8000_0008 { host.query(0x8000_0008, 0).eax as u8 } else { 36 };
    Identity {
        vendor,
        version: host.query(1, 0).eax,
        brand: config.brand.as_deref().map_or_else(|| host_brand(host, highest), brand),
        descriptors: if zero.eax >= 2 { host.query(2, 0) } else { CpuidResult::default() },
        l2: if highest >= 0x8000_0006 { host.query(0x8000_0006, 0).ecx } else { 0 },
        physical_bits: config.physical_bits.min(host_bits).clamp(32, 52),
    }
}

fn host_brand(host: &dyn HostCpuid, highest: u32) -> [u8; 48] {
    let mut brand = [0; 48];
    if highest >= 0x8000_0004 {
        let bytes = (0x8000_0002..=0x8000_0004_u32)
            .map(|leaf| host.query(leaf, 0))
            .flat_map(|answer| [answer.eax, answer.ebx, answer.ecx, answer.edx])
            .flat_map(u32::to_le_bytes);
        for (slot, byte) in brand.iter_mut().zip(bytes) {
            *slot = byte;
        }
    }
    brand
}

/// Leaf 4 of the host without its topology (EAX 31:14), up to its end mark.
pub(super) fn caches(host: &dyn HostCpuid) -> Vec<CpuidResult> {
    if host.query(0, 0).eax < 4 {
        return Vec::new();
    }
    (0..MAX_CACHES)
        .map(|subleaf| host.query(4, subleaf))
        .take_while(|cache| cache.eax & 0x1f != 0)
        .map(|cache| CpuidResult { eax: cache.eax & 0x3fff, ..cache })
        .collect()
}
