use std::collections::HashSet;

use super::*;

fn config(cpus: u32) -> CpuidConfig {
    CpuidConfig {
        cpus,
        timing: Timing::for_tsc(2_500_000_000),
        x2apic: true,
        tsc_deadline: true,
        physical_bits: 40,
        brand: None,
        hide: Vec::new(),
        extra: Vec::new(),
        level: Some(Level::V2),
        signature: Signature::Rvmm,
    }
}

fn state() -> DynamicState {
    DynamicState { apic_id: 0, cr4: 0, xcr0: 1, xss: 0, apic_enabled: true }
}

fn soft(cpus: u32) -> CpuidPolicy {
    CpuidPolicy::soft(config(cpus), ProviderFeatures { rdtscp: true, ..ProviderFeatures::default() })
}

/// A host that says yes to everything, with the XSAVE layout of an AVX-512 server part.
struct Everything;

impl HostCpuid for Everything {
    fn query(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        let words = |eax, ebx, ecx, edx| CpuidResult { eax, ebx, ecx, edx };
        match (leaf, subleaf) {
            (0, _) => words(0x20, 0x756e_6547, 0x6c65_746e, 0x4965_6e69),
            (1, _) => words(0x0005_0657, 0x1234_5678, u32::MAX, u32::MAX),
            (4, 0) => words(0x1c00_4121, 0x01c0_003f, 0x3f, 0),
            (4, 1) => words(0x1c03_c163, 0x0280_003f, 0x7fff, 4),
            (4, _) => CpuidResult::default(),
            (0xd, 0) => words(0x2ff, 0xa88, 0xa88, 0),
            (0xd, 1) => words(0xf, 0xa08, 0x100, 0),
            (0xd, 2) => words(256, 576, 0, 0),
            (0xd, 3) => words(64, 960, 0, 0),
            (0xd, 4) => words(64, 1024, 0, 0),
            (0xd, 5) => words(64, 1088, 0, 0),
            (0xd, 6) => words(512, 1152, 0, 0),
            (0xd, 7) => words(1024, 1664, 0, 0),
            (0xd, 9) => words(8, 2688, 0, 0),
            (0x8000_0000, _) => words(0x8000_0008, 0, 0, 0),
            (0x8000_0002..=0x8000_0004, _) => words(0x4847_4645, 0x4847_4645, 0x4847_4645, 0x0047_4645),
            (0x8000_0008, _) => words(0x302e, 0, 0, 0),
            _ => words(u32::MAX, u32::MAX, u32::MAX, u32::MAX),
        }
    }
}

fn native(provider: ProviderFeatures) -> CpuidPolicy {
    CpuidPolicy::native(CpuidConfig { level: None, ..config(2) }, provider, &Everything)
}

#[test]
fn every_bit_has_one_row_and_a_reason() {
    let mut seen = HashSet::new();
    for row in features::ROWS.iter().chain(features::XSAVE_ROWS) {
        assert!(seen.insert(row.feature), "{:?} twice", row.feature);
        assert!(row.feature.bit < 32);
        assert!(!row.why.is_empty(), "{:?}", row.feature);
    }
}

#[test]
fn the_soft_model_is_x86_64_v2_and_passes_linux_verify_cpu() {
    let policy = soft(1);
    let one = policy.query(1, 0, &state());
    let extended = policy.query(0x8000_0001, 0, &state());
    // arch/x86 required-features masks: FPU PSE MSR PAE CX8 PGE CMOV FXSR XMM XMM2; LM.
    let required = [0, 3, 5, 6, 8, 13, 15, 24, 25, 26].iter().fold(0_u32, |mask, bit| mask | 1 << bit);
    assert_eq!(one.edx & required, required);
    assert_ne!(extended.edx & 1 << 29, 0);
    // x86-64 psABI, level v2.
    for feature in [
        Feature::CX16,
        Feature::LAHF,
        Feature::POPCNT,
        Feature::SSE3,
        Feature::SSSE3,
        Feature::SSE41,
        Feature::SSE42,
        Feature::SYSCALL,
        Feature::CMOV,
        Feature::MMX,
    ] {
        assert!(policy.has(feature), "{feature:?}");
    }
    for feature in
        [Feature::AVX, Feature::MOVBE, Feature::BMI1, Feature::PCID, Feature::VMX, Feature::MONITOR]
    {
        assert!(!policy.has(feature), "{feature:?}");
    }
}

