use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::acpi_pm_spec::{PM_TIMER_HZ, pm1};
use super::*;
use crate::any_access::{self, Step};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::{IrqInput, IrqLine};
use crate::time::{ManualClock, TimedDevice, ticks_to_nanos};

#[derive(Default)]
struct Events(Mutex<Vec<SystemEvent>>);

impl SystemEvents for Events {
    fn notify(&self, event: SystemEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    fn take(&self) -> Vec<SystemEvent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[derive(Default)]
struct Level(Mutex<bool>);

impl IrqInput for Level {
    fn set_level(&self, _pin: u32, level: bool) {
        *self.0.lock().unwrap() = level;
    }
}

impl Level {
    fn get(&self) -> bool {
        *self.0.lock().unwrap()
    }
}

fn events() -> Arc<Events> {
    Arc::default()
}

struct Pm {
    pm: AcpiPm,
    sci: Arc<Level>,
    events: Arc<Events>,
    clock: Arc<ManualClock>,
}

fn pm() -> Pm {
    let (sci, events, clock) = (Arc::new(Level::default()), events(), Arc::new(ManualClock::new(1)));
    let pm = AcpiPm::new(IrqLine::new(sci.clone(), 0), clock.clone(), events.clone(), Arc::new(()));
    Pm { pm, sci, events, clock }
}

#[test]
fn the_pm_timer_counts_at_its_frequency_in_every_width() {
    let mut pm = pm();
    assert_eq!(pm.pm.read(8, Width::Four), Ok(0));
    pm.clock.advance_to(ticks_to_nanos(0x1_8234_5678, PM_TIMER_HZ));
    assert_eq!(pm.pm.read(8, Width::Four), Ok(0x8234_5678));
    assert_eq!(pm.pm.read(8, Width::Two), Ok(0x5678));
    assert_eq!(pm.pm.read(10, Width::Two), Ok(0x8234));
    assert_eq!(pm.pm.read(11, Width::One), Ok(0x82));
    assert_eq!(pm.pm.read(9, Width::Four), Err(Unclaimed));
    pm.pm.write(8, Width::Four, 0).unwrap();
    assert_eq!(pm.pm.read(8, Width::Four), Ok(0x8234_5678));
}

#[test]
fn the_power_button_raises_sci_until_its_status_is_cleared() {
    let mut pm = pm();
    pm.pm.press_power_button();
    assert!(!pm.sci.get());
    assert!(!pm.pm.power_button_enabled());
    assert_eq!(pm.pm.read(0, Width::Two), Ok(pm1::POWER_BUTTON.into()));

    pm.pm.write(2, Width::Two, pm1::POWER_BUTTON.into()).unwrap();
    assert!(pm.pm.power_button_enabled());
    assert!(pm.sci.get());
    pm.pm.write(0, Width::One, 0xff).unwrap();
    assert!(pm.sci.get(), "the other byte");
    pm.pm.write(0, Width::Two, pm1::POWER_BUTTON.into()).unwrap();
    assert!(!pm.sci.get());
    assert_eq!(pm.pm.read(0, Width::Two), Ok(0));
}

#[test]
fn status_and_enable_can_be_accessed_as_one() {
    let mut pm = pm();
    pm.pm.write(0, Width::Four, 0xffff_ffff).unwrap();
    assert_eq!(pm.pm.read(0, Width::Four), Ok(u64::from(pm1::EVENTS) << 16));
    assert_eq!(pm.pm.read(3, Width::One), Ok(u64::from(pm1::EVENTS) >> 8));
}

#[test]
fn soft_off_by_word_and_by_byte() {
    let mut pm = pm();
    assert_eq!(pm.pm.read(4, Width::Two), Ok(1), "SCI_EN");
    // As ACPICA does it: the type first, then with SLP_EN.
    pm.pm.write(4, Width::Two, 0x1400).unwrap();
    assert_eq!(pm.events.take(), []);
    pm.pm.write(4, Width::Two, 0x3400).unwrap();
    assert_eq!(pm.events.take(), [SystemEvent::PowerOff]);
    assert_eq!(pm.pm.read(4, Width::Two), Ok(0x1401), "SLP_EN reads as zero");
    pm.pm.write(5, Width::One, 0x34).unwrap();
    assert_eq!(pm.events.take(), [SystemEvent::PowerOff]);
    pm.pm.write(4, Width::Two, 0x2400).unwrap();
    assert_eq!(pm.events.take(), [], "a sleep type that is not offered");
}

#[test]
fn the_timer_carry_is_an_event() {
    let mut pm = pm();
    assert_eq!(pm.pm.next_deadline_ns(), None);
    pm.pm.write(2, Width::Two, pm1::TIMER.into()).unwrap();
    let carry = ticks_to_nanos(1 << 31, PM_TIMER_HZ);
    assert_eq!(pm.pm.next_deadline_ns(), Some(carry));
    pm.pm.advance(pm.clock.advance_to(carry - 1));
    assert!(!pm.sci.get());
    pm.pm.advance(pm.clock.advance_to(carry));
    assert!(pm.sci.get());
    pm.pm.write(0, Width::Two, pm1::TIMER.into()).unwrap();
    assert!(!pm.sci.get());
    assert_eq!(pm.pm.next_deadline_ns(), Some(ticks_to_nanos(2 << 31, PM_TIMER_HZ)));
    pm.pm.reset();
    assert_eq!(pm.pm.next_deadline_ns(), None);
}

#[test]
fn the_reset_register_resets_on_a_rising_bit_2() {
    for (writes, resets) in
        [(vec![2, 6], 1), (vec![6], 1), (vec![0xe], 1), (vec![2], 0), (vec![6, 6], 1), (vec![6, 2, 6], 2)]
    {
        let events = events();
        let mut register = ResetRegister::new(events.clone());
        writes.iter().for_each(|value| register.write(*value));
        assert_eq!(events.take(), vec![SystemEvent::Reset(ResetSource::ResetRegister); resets], "{writes:?}");
        assert_eq!(register.read(), *writes.last().unwrap());
    }
}

#[test]
fn port_92_resets_on_a_rising_bit_0() {
    let events = events();
    let mut port = Port92::new(events.clone());
    assert_eq!(port.read(0, Width::One), Ok(2));
    port.write(0, Width::One, 0).unwrap();
    assert_eq!(events.take(), []);
    port.write(0, Width::One, 3).unwrap();
    port.write(0, Width::One, 3).unwrap();
    assert_eq!(events.take(), [SystemEvent::Reset(ResetSource::Port92)]);
}

#[test]
fn pvpanic_reports_both_events() {
    let events = events();
    let mut port = PvPanic::new(events.clone());
    assert_eq!(port.read(0, Width::One), Ok(3));
    port.write(0, Width::One, 1).unwrap();
    port.write(0, Width::One, 2).unwrap();
    port.write(0, Width::One, 0xfc).unwrap();
    assert_eq!(events.take(), [SystemEvent::Panicked, SystemEvent::CrashLoaded]);
}

#[test]
fn debug_exit_carries_the_value() {
    let events = events();
    let mut port = DebugExit::new(events.clone());
    port.write(0, Width::One, 0x31).unwrap();
    port.write(2, Width::Four, 0x1234_5678).unwrap();
    assert_eq!(events.take(), [SystemEvent::DebugExit(0x31), SystemEvent::DebugExit(0x1234_5678)]);
}

struct Keyboard {
    device: I8042,
    irq: Arc<Level>,
    events: Arc<Events>,
}

fn keyboard() -> Keyboard {
    let (irq, events) = (Arc::new(Level::default()), events());
    Keyboard { device: I8042::new(events.clone()).with_irq(IrqLine::new(irq.clone(), 0)), irq, events }
}

impl Keyboard {
    fn command(&mut self, value: u64) {
        self.device.write(4, Width::One, value).unwrap();
    }

    fn data(&mut self, value: u64) {
        self.device.write(0, Width::One, value).unwrap();
    }

    fn status(&mut self) -> u64 {
        self.device.read(4, Width::One).unwrap()
    }

    fn answer(&mut self) -> u64 {
        assert_eq!(self.status() & 1, 1, "an answer waits");
        let value = self.device.read(0, Width::One).unwrap();
        assert_eq!(self.status() & 1, 0);
        value
    }
}

#[test]
fn the_keyboard_controller_answers_its_tests() {
    let mut keyboard = keyboard();
    assert_eq!(keyboard.status() & 3, 0);
    for (command, answer) in
        [(0xaa, 0x55), (0xab, 0x00), (0xa9, 0x01), (0x20, 0x74), (0xd0, 0x03), (0xc0, 0x80)]
    {
        keyboard.command(command);
        assert_eq!(keyboard.answer(), answer, "{command:#x}");
    }
    keyboard.command(0x60);
    keyboard.data(0x45);
    keyboard.command(0x20);
    assert_eq!(keyboard.answer(), 0x45);
    keyboard.command(0xad);
    keyboard.command(0x20);
    assert_eq!(keyboard.answer(), 0x55);
    // No mouse: the loop's answer is not marked as the mouse's.
    keyboard.command(0xd3);
    keyboard.data(0x5a);
    assert_eq!(keyboard.status() & 0x21, 0x01);
    assert_eq!(keyboard.answer(), 0x5a);
}

#[test]
fn a_keyboard_that_is_not_there_times_out_at_once() {
    let mut keyboard = keyboard();
    keyboard.command(0x60);
    keyboard.data(0x45);
    keyboard.data(0xf2);
    assert!(keyboard.irq.get());
    assert_eq!(keyboard.status() & 0x41, 0x41);
    assert_eq!(keyboard.answer(), 0xfe);
    assert!(!keyboard.irq.get());
}

#[test]
fn the_keyboard_controller_resets() {
    let mut keyboard = keyboard();
    keyboard.command(0xfe);
    keyboard.command(0xd1);
    keyboard.data(0x02);
    let reset = SystemEvent::Reset(ResetSource::KeyboardController);
    assert_eq!(keyboard.events.take(), [reset, reset]);
    keyboard.command(0xff);
    keyboard.command(0xd1);
    keyboard.data(0x03);
    assert_eq!(keyboard.events.take(), []);
}

proptest! {
    #[test]
    fn any_access_is_survived(steps in any_access::steps(16)) {
        let events = events();
        let mut pm = pm();
        let mut devices: Vec<Box<dyn BusDevice>> = vec![
            Box::new(Port92::new(events.clone())),
            Box::new(PvPanic::new(events.clone())),
            Box::new(DebugExit::new(events.clone())),
            Box::new(keyboard().device),
        ];
        for step in steps {
            devices.iter_mut().for_each(|device| any_access::perform(&mut **device, step));
            any_access::perform(&mut pm.pm, step);
            match step {
                Step::Wait(ns) => {
                    let now = pm.clock.advance_by(ns % (1 << 60));
                    pm.pm.advance(now);
                    prop_assert!(pm.pm.next_deadline_ns().is_none_or(|next| next > now));
                }
                Step::Poke(_) => pm.pm.press_power_button(),
                _ => {}
            }
        }
    }
}
