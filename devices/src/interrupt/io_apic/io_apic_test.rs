use proptest::prelude::*;

use super::*;
use crate::any_access::{self, Step};
use crate::interrupt::{ExtIntSource, LocalApic, LocalApicConfig, VcpuWaker, local_apic_spec};
use crate::time::ManualClock;

struct NoWaker;

impl VcpuWaker for NoWaker {
    fn wake(&self, _vcpu: usize) {}
}

struct NoPic;

impl ExtIntSource for NoPic {
    fn acknowledge(&self) -> u8 {
        0xff
    }
}

struct Machine {
    io_apic: Arc<Mutex<IoApic>>,
    apics: Vec<LocalApic>,
}

fn machine(vcpus: u32) -> Machine {
    let ids: Vec<u32> = (0..vcpus).collect();
    let fabric = InterruptFabric::new(&ids, Arc::new(NoWaker));
    let io_apic = IoApic::new(vcpus as u8, fabric.clone());
    let apic = |apic_id: &u32| {
        let config = LocalApicConfig {
            vcpu: *apic_id as usize,
            apic_id: *apic_id,
            bootstrap: *apic_id == 0,
            timer_hz: 1_000_000,
            x2apic: false,
            tsc_deadline: false,
        };
        let clock = Arc::new(ManualClock::new(1_000_000));
        let mut apic = LocalApic::new(config, fabric.clone(), clock, Arc::new(NoPic)).unwrap();
        apic.set_firmware_state();
        apic
    };
    Machine { apics: ids.iter().map(apic).collect(), io_apic }
}

impl Machine {
    fn read(&self, index: u8) -> u32 {
        let mut io_apic = lock(&self.io_apic);
        io_apic.write(window::SELECT, Width::Four, index.into()).unwrap();
        io_apic.read(window::DATA, Width::Four).unwrap() as u32
    }

    fn write(&self, index: u8, value: u32) {
        let mut io_apic = lock(&self.io_apic);
        io_apic.write(window::SELECT, Width::Four, index.into()).unwrap();
        io_apic.write(window::DATA, Width::Four, value.into()).unwrap();
    }

    /// As Linux writes an entry: high half first.
    fn route(&self, pin: u8, entry: u64) {
        self.write(0x11 + 2 * pin, (entry >> 32) as u32);
        self.write(0x10 + 2 * pin, entry as u32);
    }

    fn set(&self, pin: u8, level: bool) {
        lock(&self.io_apic).set_pin(pin, level);
    }

    /// The vector served by vCPU 0, without EOI.
    fn take(&mut self) -> Option<u8> {
        self.apics[0].acknowledge()
    }

    fn eoi(&mut self) {
        self.apics[0].write_mmio(local_apic_spec::reg::EOI.into(), Width::Four, 0);
    }
}

#[test]
fn registers() {
    let machine = machine(3);
    assert_eq!(machine.read(0), 0x0300_0000);
    assert_eq!(machine.read(1), 0x0017_0020);
    assert_eq!(machine.read(2), 0x0300_0000);
    machine.write(0, 0xff00_0000);
    assert_eq!(machine.read(0), 0x0f00_0000);
    machine.write(1, 0);
    assert_eq!(machine.read(1), 0x0017_0020);
    for pin in 0..24 {
        assert_eq!((machine.read(0x10 + 2 * pin), machine.read(0x11 + 2 * pin)), (0x1_0000, 0));
        machine.route(pin, u64::MAX);
        assert_eq!(machine.read(0x10 + 2 * pin), 0x1_afff);
        assert_eq!(machine.read(0x11 + 2 * pin), 0xff00_0000);
    }
    assert_eq!(machine.read(0x40), u32::MAX, "no pin 24");
    assert_eq!(machine.read(0x03), u32::MAX);
}

#[test]
fn narrow_accesses_reach_the_selector_and_read_parts_of_the_window() {
    let machine = machine(1);
    let mut io_apic = lock(&machine.io_apic);
    for width in Width::ALL {
        io_apic.write(0, width, 1).unwrap();
        assert_eq!(io_apic.read(0, width), Ok(1));
        assert_eq!(io_apic.read(0x10, width).map(|v| v & width.mask()), Ok(0x0017_0020 & width.mask()));
    }
    assert_eq!(io_apic.read(0x12, Width::One), Ok(0x17));
    assert_eq!(io_apic.write(0x10, Width::One, 0), Err(Unclaimed));
    assert_eq!(io_apic.read(0x20, Width::Four), Err(Unclaimed));
    assert_eq!(io_apic.read(u64::MAX, Width::Four), Err(Unclaimed));
}

#[test]
fn an_edge_sends_once_and_is_lost_while_masked() {
    let mut machine = machine(1);
    machine.set(5, true);
    machine.route(5, 0x35);
    assert_eq!(machine.take(), None, "it rose while masked");

    machine.set(5, true);
    assert_eq!(machine.take(), None, "it did not rise");
    machine.set(5, false);
    machine.set(5, true);
    assert_eq!(machine.take(), Some(0x35));
    machine.eoi();
    assert_eq!(machine.take(), None);
    machine.set(5, false);
    machine.set(5, true);
    assert_eq!(machine.take(), Some(0x35));
}