#[test]
fn v3_is_all_of_the_level_and_v2_none_of_what_it_adds() {
    let at = |level| {
        let provider = ProviderFeatures { rdtscp: true, ..ProviderFeatures::default() };
        CpuidPolicy::soft(CpuidConfig { level: Some(level), ..config(1) }, provider)
    };
    let (old, new) = (at(Level::V2), at(Level::V3));
    for feature in features::V3_FEATURES {
        assert!(new.has(feature) && !old.has(feature), "{feature:?}");
    }
    assert!(new.has(Feature::XSAVE));
    assert_eq!((old.xcr0_mask(), new.xcr0_mask()), (3, 7));
    let one = new.query(1, 0, &DynamicState { cr4: 1 << 18, ..state() });
    // FMA, MOVBE, XSAVE, OSXSAVE, AVX, F16C.
    let bits = 1 << 12 | 1 << 22 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29;
    assert_eq!(one.ecx & bits, bits);
    let seven = new.query(7, 0, &state());
    assert_eq!(seven.ebx, 0x0014_0281 | 1 << 3 | 1 << 5 | 1 << 8);
    assert_eq!(new.query(0x8000_0001, 0, &state()).ecx, 0x21);
    let with = |xcr0, subleaf| new.query(0xd, subleaf, &DynamicState { xcr0, ..state() });
    assert_eq!(with(7, 0), CpuidResult { eax: 7, ebx: 832, ecx: 832, edx: 0 });
    assert_eq!(with(3, 0), CpuidResult { eax: 7, ebx: 576, ecx: 832, edx: 0 });
    // XSAVEOPT, XSAVEC, XGETBV with ECX = 1; the compacted size.
    assert_eq!(with(7, 1), CpuidResult { eax: 7, ebx: 832, ecx: 0, edx: 0 });
    assert_eq!(with(7, 2), CpuidResult { eax: 256, ebx: 576, ecx: 0, edx: 0 });
    assert_eq!(with(7, 3), CpuidResult::default());
}

#[test]
fn a_level_is_a_ceiling_for_what_the_host_has() {
    let at = |level| {
        CpuidPolicy::native(CpuidConfig { level, ..config(2) }, ProviderFeatures::default(), &Everything)
    };
    let (all, new, old) = (at(None), at(Some(Level::V3)), at(Some(Level::V2)));
    assert!(all.has(Feature::AVX512F) && all.has(Feature::VAES) && all.has(Feature::AVX2));
    assert!(!new.has(Feature::AVX512F) && new.has(Feature::AVX2) && new.has(Feature::BMI2));
    assert!(!old.has(Feature::AVX2) && !old.has(Feature::VAES) && !old.has(Feature::BMI1));
    assert_eq!([all.xcr0_mask(), new.xcr0_mask(), old.xcr0_mask()], [0xe7, 7, 3]);
    assert_eq!(host_level(&Everything), Level::V3);
}

#[test]
fn pinned_words_of_the_soft_model() {
    let policy = soft(2);
    let one = policy.query(1, 0, &DynamicState { apic_id: 1, cr4: 1 << 18, ..state() });
    assert_eq!(
        one,
        CpuidResult { eax: 0x206c2, ebx: 0x0102_0800, ecx: 0xcdb8_2201 | 1 << 27, edx: 0x1f8b_fbfd }
    );
    let seven = policy.query(7, 0, &state());
    assert_eq!(seven, CpuidResult { eax: 0, ebx: 0x0014_0281, ecx: 0, edx: 1 << 29 });
    let extended = policy.query(0x8000_0001, 0, &state());
    assert_eq!(extended, CpuidResult { eax: 0, ebx: 0, ecx: 1, edx: 0x2c10_0800 });
    assert_eq!(policy.query(6, 0, &state()).eax, 4);
    assert_eq!(policy.query(0x8000_0007, 0, &state()).edx, 1 << 8);
    assert_eq!(policy.query(0x8000_0008, 0, &state()).eax, 0x3028);
}

