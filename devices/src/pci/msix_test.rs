use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::any_access;
use crate::pci::PciIdentity;

#[derive(Default)]
struct Sent(Mutex<Vec<(u64, u32)>>);

impl MsiTarget for Sent {
    fn send_msi(&self, message: MsiMessage) {
        self.0.lock().unwrap().push((message.address, message.data));
    }
}

struct Machine {
    msix: Msix,
    config: ConfigSpace,
    sent: Arc<Sent>,
}

fn machine(vectors: u16) -> Machine {
    let identity =
        PciIdentity { vendor: 1, device: 2, class: [0; 3], revision: 0, subsystem_vendor: 0, subsystem: 0 };
    let (mut config, sent) = (ConfigSpace::new(identity), Arc::new(Sent::default()));
    let table = BarLocation { bar: 2, offset: 0x1000 };
    let pending = BarLocation { bar: 2, offset: 0x1800 };
    let msix = Msix::new(vectors, table, pending, &mut config, sent.clone()).unwrap();
    Machine { msix, config, sent }
}

impl Machine {
    fn control(&mut self, value: u16) {
        self.config.write(0x42, Width::Two, value.into());
        self.msix.follow(&self.config);
    }

    fn program(&mut self, vector: u64, masked: bool) {
        let at = vector * 16;
        self.msix.write_table(at, Width::Four, 0xfee0_0000).unwrap();
        self.msix.write_table(at + 4, Width::Four, 0).unwrap();
        self.msix.write_table(at + 8, Width::Four, 0x40 + vector).unwrap();
        self.msix.write_table(at + 12, Width::Four, masked.into()).unwrap();
    }

    fn sent(&self) -> Vec<(u64, u32)> {
        std::mem::take(&mut self.sent.0.lock().unwrap())
    }
}

#[test]
fn the_capability_tells_size_and_places() {
    let mut machine = machine(5);
    assert_eq!(machine.config.read(0x40, Width::Four), 0x0004_0011);
    assert_eq!(machine.config.read(0x44, Width::Four), 0x1002);
    assert_eq!(machine.config.read(0x48, Width::Four), 0x1802);
    machine.config.write(0x42, Width::Two, 0xffff);
    assert_eq!(machine.config.read(0x42, Width::Two), 0xc004);
    assert_eq!((machine.msix.table_bytes(), machine.msix.pending_bytes()), (80, 8));
}

#[test]
fn a_vector_sends_its_message() {
    let mut machine = machine(4);
    machine.program(3, false);
    machine.msix.trigger(3);
    assert_eq!(machine.sent(), [], "MSI-X is off");

    machine.control(0x8000);
    assert!(machine.msix.is_enabled());
    machine.msix.trigger(3);
    machine.msix.trigger(4);

    assert_eq!(machine.sent(), [(0xfee0_0000, 0x43)]);
}

#[test]
fn a_masked_vector_waits_and_sends_once() {
    let mut machine = machine(130);
    machine.control(0x8000);
    machine.program(129, true);
    machine.msix.trigger(129);
    machine.msix.trigger(129);
    assert_eq!(machine.sent(), []);
    assert_eq!(machine.msix.read_pending(16, Width::Eight), Ok(2));
    assert_eq!(machine.msix.read_pending(16, Width::One), Ok(2));
    assert_eq!(machine.msix.read_pending(0, Width::Four), Ok(0));

    machine.program(129, false);

    assert_eq!(machine.sent(), [(0xfee0_0000, 0x40 + 129)]);
    assert_eq!(machine.msix.read_pending(16, Width::Eight), Ok(0));
}

#[test]
fn the_function_mask_holds_all_back() {
    let mut machine = machine(2);
    machine.program(0, false);
    machine.program(1, false);
    machine.control(0xc000);
    machine.msix.trigger(1);
    machine.msix.trigger(0);
    assert_eq!(machine.sent(), []);

    machine.control(0x8000);

    assert_eq!(machine.sent(), [(0xfee0_0000, 0x40), (0xfee0_0000, 0x41)]);
}

#[test]
fn the_table_in_every_width_and_place() {
    let mut machine = machine(2);
    machine.msix.write_table(16, Width::Eight, 0x1234_5678_fee0_1007).unwrap();
    machine.msix.write_table(24, Width::Eight, 0xffff_ffff_0000_0041).unwrap();
    assert_eq!(machine.msix.read_table(16, Width::Eight), Ok(0x1234_5678_fee0_1004));
    assert_eq!(machine.msix.read_table(20, Width::Four), Ok(0x1234_5678));
    assert_eq!(machine.msix.read_table(24, Width::Eight), Ok(0x1_0000_0041));
    assert_eq!(machine.msix.read_table(12, Width::Four), Ok(1), "masked after reset");
    for (offset, width) in [
        (0, Width::One),
        (0, Width::Two),
        (2, Width::Four),
        (4, Width::Eight),
        (32, Width::Four),
        (u64::MAX, Width::Four),
        (u64::MAX - 7, Width::Eight),
    ] {
        assert_eq!(machine.msix.read_table(offset, width), Err(Unclaimed), "{offset:#x} {width:?}");
        assert_eq!(machine.msix.write_table(offset, width, 0), Err(Unclaimed), "{offset:#x} {width:?}");
    }
}

#[test]
fn reset_masks_and_forgets() {
    let mut machine = machine(1);
    machine.control(0x8000);
    machine.msix.trigger(0);
    machine.msix.reset();
    assert!(!machine.msix.is_enabled());
    assert_eq!(machine.msix.read_pending(0, Width::Eight), Ok(0));
    assert_eq!(machine.msix.read_table(12, Width::Four), Ok(1));
}

#[test]
fn the_number_of_vectors_is_brought_into_range() {
    assert_eq!(machine(0).msix.vectors(), 1);
    assert_eq!(machine(u16::MAX).msix.vectors(), 2048);
}

proptest! {
    #[test]
    fn any_access_is_survived(
        accesses in prop::collection::vec((prop_oneof![0_u64..0x100, any::<u64>()], any_access::width(), any::<u64>()), 1..100),
    ) {
        let mut machine = machine(9);
        for (offset, width, value) in accesses {
            let _ = machine.msix.write_table(offset, width, value);
            let _ = machine.msix.read_table(offset, width);
            let _ = machine.msix.read_pending(offset, width);
            machine.control(value as u16);
            machine.msix.trigger(value as u16);
        }
    }
}