#[test]
fn a_level_fires_again_after_eoi_while_the_line_is_up() {
    let mut machine = machine(1);
    machine.route(16, 0x8040);
    machine.set(16, true);

    assert_eq!(machine.take(), Some(0x40));
    assert_eq!(machine.read(0x30), 0xc040, "remote IRR");
    machine.set(16, true);
    assert_eq!(machine.take(), None, "not before the EOI");
    machine.eoi();
    assert_eq!(machine.take(), Some(0x40));
    machine.set(16, false);
    machine.eoi();
    assert_eq!(machine.take(), None);
    assert_eq!(machine.read(0x30), 0x8040);
}

#[test]
fn a_masked_level_waits_and_fires_when_unmasked() {
    let mut machine = machine(1);
    machine.route(16, 0x1_8040);
    machine.set(16, true);
    assert_eq!(machine.take(), None);

    machine.route(16, 0x8040);

    assert_eq!(machine.take(), Some(0x40));
    machine.route(16, 0x1_8040);
    machine.eoi();
    assert_eq!(machine.take(), None, "masked before the EOI");
    assert_eq!(machine.read(0x30), 0x1_8040);
    machine.route(16, 0x8040);
    assert_eq!(machine.take(), Some(0x40));
}

#[test]
fn the_eoi_register_ends_a_level() {
    let mut machine = machine(1);
    machine.route(17, 0x8041);
    machine.set(17, true);
    assert_eq!(machine.take(), Some(0x41));
    machine.set(17, false);

    lock(&machine.io_apic).write(window::EOI, Width::Four, 0x41).unwrap();

    assert_eq!(machine.read(0x32), 0x8041);
}

#[test]
fn edge_and_back_forgets_remote_irr() {
    let mut machine = machine(1);
    machine.route(17, 0x8041);
    machine.set(17, true);
    assert_eq!(machine.take(), Some(0x41));

    machine.route(17, 0x1_0041);
    machine.route(17, 0x1_8041);
    assert_eq!(machine.read(0x32), 0x1_8041);
    machine.route(17, 0x8041);
    machine.eoi();

    assert_eq!(machine.take(), Some(0x41));
}

#[test]
fn two_pins_that_share_a_vector_both_see_its_eoi() {
    let mut machine = machine(1);
    machine.route(16, 0x8040);
    machine.route(17, 0x8040);
    machine.set(16, true);
    machine.set(17, true);
    assert_eq!(machine.take(), Some(0x40));
    machine.set(16, false);

    machine.eoi();

    assert_eq!((machine.read(0x30), machine.read(0x32)), (0x8040, 0xc040));
    assert_eq!(machine.take(), Some(0x40));
}

#[test]
fn a_level_nobody_takes_does_not_wait_for_an_eoi() {
    let mut machine = machine(1);
    machine.route(16, 7 << 56 | 0x8040);
    machine.set(16, true);
    assert_eq!(machine.read(0x30), 0x8040);

    machine.route(16, 0x8040);

    assert_eq!(machine.take(), Some(0x40));
}

#[test]
fn nmi_and_destinations() {
    let mut machine = machine(3);
    machine.route(4, 1 << 56 | 0x400);
    machine.set(4, true);
    assert!(machine.apics[1].take_nmi());

    machine.route(5, 0xff << 56 | 0x50);
    machine.set(5, true);
    for apic in &mut machine.apics {
        assert_eq!(apic.acknowledge(), Some(0x50));
    }
    // A level-triggered NMI gets no EOI, so it must not wait for one.
    machine.route(6, 0x8400);
    machine.set(6, true);
    assert_eq!(machine.read(0x1c), 0x8400);
}

#[test]
fn reset_masks_and_keeps_lines() {
    let mut machine = machine(1);
    machine.route(16, 0x8040);
    machine.set(16, true);
    lock(&machine.io_apic).reset();
    machine.apics[0].reset();
    machine.apics[0].set_firmware_state();
    assert_eq!(machine.read(0x30), 0x1_0000);

    machine.route(16, 0x8041);

    assert_eq!(machine.take(), Some(0x41));
}

#[test]
fn pins_that_do_not_exist_are_ignored() {
    let machine = machine(1);
    machine.set(24, true);
    machine.set(255, true);
    machine.io_apic.set_level(u32::MAX, true);
}

proptest! {
    #[test]
    fn any_access_is_survived(steps in any_access::steps(0x48)) {
        let mut machine = machine(2);
        for step in steps {
            any_access::perform(&mut *lock(&machine.io_apic), step);
            if let Step::Poke(value) = step {
                machine.set(value & 31, value & 0x80 != 0);
                machine.take();
                machine.eoi();
            }
        }
    }
}
