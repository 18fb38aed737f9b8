//! The processor the software engine shows: the floor x86-64-v2, or v3, under a name guests know.
//!
//! `GenuineIntel`, because Linux reads the TSC frequency (leaf 15h) of that vendor alone; family 6 model 44 (the
//! server Westmere, a v2 machine), because no table of errata, frequency MSRs, turbo ratios or energy counters in
//! Linux asks such a model for more than is here.

use super::{CpuidConfig, CpuidResult, Identity, Level};

/// Family 6, model 44, stepping 2.
const VERSION: u32 = 0x0002_06c2;

/// What the engine, which runs no guest instruction ahead of its checks, is immune to (SDM vol. 4, MSR 10Ah):
/// RDCL_NO 0, SKIP_L1DFL_VMENTRY 3, SSB_NO 4, MDS_NO 5, IF_PSCHANGE_MC_NO 6, TAA_NO 8, SBDR_SSDP_NO 13, FBSDP_NO 14,
/// PSDP_NO 15, BHI_NO 20, PBRSB_NO 24, GDS_NO 26, RFDS_NO 27, ITS_NO 62. It spares guests page-table isolation, whose
/// CR3 writes are dear here.
pub(super) const ARCH_CAPABILITIES: u64 = {
    let bits = [0_u32, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62];
    let mut value = 0;
    let mut i = 0;
    while i < bits.len() {
        value |= 1 << bits[i];
        i += 1;
    }
    value
};

/// Leaf 4: 32 KiB L1 data (8 ways) and code (4 ways), 256 KiB L2 (8 ways), 8 MiB shared L3 (16 ways), 64-byte lines.
/// EAX 4:0 type, 7:5 level, 8 self-initialising; EBX ways-1, partitions-1, line-1; ECX sets-1; EDX 1 inclusive.
pub(super) static CACHES: &[CpuidResult] = &[
    CpuidResult { eax: 0x121, ebx: 7 << 22 | 63, ecx: 63, edx: 0 },
    CpuidResult { eax: 0x122, ebx: 3 << 22 | 63, ecx: 127, edx: 0 },
    CpuidResult { eax: 0x143, ebx: 7 << 22 | 63, ecx: 511, edx: 0 },
    CpuidResult { eax: 0x163, ebx: 15 << 22 | 63, ecx: 8191, edx: 2 },
];

/// Leaf 2: descriptor FFh, "see leaf 4"; AL = 1, one query is enough.
const DESCRIPTORS: CpuidResult = CpuidResult { eax: 0x0000_ff01, ebx: 0, ecx: 0, edx: 0 };

/// 256 KiB, 8 ways (code 6), 64-byte lines.
const L2: u32 = 256 << 16 | 6 << 12 | 64;

pub(super) fn identity(config: &CpuidConfig) -> Identity {
    Identity {
        vendor: *b"GenuineIntel",
        version: VERSION,
        brand: brand(config.brand.as_deref().unwrap_or(match config.level {
            Some(Level::V2) => "rvmm virtual CPU (x86-64-v2)",
            Some(Level::V3) | None => "rvmm virtual CPU (x86-64-v3)",
        })),
        descriptors: DESCRIPTORS,
        l2: L2,
        physical_bits: config.physical_bits.clamp(36, 52),
    }
}

/// The brand string padded with zeros; what is too long or not printable ASCII is cut.
pub(super) fn brand(text: &str) -> [u8; 48] {
    let mut brand = [0; 48];
    let printable = text.bytes().take_while(|byte| (b' '..=b'~').contains(byte));
    for (slot, byte) in brand.iter_mut().take(47).zip(printable) {
        *slot = byte;
    }
    brand
}
