use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::any_access::{self, Step};
use crate::interrupt::IrqInput;
use crate::time::ManualClock;

/// Counts rising edges.
#[derive(Default)]
struct Edges(Mutex<(bool, usize)>);

impl IrqInput for Edges {
    fn set_level(&self, _pin: u32, level: bool) {
        let mut state = self.0.lock().unwrap();
        state.1 += usize::from(level && !state.0);
        state.0 = level;
    }
}

#[derive(Default)]
struct Moves(AtomicUsize);

impl DeadlineListener for Moves {
    fn deadline_moved(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Machine {
    pit: Pit8254,
    clock: Arc<ManualClock>,
    edges: Arc<Edges>,
    moves: Arc<Moves>,
}

fn machine() -> Machine {
    let clock = Arc::new(ManualClock::new(1));
    let (edges, moves) = (Arc::new(Edges::default()), Arc::new(Moves::default()));
    let pit = Pit8254::new(IrqLine::new(edges.clone(), 0), clock.clone(), moves.clone());
    Machine { pit, clock, edges, moves }
}

impl Machine {
    fn write(&mut self, offset: u64, value: u8) {
        self.pit.write(offset, Width::One, value.into()).unwrap();
    }

    fn read(&mut self, offset: u64) -> u8 {
        self.pit.read(offset, Width::One).unwrap() as u8
    }

    /// Programs a channel with both bytes of a count.
    fn program(&mut self, channel: u64, mode: u8, count: u16) {
        self.write(3, (channel as u8) << 6 | 0x30 | mode << 1);
        let [low, high] = count.to_le_bytes();
        self.write(channel, low);
        self.write(channel, high);
    }

    fn latched(&mut self, channel: u64) -> u16 {
        self.write(3, (channel as u8) << 6);
        u16::from_le_bytes([self.read(channel), self.read(channel)])
    }

    /// Moves to the first nanosecond of `tick`.
    fn at(&mut self, tick: u64) {
        self.clock.advance_to(ticks_to_nanos(tick, HZ));
    }

    fn status(&mut self, channel: u64) -> u8 {
        self.write(3, 0xe0 | 2 << channel);
        self.read(channel)
    }

    fn edges(&self) -> usize {
        self.edges.0.lock().unwrap().1
    }

    /// Serves every deadline up to `tick`; how many there were.
    fn serve_to(&mut self, tick: u64) -> usize {
        let end = ticks_to_nanos(tick, HZ);
        let mut served = 0;
        while let Some(next) = self.pit.next_deadline_ns().filter(|next| *next <= end) {
            assert!(next > self.clock.now_ns() || served == 0, "the deadline must move on");
            let now = self.clock.advance_to(next);
            self.pit.advance(now);
            served += 1;
        }
        self.clock.advance_to(end);
        served
    }
}

#[test]
fn programming_a_periodic_mode_is_no_interrupt() {
    let mut machine = machine();
    assert_eq!(machine.pit.next_deadline_ns(), None);
    let before = machine.edges();
    machine.program(0, 2, 1000);
    assert_eq!(machine.edges(), before);
}

#[test]
fn periodic_modes_interrupt_once_per_period() {
    for mode in [2, 3, 6, 7] {
        let mut machine = machine();
        machine.program(0, mode, 11_932);
        let before = machine.edges();

        let served = machine.serve_to(11_932 * 100);

        assert_eq!(machine.edges() - before, 100, "mode {mode}");
        assert_eq!(served, 100, "mode {mode}: no wake-ups in between");
        assert!(machine.moves.0.load(Ordering::SeqCst) >= 1);
    }
}

#[test]
fn a_count_of_zero_is_the_longest() {
    let mut machine = machine();
    machine.program(0, 2, 0);
    assert_eq!(machine.pit.next_deadline_ns(), Some(ticks_to_nanos(65_536, HZ)));
}

#[test]
fn terminal_count_interrupts_once() {
    let mut machine = machine();
    let before = machine.edges();
    machine.program(0, 0, 1000);
    assert_eq!(machine.status(0) & status_output(), 0);

    assert_eq!(machine.serve_to(10_000), 1);

    assert_eq!(machine.edges() - before, 1);
    assert_eq!(machine.status(0) & status_output(), 0x80);
    machine.program(0, 0, 1000);
    assert!(!machine.edges.0.lock().unwrap().0, "the line goes down with the mode");
}

fn status_output() -> u8 {
    spec::status::OUTPUT
}

#[test]
fn the_strobe_interrupts_once_for_each_count_written() {
    // As Linux' one-shot clock event: mode 4 once, then a count per event.
    let mut machine = machine();
    machine.write(3, 0x38);
    let before = machine.edges();
    for round in 1..=3_u64 {
        machine.write(0, 0x00);
        machine.write(0, 0x10);
        let now = nanos_to_ticks(machine.clock.now_ns(), HZ);
        assert_eq!(machine.serve_to(now + 50_000), 1);
        assert_eq!(machine.edges() - before, round as usize);
    }
}

#[test]
fn late_service_is_one_interrupt_and_keeps_the_phase() {
    let mut machine = machine();
    machine.program(0, 2, 1000);
    let before = machine.edges();
    machine.at(3_500);
    let now = machine.clock.now_ns();
    machine.pit.advance(now);

    assert_eq!(machine.edges() - before, 1);
    assert_eq!(machine.pit.next_deadline_ns(), Some(ticks_to_nanos(4_000, HZ)));
}

#[test]
fn a_tiny_period_does_not_flood() {
    let mut machine = machine();
    machine.program(0, 2, 2);
    let served = machine.serve_to(HZ / 100);
    assert!((50..=250).contains(&served), "{served} in 10 ms");
}

#[test]
fn counts_by_mode() {
    for (mode, expected) in [
        (0, [1000, 999, 500, 0, 65_535]),
        (2, [1000, 999, 500, 1000, 999]),
        (3, [1000, 998, 1000, 1000, 998]),
        (4, [1000, 999, 500, 0, 65_535]),
    ] {
        let mut machine = machine();
        machine.program(1, mode, 1000);
        for (tick, value) in [0, 1, 500, 1000, 1001].into_iter().zip(expected) {
            machine.at(tick);
            assert_eq!(machine.latched(1), value, "mode {mode} at {tick}");
        }
    }
}

#[test]
fn square_wave_output_is_high_for_the_longer_half() {
    let mut machine = machine();
    machine.program(1, 3, 5);
    for (tick, high) in [true, true, true, false, false, true].into_iter().enumerate() {
        machine.at(tick as u64);
        assert_eq!(machine.status(1) & 0x80 != 0, high, "{tick}");
    }
}

#[test]
fn bcd_counts() {
    let mut machine = machine();
    machine.write(3, 0x71);
    machine.write(1, 0x00);
    machine.write(1, 0x10);
    machine.at(1);
    assert_eq!(machine.latched(1), 0x0999);
    machine.at(1001);
    assert_eq!(machine.latched(1), 0x9999);
    assert_eq!(machine.status(1) & 0x3f, 0x31);
}

#[test]
fn single_byte_accesses() {
    let mut machine = machine();
    machine.write(3, 0x50 | 2 << 1);
    machine.write(1, 200);
    machine.at(1);
    assert_eq!(machine.read(1), 199);
    assert_eq!(machine.read(1), 199);

    machine.write(3, 0x60 | 2 << 1);
    machine.write(1, 2);
    assert_eq!(machine.read(1), 2);
    let now = nanos_to_ticks(machine.clock.now_ns(), HZ);
    machine.at(now + 300);
    assert_eq!(machine.read(1), 0, "the high byte of 212");
}

#[test]
fn a_latched_count_stays_until_it_is_read() {
    let mut machine = machine();
    machine.program(2, 2, 0x1234);
    machine.write(4, 1);
    machine.write(3, 0x80);
    let latched_at = 0x1234;
    machine.at(100);
    machine.write(3, 0x80);
    assert_eq!(u16::from_le_bytes([machine.read(2), machine.read(2)]), latched_at);
    assert_eq!(machine.latched(2), 0x1234 - 100);
}

#[test]
fn read_back_latches_status_before_count() {
    let mut machine = machine();
    machine.program(1, 2, 0x4321);
    machine.write(3, 0xc0 | 1 << 2);
    machine.at(50);
    assert_eq!(machine.read(1), 0x80 | 0x30 | 2 << 1);
    assert_eq!(u16::from_le_bytes([machine.read(1), machine.read(1)]), 0x4321);
    machine.write(3, 0x74);
    assert_eq!(machine.status(1) & 0x40, 0x40, "no count yet");
}

#[test]
fn a_new_count_of_a_periodic_mode_waits_for_the_period() {
    let mut machine = machine();
    machine.program(0, 2, 1000);
    let before = machine.edges();
    machine.at(300);
    machine.write(0, 0xf4);
    machine.write(0, 0x01);

    assert_eq!(machine.serve_to(1000), 1);
    assert_eq!(machine.edges() - before, 1);
    assert_eq!(machine.serve_to(2000), 2, "now every 500 ticks");
    assert_eq!(machine.edges() - before, 3);
}

/// What Linux does to learn the TSC's frequency: count channel 2 down and watch its high byte.
#[test]
fn channel_2_calibrates_by_polling() {
    let mut machine = machine();
    let port_b = machine.read(4);
    machine.write(4, port_b & !2 | 1);
    machine.write(3, 0xb0);
    machine.write(2, 0xff);
    machine.write(2, 0xff);
    let start = machine.clock.now_ns();
    let mut seen = Vec::new();
    for _ in 0..40_000 {
        machine.clock.advance_by(1_500);
        machine.read(2);
        let high = machine.read(2);
        if seen.last().is_none_or(|(last, _)| *last != high) {
            seen.push((high, machine.clock.now_ns() - start));
        }
        if high == 0xff - 100 {
            break;
        }
    }

    assert!(seen.windows(2).all(|pair| pair[0].0 == pair[1].0 + 1), "every step is seen");
    let (_, took) = *seen.last().unwrap();
    let expected = ticks_to_nanos(100 * 256, HZ);
    assert!(took.abs_diff(expected) < 5_000, "{took} against {expected}");
}

/// The other way: mode 0 and the output bit in port B.
#[test]
fn channel_2_reports_its_end_in_port_b() {
    let mut machine = machine();
    machine.write(4, 1);
    machine.program(2, 0, 59_659);
    assert_eq!(machine.read(4) & 0x20, 0);
    machine.at(59_658);
    assert_eq!(machine.read(4) & 0x20, 0);
    machine.at(59_659);
    assert_eq!(machine.read(4) & 0x21, 0x21);
}

#[test]
fn the_gate_holds_and_restarts_channel_2() {
    let mut machine = machine();
    machine.program(2, 0, 1000);
    machine.at(100);
    assert_eq!(machine.latched(2), 1000, "the gate is down");
    machine.write(4, 1);
    machine.at(400);
    assert_eq!(machine.latched(2), 700);
    machine.write(4, 0);
    machine.at(500);
    assert_eq!(machine.latched(2), 700);

    machine.program(2, 3, 1000);
    machine.write(4, 1);
    machine.at(600);
    machine.write(4, 0);
    assert_eq!(machine.status(2) & 0x80, 0x80);
    machine.write(4, 1);
    machine.at(601);
    assert_eq!(machine.latched(2), 998, "restarted");
}

#[test]
fn the_gate_triggers_modes_1_and_5() {
    for (mode, during) in [(1, 0), (5, 0x80)] {
        let mut machine = machine();
        machine.program(2, mode, 100);
        machine.at(50);
        assert_eq!(machine.status(2) & 0x80, 0x80, "mode {mode} waits");
        machine.write(4, 1);
        machine.at(60);
        assert_eq!(machine.status(2) & 0x80, during, "mode {mode}");
        machine.at(150 + 1);
        assert_eq!(machine.status(2) & 0x80, 0x80, "mode {mode} has ended");
    }
}

#[test]
fn port_b_keeps_its_low_bits_and_toggles_refresh() {
    let mut machine = machine();
    machine.write(4, 0xff);
    assert_eq!(machine.read(4) & 0x0f, 0x0f);
    let first = machine.read(4) & 0x10;
    machine.clock.advance_by(15_085);
    assert_ne!(machine.read(4) & 0x10, first);
    assert_eq!(machine.read(4) & 0xc0, 0, "no parity or channel check");
}

#[test]
fn the_control_register_is_write_only_and_reset_stops_all() {
    let mut machine = machine();
    assert_eq!(machine.pit.read(3, Width::One), Err(Unclaimed));
    assert_eq!(machine.pit.read(9, Width::One), Err(Unclaimed));
    machine.program(0, 2, 100);
    machine.pit.reset();
    assert_eq!(machine.pit.next_deadline_ns(), None);
}

proptest! {
    #[test]
    fn any_access_is_survived_and_the_deadline_is_ahead(steps in any_access::steps(5)) {
        let mut machine = machine();
        for step in steps {
            any_access::perform(&mut machine.pit, step);
            if let Step::Wait(ns) = step {
                let now = machine.clock.advance_by(ns % (1 << 44));
                machine.pit.advance(now);
                if let Some(next) = machine.pit.next_deadline_ns() {
                    prop_assert!(next > now, "{} is not after {}", next, now);
                }
            }
        }
    }
}
