use super::*;

const WINDOW: GpaRange = GpaRange::new(0xe_0000, 0x2_0000);

fn pci() -> PciConfig {
    PciConfig {
        ecam: GpaRange::new(0xe000_0000, 256 << 20),
        last_bus: 255,
        mmio32: GpaRange::new(0xc000_0000, 512 << 20),
        mmio64: Some(GpaRange::new(64 << 30, 64 << 30)),
        io: (0x1000, 0xffff),
        intx: [16, 17, 18, 19],
    }
}

fn full(cpus: u32) -> AcpiConfig {
    AcpiConfig { pci: Some(pci()), pvpanic: Some(0x505), has_i8042: true, ..AcpiConfig::pc(cpus) }
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(*bytes[offset..].first_chunk().unwrap())
}

fn quad(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(*bytes[offset..].first_chunk().unwrap())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The table at `address`, its checksum checked.
fn table(tables: &AcpiTables, address: u64) -> &[u8] {
    let start = usize::try_from(address - tables.gpa).unwrap();
    let bytes = &tables.bytes[start..start + word(&tables.bytes, start + 4) as usize];
    assert!(bytes.starts_with(b"FACS") || sum(bytes) == 0, "checksum of {:?}", &bytes[..4]);
    bytes
}

/// The tables that the XSDT names, by signature.
fn find<'a>(tables: &'a AcpiTables, signature: &[u8; 4]) -> Option<&'a [u8]> {
    let xsdt = table(tables, quad(&tables.bytes, 24));
    assert!(xsdt.starts_with(b"XSDT"));
    let entries = xsdt[36..].chunks_exact(8).map(|entry| quad(entry, 0));
    entries.map(|address| table(tables, address)).find(|table| table.starts_with(signature))
}

/// Type and bytes of each MADT entry.
fn madt_entries(madt: &[u8]) -> Vec<&[u8]> {
    let mut rest = &madt[44..];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, next) = rest.split_at(usize::from(rest[1]));
        entries.push(entry);
        rest = next;
    }
    entries
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn the_rsdp_is_found_the_old_way() {
    let tables = AcpiTables::build(&full(1), WINDOW).unwrap();
    assert_eq!(tables.rsdp(), 0xe_0000);
    assert!(tables.bytes.starts_with(b"RSD PTR "));
    assert_eq!((sum(&tables.bytes[..20]), sum(&tables.bytes[..36])), (0, 0));
    assert_eq!(tables.bytes[15], 2);
}

#[test]
fn the_fadt_names_ports_and_lacks() {
    let tables = AcpiTables::build(&full(2), WINDOW).unwrap();
    let fadt = find(&tables, b"FACP").unwrap();
    assert_eq!((fadt[46], word(fadt, 48)), (9, 0), "SCI, no SMI command port");
    assert_eq!((word(fadt, 56), fadt[88]), (0x600, 4), "PM1 event");
    assert_eq!((word(fadt, 64), fadt[89]), (0x604, 2), "PM1 control");
    assert_eq!((word(fadt, 76), fadt[91]), (0x608, 4), "PM timer");
    assert_eq!(fadt[116..120], [1, 8, 0, 1], "reset register: I/O, 8 bits");
    assert_eq!((quad(fadt, 120), fadt[128]), (0xcf9, 6));
    let flags = word(fadt, 112);
    assert_eq!(flags & 1 << 4, 0, "the power button is the fixed one");
    assert_eq!((flags >> 10 & 1, flags >> 8 & 1), (1, 0), "reset register, 24-bit timer");
    assert_eq!(u16::from_le_bytes([fadt[109], fadt[110]]), 0b1_0111, "legacy devices, 8042, no VGA, no ASPM");
    assert!(table(&tables, word(fadt, 36).into()).starts_with(b"FACS"));
    assert_eq!(word(fadt, 36) % 64, 0);
    assert!(table(&tables, word(fadt, 40).into()).starts_with(b"DSDT"));
    assert_eq!(u64::from(word(fadt, 40)), quad(fadt, 140));
}

#[test]
fn the_fadt_follows_its_configuration() {
    let mut config = AcpiConfig::pc(1);
    config.has_rtc = false;
    config.rtc_century = 0x32;
    config.reset = None;
    config.power.pm_timer_32bit = true;
    let tables = AcpiTables::build(&config, WINDOW).unwrap();
    let fadt = find(&tables, b"FACP").unwrap();
    assert_eq!(fadt[108], 0);
    assert_eq!(fadt[109], 0b11_0101);
    assert_eq!((word(fadt, 112) >> 10 & 1, word(fadt, 112) >> 8 & 1), (0, 1));
    assert_eq!(fadt[116..129], [0; 13]);
    assert!(find(&tables, b"MCFG").is_none());
}

