use super::*;
use crate::x86_64::cpuid::{
    CpuidConfig, CpuidResult, Feature, HostCpuid, Level, ProviderFeatures, Signature, Timing, Vendor,
};

fn config(hide: Vec<Feature>) -> CpuidConfig {
    CpuidConfig {
        cpus: 1,
        timing: Timing::for_tsc(1_000_000_000),
        x2apic: true,
        tsc_deadline: true,
        physical_bits: 40,
        brand: None,
        hide,
        extra: Vec::new(),
        level: Some(Level::V2),
        signature: Signature::Rvmm,
    }
}

fn file() -> MsrFile {
    file_without(Vec::new())
}

fn file_without(hide: Vec<Feature>) -> MsrFile {
    let provider = ProviderFeatures { rdtscp: true, ..ProviderFeatures::default() };
    MsrFile::new(&CpuidPolicy::soft(config(hide), provider))
}

#[test]
fn rows_are_ascending_disjoint_and_explained() {
    for pair in ROWS.windows(2) {
        assert!(pair[0].last < pair[1].first, "{:#x} and {:#x}", pair[0].first, pair[1].first);
    }
    for row in ROWS {
        assert!(row.first <= row.last && !row.why.is_empty());
        if let Policy::Stored { reset, takes } = row.policy {
            assert!(takes(reset, 40), "{:#x} does not take its own reset value", row.first);
        }
    }
}

#[test]
fn every_stored_register_keeps_what_it_takes_and_forgets_on_reset() {
    let samples = [0, 6, 0x0606_0606_0606_0606, 0x0007_0406_0007_0106, 0xff_ffff_f800, 0xc06, 1, u64::MAX];
    for row in ROWS {
        let Policy::Stored { reset, takes } = row.policy else { continue };
        for msr in row.first..=row.last {
            let mut file = file();
            if file.read(msr).is_err() {
                assert!(matches!(row.first, 0xda0), "{msr:#x} is missing");
                continue;
            }
            assert_eq!(file.read(msr), Ok(Read::Value(reset)));
            for value in samples {
                let before = file.read(msr);
                if takes(value, 40) {
                    assert_eq!(file.write(msr, value), Ok(Write::Done), "{msr:#x} {value:#x}");
                    assert_eq!(file.read(msr), Ok(Read::Value(value)));
                } else {
                    assert_eq!(file.write(msr, value), Err(GeneralProtection { msr }), "{msr:#x} {value:#x}");
                    assert_eq!(file.read(msr), before);
                }
            }
            file.reset();
            assert_eq!(file.read(msr), Ok(Read::Value(reset)));
        }
    }
}

#[test]
fn neighbours_of_a_stored_run_are_their_own_registers() {
    let mut file = file();
    file.write(0x200, 0xfd00_0000).unwrap();
    file.write(0x201, 0xff_ff00_0800).unwrap();
    assert_eq!(file.read(0x200), Ok(Read::Value(0xfd00_0000)));
    assert_eq!(file.read(0x201), Ok(Read::Value(0xff_ff00_0800)));
    assert_eq!(file.read(0x202), Ok(Read::Value(0)));
    assert_eq!(file.read(0x210), Err(GeneralProtection { msr: 0x210 }));
}

#[test]
fn what_linux_reads_without_a_handler_answers() {
    let mut file = file();
    assert_eq!(file.read(0x1a0), Ok(Read::Value(0x1801)));
    assert_eq!(file.write(0x1a0, 0x1801 | 1 << 34), Ok(Write::Done));
    assert_eq!(file.read(0x1a0), Ok(Read::Value(0x1801)));
    assert_eq!(file.write(0x8b, 0), Ok(Write::Done));
    assert!(matches!(file.read(0x8b), Ok(Read::Value(value)) if value >> 32 != 0));
    assert_eq!(file.read(0x17), Ok(Read::Value(0)));
    assert_eq!(file.read(0xfe), Ok(Read::Value(0x508)));
    assert_eq!(file.write(0xfe, 0), Err(GeneralProtection { msr: 0xfe }));
    assert_eq!(file.read(0x3a), Ok(Read::Value(1)));
}