#[test]
fn vendor_signature_and_brand_read_as_text() {
    let text = |words: &[u32]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        String::from_utf8(bytes).unwrap()
    };
    let policy = soft(1);
    let zero = policy.query(0, 0, &state());
    assert_eq!((zero.eax, text(&[zero.ebx, zero.edx, zero.ecx]).as_str()), (0x16, "GenuineIntel"));
    assert_eq!(policy.vendor(), Vendor::Intel);
    let hypervisor = policy.query(0x4000_0000, 0, &state());
    assert_eq!(text(&[hypervisor.ebx, hypervisor.ecx, hypervisor.edx]), "rvmmrvmmrvmm");
    assert_eq!(hypervisor.eax, 0x4000_0010);
    let kvm = CpuidPolicy::soft(
        CpuidConfig { signature: Signature::KvmCompatible, ..config(1) },
        ProviderFeatures::default(),
    );
    let hypervisor = kvm.query(0x4000_0000, 0, &state());
    assert_eq!(text(&[hypervisor.ebx, hypervisor.ecx, hypervisor.edx]), "KVMKVMKVM\0\0\0");
    assert_eq!(kvm.query(0x4000_0001, 0, &state()), CpuidResult::default());
    let brand: String = (0x8000_0002..=0x8000_0004)
        .map(|leaf| policy.query(leaf, 0, &state()))
        .map(|answer| text(&[answer.eax, answer.ebx, answer.ecx, answer.edx]))
        .collect();
    assert_eq!(brand.trim_end_matches('\0'), "rvmm virtual CPU (x86-64-v2)");
    let long = CpuidConfig { brand: Some("é".repeat(40) + &"x".repeat(100)), ..config(1) };
    assert_eq!(soft::identity(&long).brand[0], 0, "not ASCII is cut");
    let long = CpuidConfig { brand: Some("x".repeat(100)), ..config(1) };
    assert_eq!(soft::identity(&long).brand.iter().filter(|byte| **byte == b'x').count(), 47);
}

#[test]
fn frequencies_agree_with_each_other() {
    let policy = soft(1);
    let crystal = policy.query(0x15, 0, &state());
    let hz = u64::from(crystal.ecx) * u64::from(crystal.ebx) / u64::from(crystal.eax);
    assert_eq!(hz, 2_500_000_000);
    assert_eq!(policy.query(0x16, 0, &state()).eax, 2500);
    let timing = policy.query(0x4000_0010, 0, &state());
    assert_eq!((timing.eax, timing.ebx), (2_500_000, crystal.ecx / 1000));
}

#[test]
fn topology_numbers_every_cpu_once() {
    for cpus in [1, 2, 3, 4, 7, 8, 64, 200, 300] {
        let policy = soft(cpus);
        assert_eq!(policy.has(Feature::HTT), cpus > 1);
        let mut packages = HashSet::new();
        for apic_id in 0..cpus {
            let at = DynamicState { apic_id, ..state() };
            let thread = policy.query(0xb, 0, &at);
            let core = policy.query(0xb, 1, &at);
            assert_eq!((thread.eax, thread.ebx, thread.ecx, thread.edx), (0, 1, 0x100, apic_id));
            assert_eq!((core.ebx, core.ecx, core.edx), (cpus, 0x201, apic_id));
            packages.insert(apic_id >> core.eax);
            let end = policy.query(0xb, 2, &at);
            assert_eq!((end.eax, end.ebx, end.ecx, end.edx), (0, 0, 2, apic_id));
            assert_eq!(policy.query(1, 0, &at).ebx >> 24, apic_id & 0xff);
        }
        assert_eq!(packages.len(), 1, "{cpus} CPUs in one package");
        let l3 = policy.query(4, 3, &state());
        assert!(l3.eax >> 14 & 0xfff >= cpus - 1, "the last-level cache is shared by all");
        assert_eq!(policy.query(4, 0, &state()).eax >> 14 & 0xfff, 0);
        assert_eq!(policy.query(4, 4, &state()), CpuidResult::default());
    }
    let cpus = u32::MAX;
    let policy = soft(cpus);
    let _ = (policy.query(1, 0, &state()), policy.query(4, 3, &state()), policy.query(0xb, 1, &state()));
}

#[test]
fn cache_sizes_come_out_as_said() {
    let size = |subleaf| {
        let cache = soft(1).query(4, subleaf, &state());
        ((cache.ebx >> 22) + 1)
            * ((cache.ebx >> 12 & 0x3ff) + 1)
            * ((cache.ebx & 0xfff) + 1)
            * (cache.ecx + 1)
    };
    assert_eq!([size(0), size(1), size(2), size(3)], [32 << 10, 32 << 10, 256 << 10, 8 << 20]);
}

