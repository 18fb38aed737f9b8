use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::any_access;

/// Remembers accesses; reads give the offset's low byte in every byte plus its place.
#[derive(Default)]
struct Probe {
    seen: Vec<(u64, Width, Option<u64>)>,
    refuses: bool,
}

impl BusDevice for Probe {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        self.seen.push((offset, width, None));
        if self.refuses {
            return Err(Unclaimed);
        }
        Ok((0..8).fold(0, |value, n| value | ((offset + n) & 0xff) << (8 * n)))
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        self.seen.push((offset, width, Some(value)));
        if self.refuses { Err(Unclaimed) } else { Ok(()) }
    }
}

fn probe() -> Arc<Mutex<Probe>> {
    Arc::default()
}

fn window(base: u64, len: u64, native: Width) -> MmioWindow {
    MmioWindow { base, len, first_offset: 0, native }
}

#[test]
fn every_width_at_every_alignment_is_split_to_the_native_width() {
    for native in Width::ALL {
        let bus = MmioBus::new();
        let device = probe();
        bus.attach("probe", window(0x1000, 0x20, native), device.clone()).unwrap();
        for width in Width::ALL {
            for offset in 0..8 {
                let expected = (0..width.bytes()).fold(0, |value, n| value | (offset + n) << (8 * n));

                assert_eq!(bus.read(0x1000 + offset, width), expected, "{native:?} {width:?} {offset}");

                let seen = std::mem::take(&mut device.lock().unwrap().seen);
                let each = native.min(width);
                assert!(seen.iter().all(|(_, width, _)| *width == each));
                assert_eq!(seen.len() as u64, width.bytes() / each.bytes());
            }
        }
    }
}

#[test]
fn writes_are_split_low_address_first() {
    let bus = PortBus::new();
    let device = probe();
    bus.attach("probe", &[PortWindow::bytes(0x40, 4, 8)], device.clone()).unwrap();

    bus.write(0x40, Width::Four, 0x4433_2211);

    let seen = &device.lock().unwrap().seen;
    let expected: Vec<_> = (0..4).map(|n| (8 + n, Width::One, Some(0x11 * (n + 1)))).collect();
    assert_eq!(*seen, expected);
}

#[test]
fn an_access_across_two_devices_reaches_both_and_the_gap_reads_as_ones() {
    let bus = PortBus::new();
    let (first, second) = (probe(), probe());
    bus.attach("first", &[PortWindow::bytes(0x10, 1, 0)], first).unwrap();
    bus.attach("second", &[PortWindow::bytes(0x12, 1, 0x77)], second).unwrap();

    assert_eq!(bus.read(0x10, Width::Four), 0xff77_ff00);

    let unclaimed: Vec<u64> = bus.unclaimed().accesses.iter().map(|access| access.address).collect();
    assert_eq!(unclaimed, [0x11, 0x13]);
}

#[test]
fn what_nobody_answers_reads_as_ones_and_is_counted_once_per_address() {
    let bus = PortBus::new();
    for width in [Width::One, Width::Two, Width::Four] {
        assert_eq!(u64::from(bus.read(0x80, width)), width.mask());
    }
    bus.write(0x80, Width::One, 0x5a);

    let report = bus.unclaimed();

    assert_eq!(report.accesses.len(), 2);
    assert_eq!(report.accesses[0].count, 3);
    assert_eq!(report.accesses[1].direction, Direction::Write);
    assert_eq!(report.accesses[1].first_value, 0x5a);
}

#[test]
fn a_device_that_refuses_is_recorded_like_nobody() {
    let bus = MmioBus::new();
    bus.attach(
        "refuses",
        window(0, 0x10, Width::Eight),
        Arc::new(Mutex::new(Probe { refuses: true, ..Probe::default() })),
    )
    .unwrap();

    assert_eq!(bus.read(4, Width::Four), 0xffff_ffff);
    bus.write(8, Width::Eight, 1);

    assert_eq!(bus.unclaimed().accesses.len(), 2);
}

#[test]
fn the_record_of_unclaimed_accesses_is_bounded() {
    let bus = MmioBus::new();
    for n in 0..1000 {
        bus.read(n * 4096, Width::Four);
    }

    let report = bus.unclaimed();

    assert_eq!(report.accesses.len() as u64 + report.not_listed, 1000);
    assert!(report.accesses.len() <= 256);
}