#[test]
fn machine_checks_have_no_banks() {
    let mut file = file();
    assert_eq!(file.read(0x179), Ok(Read::Value(0)));
    assert_eq!(file.write(0x17a, 0), Ok(Write::Done));
    assert_eq!(file.write(0x17a, 1), Err(GeneralProtection { msr: 0x17a }));
    assert_eq!(file.read(0x400), Err(GeneralProtection { msr: 0x400 }));
}

#[test]
fn unknown_registers_are_general_protection() {
    let mut file = file();
    for msr in [
        0x34,
        0x3b,
        0x48,
        0xce,
        0x10b,
        0x122,
        0x140,
        0x17b,
        0x186,
        0x345,
        0x38f,
        0x606,
        0x611,
        0xc00,
        0x4b56_4d00,
        0xc001_0015,
        u32::MAX,
    ] {
        assert_eq!(file.read(msr), Err(GeneralProtection { msr }), "{msr:#x}");
        assert_eq!(file.write(msr, 0), Err(GeneralProtection { msr }), "{msr:#x}");
    }
    for msr in (0..0x2000).chain(0xc000_0000..0xc000_2000) {
        let _ = (file.read(msr), file.write(msr, u64::MAX), file.write(msr, 0));
    }
}

#[test]
fn owners_get_what_is_theirs() {
    let mut file = file();
    for (msr, owner) in [
        (0x10, Owner::Tsc),
        (0x1b, Owner::LocalApic),
        (0x6e0, Owner::LocalApic),
        (0x800, Owner::LocalApic),
        (0x83f, Owner::LocalApic),
        (0xbff, Owner::LocalApic),
        (0x174, Owner::SysenterCs),
        (0x175, Owner::SysenterEsp),
        (0x176, Owner::SysenterEip),
        (0xc000_0080, Owner::Efer),
        (0xc000_0081, Owner::Vcpu),
        (0xc000_0100, Owner::FsBase),
        (0xc000_0101, Owner::GsBase),
        (0xc000_0102, Owner::Vcpu),
        (0xc000_0103, Owner::Vcpu),
    ] {
        assert_eq!(file.read(msr), Ok(Read::Owner(owner)), "{msr:#x}");
        assert_eq!(file.write(msr, 0x1000), Ok(Write::Owner(owner, 0x1000)), "{msr:#x}");
    }
    for msr in [0x175, 0x176, 0xc000_0082, 0xc000_0083, 0xc000_0100, 0xc000_0101, 0xc000_0102] {
        assert_eq!(file.write(msr, 1 << 47), Err(GeneralProtection { msr }), "not canonical");
        let kernel = 0xffff_8000_0000_0000;
        assert!(matches!(file.write(msr, kernel), Ok(Write::Owner(_, value)) if value == kernel));
    }
    for msr in [0xc000_0084, 0xc000_0103] {
        assert_eq!(file.write(msr, 1 << 32), Err(GeneralProtection { msr }), "upper half is reserved");
    }
}

#[test]
fn features_take_their_registers_along() {
    for (feature, msrs) in [
        (Feature::MTRR, &[0xfe_u32, 0x200, 0x20f, 0x250, 0x2ff][..]),
        (Feature::PAT, &[0x277]),
        (Feature::X2APIC, &[0x800, 0x830]),
        (Feature::TSC_DEADLINE, &[0x6e0]),
        (Feature::RDTSCP, &[0xc000_0103]),
        (Feature::ARCH_CAPABILITIES, &[0x10a]),
    ] {
        for msr in msrs {
            assert!(file().read(*msr).is_ok(), "{msr:#x}");
            let mut without = file_without(vec![feature]);
            assert_eq!(without.read(*msr), Err(GeneralProtection { msr: *msr }));
            assert!(without.write(*msr, 0).is_err());
            assert!(!without.native().iter().any(|native| native.msr == *msr));
        }
    }
}