#[test]
fn dynamic_bits_follow_the_cpu() {
    let policy = soft(1);
    assert_eq!(policy.query(1, 0, &state()).ecx >> 27 & 1, 0);
    assert_eq!(policy.query(1, 0, &DynamicState { cr4: 1 << 18, ..state() }).ecx >> 27 & 1, 1);
    assert_eq!(policy.query(1, 0, &state()).edx >> 9 & 1, 1);
    assert_eq!(policy.query(1, 0, &DynamicState { apic_enabled: false, ..state() }).edx >> 9 & 1, 0);
}

#[test]
fn soft_xsave_is_x87_and_sse() {
    let policy = soft(1);
    let main = policy.query(0xd, 0, &state());
    assert_eq!(main, CpuidResult { eax: 3, ebx: 576, ecx: 576, edx: 0 });
    assert_eq!(policy.query(0xd, 1, &state()), CpuidResult::default());
    assert_eq!(policy.query(0xd, 2, &state()), CpuidResult::default());
    assert!(policy.xcr0_valid(1) && policy.xcr0_valid(3));
    assert!(!policy.xcr0_valid(0) && !policy.xcr0_valid(2) && !policy.xcr0_valid(7));
    let hidden = CpuidConfig { hide: vec![Feature::XSAVE], ..config(1) };
    let policy = CpuidPolicy::soft(hidden, ProviderFeatures::default());
    assert_eq!(policy.query(0xd, 0, &state()), CpuidResult::default());
    assert_eq!(policy.query(1, 0, &DynamicState { cr4: 1 << 18, ..state() }).ecx >> 26 & 3, 0);
    assert!(!policy.xcr0_valid(1));
}

#[test]
fn conditions_show_and_hide() {
    let bare = CpuidConfig { x2apic: false, tsc_deadline: false, ..config(1) };
    let policy = CpuidPolicy::soft(bare, ProviderFeatures::default());
    for feature in [Feature::X2APIC, Feature::TSC_DEADLINE, Feature::RDTSCP, Feature::INVPCID, Feature::PCID]
    {
        assert!(!policy.has(feature), "{feature:?}");
    }
    let provider = ProviderFeatures { rdtscp: true, invpcid: true, ..ProviderFeatures::default() };
    let policy = CpuidPolicy::soft(config(1), provider);
    for feature in [Feature::X2APIC, Feature::TSC_DEADLINE, Feature::RDTSCP, Feature::INVPCID, Feature::PCID]
    {
        assert!(policy.has(feature), "{feature:?}");
    }
    let extra = CpuidConfig { extra: vec![Feature::FSRM, Feature::AVX], ..config(1) };
    let policy = CpuidPolicy::soft(extra, ProviderFeatures::default());
    assert!(policy.has(Feature::FSRM));
    assert!(!policy.has(Feature::AVX), "extra shows only what its row allows");
}

#[test]
fn native_shows_nothing_without_a_row() {
    let all = ProviderFeatures {
        rdtscp: true,
        invpcid: true,
        xsaves: true,
        spec_ctrl: true,
        arch_capabilities: Some(u64::MAX),
    };
    let policy = native(all);
    let mut known: std::collections::HashMap<(u32, u32, Register), u32> = Default::default();
    for row in features::ROWS.iter().chain(features::XSAVE_ROWS) {
        if !matches!(row.native, Native::Host(When::Never)) {
            *known.entry((row.feature.leaf, row.feature.subleaf, row.feature.register)).or_default() |=
                1 << row.feature.bit;
        }
    }
    for (leaf, subleaf) in
        [(1, 0), (6, 0), (7, 0), (7, 1), (7, 2), (0xd, 1), (0x8000_0001, 0), (0x8000_0007, 0)]
    {
        let answer = policy.query(leaf, subleaf, &state());
        for register in [Register::Eax, Register::Ebx, Register::Ecx, Register::Edx] {
            if (leaf == 1 && matches!(register, Register::Eax | Register::Ebx))
                || (leaf, register) == (0xd, Register::Ebx)
            {
                continue;
            }
            let allowed = known.get(&(leaf, subleaf, register)).copied().unwrap_or(0);
            let shown = native::register(&answer, register);
            assert_eq!(shown & !allowed, 0, "leaf {leaf:#x}.{subleaf} {register:?}");
        }
    }
    for leaf in [
        3,
        5,
        9,
        0xa,
        0xf,
        0x10,
        0x12,
        0x14,
        0x17,
        0x18,
        0x19,
        0x1a,
        0x1b,
        0x1f,
        0x20,
        0x8000_0005,
        0x8000_001f,
    ] {
        assert_eq!(policy.query(leaf, 0, &state()), CpuidResult::default(), "leaf {leaf:#x}");
    }
    for feature in
        [Feature::MPX, Feature::TSC_ADJUST, Feature::RTM, Feature::VMX, Feature::MONITOR, Feature::PKU]
    {
        assert!(!policy.has(feature), "{feature:?}");
    }
    for feature in [Feature::AVX512F, Feature::INVPCID, Feature::RDTSCP, Feature::SPEC_CTRL, Feature::XSAVES]
    {
        assert!(policy.has(feature), "{feature:?}");
    }
    assert_eq!(policy.arch_capabilities().unwrap() & (1 << 7 | 1 << 12 | 1 << 18), 0);
    let plain = native(ProviderFeatures::default());
    for feature in [
        Feature::INVPCID,
        Feature::PCID,
        Feature::RDTSCP,
        Feature::RDPID,
        Feature::SPEC_CTRL,
        Feature::XSAVES,
    ] {
        assert!(!plain.has(feature), "{feature:?}");
    }
    assert_eq!(plain.arch_capabilities(), None);
}

