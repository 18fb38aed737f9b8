use proptest::prelude::*;

use super::*;
use crate::any_access::{self, Step};
use crate::interrupt::IrqInput;

/// The level of the INT output.
#[derive(Default)]
struct Output(Mutex<bool>);

impl IrqInput for Output {
    fn set_level(&self, _pin: u32, level: bool) {
        *self.0.lock().unwrap() = level;
    }
}

struct Machine {
    pic: Arc<Mutex<Pic8259Pair>>,
    output: Arc<Output>,
}

/// A pair after power-up.
fn raw() -> Machine {
    let output = Arc::new(Output::default());
    Machine { pic: Pic8259Pair::new(IrqLine::new(output.clone(), 0)), output }
}

/// A pair as Linux initialises it, everything unmasked.
fn linux() -> Machine {
    let machine = raw();
    machine.init(0x01);
    machine
}

impl Machine {
    fn write(&self, offset: u64, value: u8) {
        lock(&self.pic).write(offset, Width::One, value.into()).unwrap();
    }

    fn read(&self, offset: u64) -> u8 {
        lock(&self.pic).read(offset, Width::One).unwrap() as u8
    }

    fn init(&self, icw4: u8) {
        self.write(1, 0xff);
        self.write(3, 0xff);
        for (command, base, cascade) in [(0, 0x30, 0x04), (2, 0x38, 0x02)] {
            self.write(command, 0x11);
            self.write(command + 1, base);
            self.write(command + 1, cascade);
            self.write(command + 1, icw4);
            self.write(command + 1, 0x00);
        }
    }

    fn set(&self, irq: u8, level: bool) {
        lock(&self.pic).set_irq(irq, level);
    }

    fn pulse(&self, irq: u8) {
        self.set(irq, true);
        self.set(irq, false);
    }

    fn int(&self) -> bool {
        *self.output.0.lock().unwrap()
    }

    fn ack(&self) -> u8 {
        assert!(self.int());
        lock(&self.pic).acknowledge()
    }

    /// Linux' EOI: specific, on both chips for the second one's.
    fn eoi(&self, irq: u8) {
        if irq >= 8 {
            self.write(2, 0x60 | (irq & 7));
            self.write(0, 0x62);
        } else {
            self.write(0, 0x60 | irq);
        }
    }
}

#[test]
fn linux_finds_it() {
    let machine = raw();
    machine.write(3, 0xff);
    machine.write(1, 0xfb);
    assert_eq!(machine.read(1), 0xfb);
}

#[test]
fn nothing_gets_through_before_initialisation() {
    let machine = raw();
    (0..16).for_each(|irq| machine.set(irq, true));
    assert!(!machine.int());
}

#[test]
fn every_input_has_its_vector() {
    let machine = linux();
    for irq in (0..16).filter(|irq| *irq != CASCADE) {
        machine.set(irq, true);
        assert_eq!(machine.ack(), 0x30 + irq, "IRQ {irq}");
        assert!(!machine.int());
        machine.eoi(irq);
        assert!(!machine.int(), "an edge is served once");
        machine.set(irq, false);
    }
    machine.set(CASCADE, true);
    machine.set(16, true);
    assert!(!machine.int());
}

#[test]
fn lower_numbers_go_first_and_interrupt_higher_ones() {
    let machine = linux();
    machine.pulse(7);
    machine.pulse(12);
    assert_eq!(machine.ack(), 0x3c, "the second chip sits at input 2");
    assert!(!machine.int());
    machine.pulse(9);
    assert!(!machine.int(), "without special fully nested mode the cascade blocks itself");
    machine.pulse(0);
    assert_eq!(machine.ack(), 0x30);
    machine.eoi(0);
    machine.eoi(12);
    assert_eq!(machine.ack(), 0x39);
    machine.eoi(9);
    assert_eq!(machine.ack(), 0x37);
}

#[test]
fn special_fully_nested_mode_lets_the_second_chip_nest() {
    let machine = raw();
    machine.init(0x11);
    machine.pulse(12);
    assert_eq!(machine.ack(), 0x3c);
    machine.pulse(9);
    assert_eq!(machine.ack(), 0x39);
}

#[test]
fn masks_hold_back_and_release() {
    let machine = linux();
    machine.write(1, 0x10);
    machine.pulse(4);
    assert!(!machine.int());
    machine.write(0, 0x0a);
    assert_eq!(machine.read(0), 0x10, "requested all the same");

    machine.write(1, 0x00);

    assert_eq!(machine.ack(), 0x34);
}

#[test]
fn irr_and_isr_can_be_read() {
    let machine = linux();
    machine.pulse(3);
    machine.pulse(14);
    machine.ack();
    machine.write(0, 0x0b);
    machine.write(2, 0x0b);
    assert_eq!((machine.read(0), machine.read(2)), (0x04, 0x40));
    machine.write(0, 0x0a);
    assert_eq!(machine.read(0), 0x08);
}

#[test]
fn a_request_masked_at_the_last_moment_is_spurious() {
    let machine = linux();
    machine.pulse(4);
    machine.write(1, 0xff);
    assert_eq!(lock(&machine.pic).acknowledge(), 0x37);
    machine.write(0, 0x0b);
    assert_eq!(machine.read(0), 0, "a spurious one is not in service");
}