#[test]
fn memory_type_registers_check_their_values() {
    let mut file = file();
    for (msr, value, taken) in [
        (0x277, 0x0007_0406_0007_0406, true),
        (0x277, 0x0507_0406_0107_0406, true),
        (0x277, 2, false),
        (0x277, 0x0300_0000_0000_0000, false),
        (0x277, 8, false),
        (0x250, 7, false),
        (0x250, 0x0606_0606_0606_0606, true),
        (0x2ff, 0xc06, true),
        (0x2ff, 0x1006, false),
        (0x2ff, 0x807, false),
        (0x200, 0x8000_0006, true),
        (0x200, 0x8000_0002, false),
        (0x200, 1 << 40, false),
        (0x201, 0xff_8000_0800, true),
        (0x201, 0xffff_8000_0800, false),
    ] {
        assert_eq!(file.write(msr, value).is_ok(), taken, "{msr:#x} <- {value:#x}");
    }
}

#[test]
fn native_list_is_what_the_framework_accepts() {
    let accepted = [
        0x48,
        0x49,
        0x174,
        0x175,
        0x176,
        0xc000_0081,
        0xc000_0082,
        0xc000_0083,
        0xc000_0084,
        0xc000_0100,
        0xc000_0101,
        0xc000_0102,
        0xc000_0103,
    ];
    let list: Vec<u32> = file().native().iter().map(|native| native.msr).collect();
    assert!(list.iter().all(|msr| accepted.contains(msr)), "{list:x?}");
    assert_eq!(list.len(), 11, "all but SPEC_CTRL and PRED_CMD");
    let required: Vec<u32> =
        file().native().iter().filter(|native| native.required).map(|native| native.msr).collect();
    assert_eq!(required, [0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0102, 0xc000_0103]);
}

#[test]
fn speculation_registers_come_with_the_provider() {
    struct Host;
    impl HostCpuid for Host {
        fn query(&self, leaf: u32, _subleaf: u32) -> CpuidResult {
            match leaf {
                0 => CpuidResult { eax: 7, ebx: 0x756e_6547, ecx: 0x6c65_746e, edx: 0x4965_6e69 },
                0xd => CpuidResult::default(),
                0x8000_0000 => CpuidResult { eax: 0x8000_0008, ..CpuidResult::default() },
                0x8000_0008 => CpuidResult { eax: 39, ..CpuidResult::default() },
                _ => CpuidResult { eax: u32::MAX, ebx: u32::MAX, ecx: u32::MAX, edx: u32::MAX },
            }
        }
    }
    let provider =
        ProviderFeatures { spec_ctrl: true, arch_capabilities: Some(0x80_0000_00eb), ..Default::default() };
    let cpuid = CpuidPolicy::native(config(Vec::new()), provider, &Host);
    assert_eq!(cpuid.vendor(), Vendor::Intel);
    let mut file = MsrFile::new(&cpuid);
    assert_eq!(file.read(0x48), Ok(Read::Owner(Owner::Vcpu)));
    assert_eq!(file.read(0x49), Err(GeneralProtection { msr: 0x49 }), "a command");
    assert_eq!(file.write(0x49, 1), Ok(Write::Owner(Owner::Vcpu, 1)));
    assert_eq!(file.write(0x49, 2), Err(GeneralProtection { msr: 0x49 }));
    assert_eq!(file.read(0x10a), Ok(Read::Value(0x6b)), "TSX_CTRL is hidden");
    assert_eq!(file.write(0x10a, 0), Err(GeneralProtection { msr: 0x10a }));
    // MAXPHYADDR is the host's 39.
    assert_eq!(file.write(0x200, 1 << 39), Err(GeneralProtection { msr: 0x200 }));
}

#[test]
fn efer_writes() {
    const ALLOWED: u64 = 0x901;
    assert_eq!(efer_after_write(0, 0x901, ALLOWED, false), Some(0x901));
    assert_eq!(efer_after_write(0, 0x902, ALLOWED, false), None, "reserved");
    assert_eq!(efer_after_write(0, 0x100, ALLOWED, true), None, "LME with paging on");
    assert_eq!(efer_after_write(0xd00, 0x401, ALLOWED, true), None, "LME cleared with paging on");
    assert_eq!(efer_after_write(0x500, 0x901, ALLOWED, true), Some(0xd01), "LMA is kept");
    assert_eq!(efer_after_write(0x100, 0x500, ALLOWED, false), Some(0x100), "LMA is not written");
}
