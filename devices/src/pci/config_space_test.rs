use proptest::prelude::*;

use super::*;
use crate::any_access;

const IDENTITY: PciIdentity = PciIdentity {
    vendor: 0x1af4,
    device: 0x1042,
    class: [0x01, 0x80, 0x00],
    revision: 1,
    subsystem_vendor: 0x1af4,
    subsystem: 0x0040,
};

fn space() -> ConfigSpace {
    ConfigSpace::new(IDENTITY)
}

#[test]
fn the_header_says_what_it_is() {
    let mut space = space();
    space.set_interrupt_pin(InterruptPin::B);
    for (offset, value) in [
        (0x00, 0x1042_1af4),
        (0x04, 0),
        (0x08, 0x0180_0001),
        (0x0c, 0),
        (0x10, 0),
        (0x2c, 0x0040_1af4),
        (0x30, 0),
        (0x34, 0),
        (0x3c, 0x0000_0200),
    ] {
        assert_eq!(space.read(offset, Width::Four), value, "{offset:#x}");
    }
}

#[test]
fn every_byte_reads_alike_in_every_width() {
    let mut space = space();
    space.add_bar(0, BarKind::Memory64, 0x4000).unwrap();
    space.add_capability(spec::capability::VENDOR, &[1, 2, 3, 4, 5], &[]).unwrap();
    for at in 0..256_u16 {
        let bytes: Vec<u32> = (0..4).map(|n| space.read(at + n, Width::One)).collect();
        assert_eq!(space.read(at, Width::Two), bytes[0] | bytes[1] << 8);
        let four = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | bytes[3] << 24;
        assert_eq!(space.read(at, Width::Four), four);
        assert_eq!(space.read(at, Width::Eight), four, "never more than four");
    }
    assert_eq!(space.read(0x100, Width::Four), u32::MAX);
    assert_eq!(space.read(u16::MAX, Width::Four), u32::MAX);
}

#[test]
fn sizing_finds_each_kind_of_window() {
    for (kind, size, low, high) in [
        (BarKind::Io, 0x20, 0xffff_ffe1_u32, 0),
        (BarKind::Memory32, 0x1000, 0xffff_f000, 0),
        (BarKind::Memory64, 0x1_0000, 0xffff_000c, 0xffff_ffff),
        (BarKind::Memory64, 1 << 32, 0x0000_000c, 0xffff_ffff),
    ] {
        let mut space = space();
        space.add_bar(2, kind, size).unwrap();
        space.write(0x18, Width::Four, u32::MAX);
        space.write(0x1c, Width::Four, u32::MAX);
        assert_eq!(space.read(0x18, Width::Four), low, "{kind:?} {size:#x}");
        assert_eq!(space.read(0x1c, Width::Four), high, "{kind:?} {size:#x}");
    }
}

#[test]
fn windows_follow_their_registers_and_the_command_register() {
    let mut space = space();
    space.add_bar(0, BarKind::Memory64, 0x4000).unwrap();
    space.add_bar(2, BarKind::Io, 0x40).unwrap();
    space.set_bar(0, 0x8_c000_4000);
    space.set_bar(2, 0xc040);
    let region = |space: &ConfigSpace, index| space.bar(index).unwrap();

    assert_eq!(
        region(&space, 0),
        BarRegion { kind: BarKind::Memory64, base: 0x8_c000_4000, size: 0x4000, enabled: false }
    );
    assert_eq!(region(&space, 2), BarRegion { kind: BarKind::Io, base: 0xc040, size: 0x40, enabled: false });
    assert_eq!((space.bar(1), space.bar(9)), (None, None));
    space.write(offset::COMMAND, Width::Two, 0xffff);
    assert_eq!(space.command(), command::WRITABLE);
    assert!(region(&space, 0).enabled && region(&space, 2).enabled);
    space.reset();
    assert_eq!(space.command(), 0);
    assert_eq!(region(&space, 0).base, 0);
    assert_eq!(space.read(0x10, Width::Four), 0xc, "flags are not the guest's");
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let mut space = space();
    space.add_bar(1, BarKind::Memory64, 0x1000).unwrap();
    for (index, kind) in [
        (0, BarKind::Memory64),
        (1, BarKind::Io),
        (2, BarKind::Memory32),
        (6, BarKind::Io),
        (5, BarKind::Memory64),
    ] {
        assert_eq!(space.add_bar(index, kind, 0x40), Err(ConfigError::NoBar { index }), "{index} {kind:?}");
    }
    for (kind, size) in [
        (BarKind::Io, 2),
        (BarKind::Io, 512),
        (BarKind::Memory32, 8),
        (BarKind::Memory32, 0x3000),
        (BarKind::Memory32, 1 << 32),
        (BarKind::Memory32, 0),
    ] {
        assert_eq!(space.add_bar(0, kind, size), Err(ConfigError::BadBarSize { index: 0, size }));
    }
}

#[test]
fn capabilities_are_linked_and_bounded() {
    let mut space = space();
    assert_eq!(space.read(offset::STATUS, Width::Two), 0);
    let first = space.add_capability(0x09, &[0xaa; 3], &[0x0f]).unwrap();
    let second = space.add_capability(0x11, &[0xbb; 10], &[]).unwrap();

    assert_eq!((first, second), (0x40, 0x48));
    assert_eq!(space.read(offset::STATUS, Width::Two), 0x10);
    assert_eq!(space.read(offset::CAPABILITIES, Width::One), 0x40);
    assert_eq!(space.read(0x40, Width::Four), 0xaaaa_4809);
    assert_eq!(space.read(0x48, Width::Two), 0x0011);
    space.write(0x40, Width::Four, 0);
    assert_eq!(space.read(0x40, Width::Four), 0xaaa0_4809, "only the bits allowed");
    let error = space.add_capability(9, &[0; 200], &[]).unwrap_err();
    assert_eq!(error.to_string(), "no room for capability 0x09 of 202 bytes");
    assert!(space.add_capability(9, &[0; 70_000], &[]).is_err());
}

#[test]
fn interrupt_status_shows_and_clears() {
    let mut space = space();
    space.set_interrupt_status(true);
    assert_eq!(space.word(offset::STATUS) & status::INTERRUPT, status::INTERRUPT);
    space.set_interrupt_status(false);
    assert_eq!(space.word(offset::STATUS), 0);
}

proptest! {
    #[test]
    fn no_write_changes_what_is_not_writable(writes in prop::collection::vec((0_u16..0x120, any_access::width(), any::<u32>()), 1..100)) {
        let mut space = space();
        space.add_bar(0, BarKind::Memory32, 0x1000).unwrap();
        let fresh = space.clone();
        for (at, width, value) in writes {
            space.write(at, width, value);
            let _ = space.bar(0);
        }
        for at in 0..256 {
            let fixed = !fresh.writable[at];
            prop_assert_eq!(space.bytes[at] & fixed, fresh.bytes[at] & fixed);
        }
    }
}