#[test]
fn a_level_input_requests_as_long_as_it_is_up() {
    let machine = linux();
    machine.write(5, 0x02);
    assert_eq!(machine.read(5), 0x02);
    machine.set(9, true);
    assert_eq!(machine.ack(), 0x39);
    machine.eoi(9);
    assert_eq!(machine.ack(), 0x39);
    machine.set(9, false);
    machine.eoi(9);
    assert!(!machine.int());
    machine.set(9, true);
    machine.set(9, false);
    assert!(!machine.int(), "a level that went away requests nothing");
}

#[test]
fn some_inputs_cannot_be_level_triggered() {
    let machine = linux();
    machine.write(4, 0xff);
    machine.write(5, 0xff);
    assert_eq!((machine.read(4), machine.read(5)), (0xf8, 0xde));
}

#[test]
fn automatic_eoi_keeps_nothing_in_service() {
    let machine = raw();
    machine.init(0x03);
    machine.pulse(0);
    assert_eq!(machine.ack(), 0x30);
    machine.pulse(0);
    assert_eq!(machine.ack(), 0x30);
    machine.write(0, 0x0b);
    assert_eq!(machine.read(0), 0);
}

#[test]
fn non_specific_eoi_ends_the_highest() {
    let machine = linux();
    machine.pulse(5);
    machine.ack();
    machine.pulse(1);
    machine.ack();
    machine.write(0, 0x0b);
    assert_eq!(machine.read(0), 0x22);
    machine.write(0, 0x20);
    assert_eq!(machine.read(0), 0x20);
    machine.write(0, 0x20);
    assert_eq!(machine.read(0), 0);
}

#[test]
fn rotation_makes_the_served_one_last() {
    let machine = linux();
    machine.pulse(3);
    machine.ack();
    machine.write(0, 0xa0);
    machine.pulse(3);
    machine.pulse(4);
    assert_eq!(machine.ack(), 0x34);
    machine.write(0, 0x20);
    assert_eq!(machine.ack(), 0x33);
    machine.write(0, 0xe0 | 3);
    machine.write(0, 0xc0 | 6);
    machine.pulse(0);
    machine.pulse(7);
    assert_eq!(machine.ack(), 0x37);
}

#[test]
fn special_mask_mode_lets_lower_ones_through() {
    let machine = linux();
    machine.pulse(1);
    machine.ack();
    machine.pulse(5);
    assert!(!machine.int());
    machine.write(1, 0x02);
    machine.write(0, 0x68);
    assert_eq!(machine.ack(), 0x35);
    machine.write(0, 0x48);
    assert!(!machine.int());
}

#[test]
fn polling_acknowledges() {
    let machine = linux();
    machine.write(0, 0x0c);
    assert_eq!(machine.read(0), 0);
    machine.pulse(6);
    machine.write(0, 0x0c);
    assert_eq!(machine.read(0), 0x86);
    assert!(!machine.int());
    machine.write(0, 0x0b);
    assert_eq!(machine.read(0), 0x40);
}

#[test]
fn initialisation_forgets_requests_and_clears_the_mask() {
    let machine = linux();
    machine.set(4, true);
    machine.write(1, 0xff);
    machine.write(0, 0x11);
    machine.write(1, 0x48);
    machine.write(1, 0x04);
    machine.write(1, 0x01);
    assert_eq!(machine.read(1), 0);
    assert!(!machine.int(), "an edge input must rise again");
    machine.set(4, false);
    machine.set(4, true);
    assert_eq!(machine.ack(), 0x4c);
}

#[test]
fn initialisation_without_icw3_and_icw4() {
    let machine = linux();
    machine.write(0, 0x12);
    machine.write(1, 0x50);
    machine.write(1, 0xaa);
    assert_eq!(machine.read(1), 0xaa, "the mask follows ICW2 at once");
}

#[test]
fn offsets_beyond_the_pair_are_unclaimed() {
    let mut pic =
        Pic8259Pair { output: IrqLine::unconnected(), master: Chip::new(0, 4), slave: Chip::new(0, 0) };
    assert_eq!(pic.read(6, Width::One), Err(Unclaimed));
    assert_eq!(pic.write(u64::MAX, Width::One, 0), Err(Unclaimed));
}

proptest! {
    #[test]
    fn any_access_is_survived_and_what_is_signalled_is_served(steps in any_access::steps(6)) {
        let machine = raw();
        for step in steps {
            any_access::perform(&mut *lock(&machine.pic), step);
            if let Step::Poke(value) = step {
                machine.set(value & 0x1f, value & 0x80 != 0);
            }
        }
        // From whatever state, initialising makes it work.
        (0..16).for_each(|irq| machine.set(irq, false));
        machine.init(0x01);
        machine.pulse(0);
        prop_assert_eq!(machine.ack(), 0x30);
        machine.eoi(0);
        machine.pulse(8);
        prop_assert_eq!(machine.ack(), 0x38);
    }
}