#[test]
fn the_madt_lists_controllers_and_overrides() {
    let tables = AcpiTables::build(&full(3), WINDOW).unwrap();
    let madt = find(&tables, b"APIC").unwrap();
    assert_eq!((word(madt, 36), word(madt, 40)), (0xfee0_0000, 1));
    let expected: [&[u8]; 7] = [
        &[0, 8, 0, 0, 1, 0, 0, 0],
        &[0, 8, 1, 1, 1, 0, 0, 0],
        &[0, 8, 2, 2, 1, 0, 0, 0],
        &[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
        &[2, 10, 0, 0, 2, 0, 0, 0, 0b0101, 0],
        &[2, 10, 0, 9, 9, 0, 0, 0, 0b1101, 0],
        &[4, 6, 0xff, 0, 0, 1],
    ];
    assert_eq!(madt_entries(madt), expected);
}

#[test]
fn large_apic_ids_take_the_x2apic_form() {
    let config = AcpiConfig { apic_ids: vec![254, 255, 0x1000], has_8259: false, ..AcpiConfig::pc(1) };
    let tables = AcpiTables::build(&config, WINDOW).unwrap();
    let madt = find(&tables, b"APIC").unwrap();
    assert_eq!(word(madt, 40), 0);
    let entries = madt_entries(madt);
    assert_eq!(entries[0], [0, 8, 0, 254, 1, 0, 0, 0]);
    assert_eq!(entries[1], [9, 16, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(entries[2], [9, 16, 0, 0, 0, 0x10, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn the_mcfg_names_the_ecam_window() {
    let tables = AcpiTables::build(&full(1), WINDOW).unwrap();
    let mcfg = find(&tables, b"MCFG").unwrap();
    assert_eq!((mcfg.len(), quad(mcfg, 44)), (60, 0xe000_0000));
    assert_eq!(mcfg[52..56], [0, 0, 0, 255]);
}

#[test]
fn the_dsdt_has_the_devices_asked_for() {
    let dsdt = |config: &AcpiConfig| {
        let tables = AcpiTables::build(config, WINDOW).unwrap();
        let fadt = find(&tables, b"FACP").unwrap();
        table(&tables, quad(fadt, 140)).to_vec()
    };
    let (full, small) = (dsdt(&full(2)), dsdt(&AcpiConfig::pc(1)));
    for (name, in_small) in [
        ("C000", true),
        ("C001", false),
        ("COM1", true),
        ("RTC_", true),
        ("KBD_", false),
        ("PVPN", false),
        ("ECAM", false),
        ("PCI0", false),
        ("_PRT", false),
        ("_OSC", false),
    ] {
        assert!(contains(&full, name.as_bytes()), "{name}");
        assert_eq!(contains(&small, name.as_bytes()), in_small, "{name}");
    }
    // Name (_S5_, Package (4) { 5, 0, 0, 0 })
    assert!(contains(&small, b"\x08_S5_\x12\x07\x04\x0a\x05\0\0\0"));
    // IO (0x3f8, 8 ports), interrupt 4: edge, active high.
    assert!(contains(&small, &[0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x89, 6, 0, 3, 1, 4, 0, 0, 0]));
}

#[test]
fn pins_are_wired_in_rotation() {
    let mut config = full(1);
    config.pci = Some(PciConfig { intx: [0x21, 0x22, 0x23, 0x24], ..pci() });
    let tables = AcpiTables::build(&config, WINDOW).unwrap();
    for device in 0..32_u8 {
        for pin in 0..4_u8 {
            // DWordPrefix device:ffff (WordPrefix for device 0), pin, 0, gsi.
            let mut route =
                if device == 0 { vec![0x0b, 0xff, 0xff] } else { vec![0x0c, 0xff, 0xff, device, 0] };
            match pin {
                0 | 1 => route.push(pin),
                _ => route.extend([0x0a, pin]),
            }
            route.extend([0, 0x0a, 0x21 + (device + pin) % 4]);
            assert!(contains(&tables.bytes, &route), "device {device} pin {pin}");
        }
    }
}

#[test]
fn tables_for_many_processors_fit_and_for_too_many_do_not() {
    assert!(AcpiTables::build(&full(255), WINDOW).is_ok());
    let error = AcpiTables::build(&full(4000), GpaRange::new(0xe_0000, 0x8000)).unwrap_err();
    assert!(matches!(error, AcpiError::TooLarge { room: 0x8000, gpa: 0xe_0000, .. }), "{error}");
}

#[test]
fn machines_that_make_no_sense_are_refused() {
    let with = |change: fn(&mut PciConfig)| {
        let mut config = pci();
        change(&mut config);
        AcpiTables::build(&AcpiConfig { pci: Some(config), ..AcpiConfig::pc(1) }, WINDOW).unwrap_err()
    };
    assert!(matches!(with(|pci| pci.ecam.start += 4096), AcpiError::Ecam { buses: 256, .. }));
    assert!(matches!(with(|pci| pci.ecam.size -= 1), AcpiError::Ecam { .. }));
    assert!(matches!(with(|pci| pci.mmio32.size = 0), AcpiError::PciWindow { what: "memory", .. }));
    assert!(matches!(with(|pci| pci.mmio32.size = 1 << 32), AcpiError::PciWindow { .. }));
    assert!(matches!(with(|pci| pci.mmio64 = Some(GpaRange::new(u64::MAX, 2))), AcpiError::PciWindow { .. }));
    assert!(matches!(with(|pci| pci.io = (5, 4)), AcpiError::PciWindow { what: "I/O port", .. }));
    assert!(matches!(with(|pci| pci.io = (0, 0xffff)), AcpiError::PciWindow { .. }));
    let none = AcpiConfig { apic_ids: vec![], ..AcpiConfig::pc(1) };
    assert_eq!(AcpiTables::build(&none, WINDOW), Err(AcpiError::NoCpus));
    let broadcast = AcpiConfig { apic_ids: vec![0, u32::MAX], ..AcpiConfig::pc(1) };
    assert_eq!(AcpiTables::build(&broadcast, WINDOW), Err(AcpiError::ApicId(u32::MAX)));
}