#[test]
fn overlaps_are_refused_and_neighbours_are_not() {
    let bus = MmioBus::new();
    bus.attach("middle", window(0x1000, 0x1000, Width::Four), probe()).unwrap();

    for (base, len) in [(0x1000, 1), (0x1fff, 1), (0x1fff, 0x10), (0, 0x1001), (0, 0x10_0000), (0x1800, 8)] {
        let error = bus.attach("other", window(base, len, Width::Four), probe()).unwrap_err();
        assert!(matches!(error, BusError::Overlap { .. }), "{base:#x} {len:#x}");
    }
    bus.attach("below", window(0, 0x1000, Width::Four), probe()).unwrap();
    bus.attach("above", window(0x2000, 0x1000, Width::Four), probe()).unwrap();

    let error = bus.attach("x", window(0x1ff0, 0x20, Width::Four), probe()).unwrap_err();
    assert_eq!(error.to_string(), "x at 0x1ff0..=0x200f overlaps above at 0x2000..=0x2fff");
}

#[test]
fn ranges_that_are_empty_or_wrap_are_refused() {
    let bus = MmioBus::new();
    for (base, len) in [(0, 0), (u64::MAX, 2), (2, u64::MAX)] {
        let error = bus.attach("bad", window(base, len, Width::Four), probe()).unwrap_err();
        assert!(matches!(error, BusError::BadRange { .. }), "{base:#x} {len:#x}");
    }
    let ports = PortBus::new();
    assert!(ports.attach("bad", &[PortWindow::bytes(0xffff, 2, 0)], probe()).is_err());
    ports.attach("last", &[PortWindow::bytes(0xffff, 1, 0)], probe()).unwrap();
    assert_eq!(ports.read(0xffff, Width::One), 0);
}

#[test]
fn a_device_is_attached_in_all_its_windows_or_in_none() {
    let bus = PortBus::new();
    bus.attach("there", &[PortWindow::bytes(0xa0, 2, 0)], probe()).unwrap();

    bus.attach("pair", &[PortWindow::bytes(0x20, 2, 0), PortWindow::bytes(0xa1, 2, 2)], probe()).unwrap_err();

    assert!(!bus.is_claimed(0x20));
    assert_eq!(bus.windows().len(), 1);
}

#[test]
fn a_detached_window_is_free_again() {
    let bus = MmioBus::new();
    bus.attach("first", window(0x1000, 0x100, Width::Four), probe()).unwrap();

    bus.detach(0x1000).unwrap();

    assert!(!bus.is_claimed(0x1000));
    assert_eq!(bus.detach(0x1000), Err(BusError::NoSuchRange { base: 0x1000 }));
    bus.attach("second", window(0x1080, 0x100, Width::Four), probe()).unwrap();
}

#[test]
fn the_top_of_the_address_space_does_not_wrap() {
    let bus = MmioBus::new();
    bus.attach("top", window(u64::MAX - 7, 8, Width::Eight), probe()).unwrap();

    assert_eq!(bus.read(u64::MAX, Width::Four), 0xffff_ffff);
    assert_eq!(bus.read(u64::MAX - 3, Width::Four), 0x0706_0504);
}

#[test]
fn a_device_may_change_the_bus_it_is_called_from() {
    struct Mover(Arc<MmioBus>);
    impl BusDevice for Mover {
        fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
            self.0.detach(0x1000).map_err(|_| Unclaimed)?;
            Ok(1)
        }
        fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
            Err(Unclaimed)
        }
    }
    let bus = Arc::new(MmioBus::new());
    bus.attach("mover", window(0, 8, Width::Four), Arc::new(Mutex::new(Mover(bus.clone())))).unwrap();
    bus.attach("moved", window(0x1000, 8, Width::Four), probe()).unwrap();

    assert_eq!(bus.read(0, Width::Four), 1);
    assert!(!bus.is_claimed(0x1000));
}

proptest! {
    #[test]
    fn any_access_to_any_layout_is_answered(
        windows in prop::collection::vec((0_u64..64, 0_u64..20, any_access::width()), 0..6),
        accesses in prop::collection::vec((prop_oneof![0_u64..80, any::<u64>()], any_access::width(), any::<u64>()), 0..40),
    ) {
        let bus = MmioBus::new();
        for (base, len, native) in windows {
            let _ = bus.attach("some", window(base, len, native), probe());
        }
        for (address, width, value) in accesses {
            prop_assert!(bus.read(address, width) <= width.mask());
            bus.write(address, width, value);
        }
        let windows = bus.windows();
        prop_assert!(windows.windows(2).all(|pair| pair[0].2 < pair[1].1));
    }
}