#[test]
fn native_hides_what_xcr0_cannot_enable() {
    struct NoAvx512;
    impl HostCpuid for NoAvx512 {
        fn query(&self, leaf: u32, subleaf: u32) -> CpuidResult {
            let mut answer = Everything.query(leaf, subleaf);
            if (leaf, subleaf) == (0xd, 0) {
                answer.eax = 0x27; // opmask without the ZMM halves: not a state to offer
            }
            answer
        }
    }
    let policy =
        CpuidPolicy::native(CpuidConfig { level: None, ..config(1) }, ProviderFeatures::default(), &NoAvx512);
    assert_eq!(policy.xcr0_mask(), 7);
    assert!(policy.has(Feature::AVX2));
    for feature in [Feature::AVX512F, Feature::AVX512VL, Feature::AVX512_VNNI] {
        assert!(!policy.has(feature), "{feature:?}");
    }
}

#[test]
fn native_xsave_sizes_are_the_guests() {
    let policy = native(ProviderFeatures { xsaves: true, ..ProviderFeatures::default() });
    assert_eq!(policy.xcr0_mask(), 0xe7);
    let size = |xcr0| {
        let at = DynamicState { xcr0, ..state() };
        (policy.query(0xd, 0, &at).ebx, policy.query(0xd, 1, &at).ebx)
    };
    assert_eq!(size(1), (576, 576));
    assert_eq!(size(7), (832, 832));
    assert_eq!(size(0xe7), (2688, 576 + 256 + 64 + 512 + 1024));
    assert_eq!(policy.query(0xd, 0, &state()).ecx, 2688);
    assert_eq!(policy.query(0xd, 3, &state()), CpuidResult::default(), "MPX");
    assert_eq!(policy.query(0xd, 9, &state()), CpuidResult::default(), "PKRU");
    assert_eq!(policy.query(0xd, 7, &state()).ebx, 1664);
    for (value, valid) in [(7, true), (5, false), (0xe7, true), (0x67, false), (0xe3, false), (0x1f, false)] {
        assert_eq!(policy.xcr0_valid(value), valid, "{value:#x}");
    }
}

#[test]
fn native_identity_is_the_hosts_with_the_machines_topology() {
    let policy = native(ProviderFeatures::default());
    assert_eq!(policy.vendor(), Vendor::Intel);
    assert_eq!(policy.query(1, 0, &state()).eax, 0x0005_0657);
    assert_eq!(policy.query(1, 0, &state()).ebx, 0x0002_0800);
    assert_eq!(policy.physical_bits(), 40);
    assert_eq!(policy.query(0x8000_0002, 0, &state()).eax, 0x4847_4645);
    assert_eq!(policy.query(4, 0, &state()).eax, 0x0400_0121);
    assert_eq!(policy.query(4, 1, &state()).eax, 0x0400_4163);
    assert_eq!(policy.query(0, 0, &state()).eax, 0x16);
}

#[test]
fn masks_follow_features() {
    let policy = soft(1);
    let cr4 = policy.cr4_mask();
    assert_eq!(cr4, 0x0035_07fc);
    assert_eq!(policy.efer_mask(), 0x901);
    let hidden = CpuidConfig { hide: vec![Feature::NX, Feature::SMEP], ..config(1) };
    let policy = CpuidPolicy::soft(hidden, ProviderFeatures::default());
    assert_eq!(policy.efer_mask(), 0x101);
    assert_eq!(policy.cr4_mask(), cr4 & !(1 << 20));
}
