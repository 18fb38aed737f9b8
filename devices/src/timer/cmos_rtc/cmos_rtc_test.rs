use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::any_access::{self, Step};
use crate::interrupt::IrqInput;
use crate::time::{FixedWallClock, ManualClock};

#[derive(Default)]
struct Level(Mutex<bool>);

impl IrqInput for Level {
    fn set_level(&self, _pin: u32, level: bool) {
        *self.0.lock().unwrap() = level;
    }
}

struct Machine {
    rtc: CmosRtc,
    clock: Arc<ManualClock>,
    irq: Arc<Level>,
}

/// 2024-02-28 23:59:58 UTC, a Wednesday.
const START: i64 = 1_709_164_798;

fn machine() -> Machine {
    let clock = Arc::new(ManualClock::new(1));
    let irq = Arc::new(Level::default());
    let line = IrqLine::new(irq.clone(), 0);
    let wall = Arc::new(FixedWallClock(START));
    let rtc = CmosRtc::new(512 << 20, 3 << 30, line, clock.clone(), wall, Arc::new(()));
    Machine { rtc, clock, irq }
}

impl Machine {
    fn read(&mut self, index: u8) -> u8 {
        self.rtc.write(0, Width::One, index.into()).unwrap();
        self.rtc.read(1, Width::One).unwrap() as u8
    }

    fn write(&mut self, index: u8, value: u8) {
        self.rtc.write(0, Width::One, index.into()).unwrap();
        self.rtc.write(1, Width::One, value.into()).unwrap();
    }

    /// Year to second, as the registers show them.
    fn date(&mut self) -> [u8; 7] {
        [index::CENTURY, index::YEAR, index::MONTH, index::DAY, index::HOURS, index::MINUTES, index::SECONDS]
            .map(|index| self.read(index))
    }

    fn wait_ms(&mut self, ms: u64) {
        let now = self.clock.advance_by(ms * 1_000_000);
        self.rtc.advance(now);
    }

    fn irq(&self) -> bool {
        *self.irq.0.lock().unwrap()
    }
}

#[test]
fn the_date_runs_and_knows_leap_years() {
    let mut machine = machine();
    assert_eq!(machine.date(), [0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x58]);
    assert_eq!(machine.read(index::WEEKDAY), 4);
    machine.wait_ms(2000);
    assert_eq!(machine.date(), [0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x00]);
    machine.wait_ms(86_400_000);
    assert_eq!(machine.date(), [0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00]);
    assert_eq!(machine.read(index::WEEKDAY), 6);
}

#[test]
fn formats() {
    let mut machine = machine();
    for (format, expected) in [
        (b::HOURS_24, [0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x58]),
        (b::HOURS_24 | b::BINARY, [20, 24, 2, 28, 23, 59, 58]),
        (0, [0x20, 0x24, 0x02, 0x28, 0x91, 0x59, 0x58]),
        (b::BINARY, [20, 24, 2, 28, 0x80 | 11, 59, 58]),
    ] {
        machine.write(index::STATUS_B, format);
        assert_eq!(machine.date(), expected, "{format:#x}");
    }
    machine.wait_ms(2000);
    assert_eq!(machine.read(index::HOURS), 12, "midnight is 12 am");
}

#[test]
fn setting_the_date_in_every_format() {
    for format in [b::HOURS_24, b::HOURS_24 | b::BINARY, 0, b::BINARY] {
        let mut machine = machine();
        machine.write(index::STATUS_B, format);
        let before = machine.date();
        machine.write(index::STATUS_B, format | b::SET);
        machine.wait_ms(5000);
        assert_eq!(machine.date(), before, "it stands while it is set");
        let other = Format::of(format);
        let date = Date { year: 1999, month: 12, day: 31, hour: 23, minute: 59, second: 59 };
        for at in [
            index::CENTURY,
            index::YEAR,
            index::MONTH,
            index::DAY,
            index::HOURS,
            index::MINUTES,
            index::SECONDS,
        ] {
            machine.write(at, other.show(at, date).unwrap());
        }
        machine.write(index::STATUS_B, format);
        machine.wait_ms(1000);

        machine.write(index::STATUS_B, b::HOURS_24);
        assert_eq!(machine.date(), [0x20, 0x00, 0x01, 0x01, 0, 0, 0], "{format:#x}");
    }
}

#[test]
fn calendar_round_trips() {
    for seconds in (-5_000_000_000..5_000_000_000_i64).step_by(12_345_677) {
        let date = Date::from_unix(seconds);
        assert_eq!(date.to_unix(), seconds, "{date:?}");
    }
    let date = Date::from_unix(951_827_696);
    assert_eq!((date.year, date.month, date.day, date.weekday()), (2000, 2, 29, 3));
    for seconds in [i64::MIN, i64::MAX] {
        Date::from_unix(seconds).weekday();
    }
}

#[test]
fn update_in_progress_is_shown_before_the_second_ends() {
    let mut machine = machine();
    assert_eq!(machine.read(index::STATUS_A), 0x26);
    machine.clock.advance_by(999_756_000);
    assert_eq!(machine.read(index::STATUS_A), 0xa6);
    machine.clock.advance_by(244_000);
    assert_eq!(machine.read(index::STATUS_A), 0x26);
    machine.write(index::STATUS_A, 0xff);
    assert_eq!(machine.read(index::STATUS_A), 0x7f, "the flag is read only");
}

#[test]
fn update_interrupts_come_each_second_until_read() {
    let mut machine = machine();
    machine.write(index::STATUS_B, b::HOURS_24 | b::UPDATE);
    assert_eq!(machine.rtc.next_deadline_ns(), Some(1_000_000_000));
    machine.wait_ms(1000);
    assert!(machine.irq());
    assert_eq!(machine.rtc.next_deadline_ns(), None, "it waits for the guest");
    assert_eq!(machine.read(index::STATUS_C) & (c::INTERRUPT | b::UPDATE), c::INTERRUPT | b::UPDATE);
    assert!(!machine.irq());
    assert_eq!(machine.read(index::STATUS_C), 0);
    assert_eq!(machine.rtc.next_deadline_ns(), Some(2_000_000_000));
}

#[test]
fn periodic_rates() {
    for (rate, hz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
        let mut machine = machine();
        machine.write(index::STATUS_A, 0x20 | rate);
        machine.write(index::STATUS_B, b::HOURS_24 | b::PERIODIC);
        let mut count = 0;
        while let Some(next) = machine.rtc.next_deadline_ns().filter(|next| *next <= 1_000_000_000) {
            let now = machine.clock.advance_to(next);
            machine.rtc.advance(now);
            assert!(machine.irq());
            machine.read(index::STATUS_C);
            count += 1;
        }
        assert_eq!(count, hz, "rate {rate}");
    }
    let mut machine = machine();
    machine.write(index::STATUS_B, b::PERIODIC);
    for off in [0x20, 0x76] {
        machine.write(index::STATUS_A, off);
        assert_eq!(machine.rtc.next_deadline_ns(), None);
    }
}

#[test]
fn alarms_match_with_wildcards() {
    for (hours, minutes, seconds, after) in [
        (0x00, 0x00, 0x05, 7),
        (0xff, 0xff, 0xff, 1),
        (0xff, 0xff, 0x30, 32),
        (0xff, 0x10, 0x00, 602),
        (0x23, 0x59, 0x58, 86_400),
        (0x12, 0xff, 0xff, 2 + 12 * 3600),
    ] {
        let mut machine = machine();
        machine.write(index::ALARM_HOURS, hours);
        machine.write(index::ALARM_MINUTES, minutes);
        machine.write(index::ALARM_SECONDS, seconds);
        machine.write(index::STATUS_B, b::HOURS_24 | b::ALARM);
        let due = after * 1_000_000_000;
        assert_eq!(machine.rtc.next_deadline_ns(), Some(due), "{hours:x}:{minutes:x}:{seconds:x}");
        let now = machine.clock.advance_to(due - 1);
        machine.rtc.advance(now);
        assert!(!machine.irq());
        let now = machine.clock.advance_to(due);
        machine.rtc.advance(now);
        assert!(machine.irq());
        assert_eq!(machine.read(index::STATUS_C) & b::ALARM, b::ALARM);
    }
}

#[test]
fn an_alarm_that_cannot_be_never_comes() {
    let mut machine = machine();
    machine.write(index::ALARM_HOURS, 0x77);
    machine.write(index::STATUS_B, b::HOURS_24 | b::ALARM);
    assert_eq!(machine.rtc.next_deadline_ns(), None);
    machine.wait_ms(90_000_000);
    assert!(!machine.irq());
}

#[test]
fn flags_are_shown_without_their_interrupts() {
    let mut machine = machine();
    machine.wait_ms(1500);
    assert!(!machine.irq());
    let flags = machine.read(index::STATUS_C);
    assert_eq!(flags & c::INTERRUPT, 0);
    assert_eq!(flags & (b::UPDATE | b::PERIODIC), b::UPDATE | b::PERIODIC);
}

#[test]
fn memory_sizes_are_told() {
    let mut machine = machine();
    let word = |machine: &mut Machine, at: u8| u16::from_le_bytes([machine.read(at), machine.read(at + 1)]);
    assert_eq!(word(&mut machine, index::BASE_MEMORY), 640);
    assert_eq!(word(&mut machine, index::EXTENDED_MEMORY), 0xffff);
    assert_eq!(word(&mut machine, index::EXTENDED_MEMORY_2), 0xffff);
    assert_eq!(word(&mut machine, index::MEMORY_ABOVE_16M), (512 - 16) * 16);
    assert_eq!(word(&mut machine, index::MEMORY_ABOVE_4G), 0xc000);
    assert_eq!(machine.read(index::STATUS_D), 0x80);
}

#[test]
fn both_banks_are_memory() {
    let mut machine = machine();
    machine.write(0x0f, 0x0a);
    assert_eq!(machine.read(0x8f), 0x0a, "bit 7 masks NMI and is no address");
    machine.rtc.write(2, Width::One, 0x10).unwrap();
    machine.rtc.write(3, Width::One, 0x5a).unwrap();
    assert_eq!(machine.rtc.read(3, Width::One), Ok(0x5a));
    assert_eq!(machine.read(0x10), 0);
    assert_eq!(machine.rtc.read(4, Width::One), Err(Unclaimed));
}

#[test]
fn reset_takes_interrupts_away_and_keeps_the_date() {
    let mut machine = machine();
    machine.write(0x40, 7);
    machine.write(index::STATUS_B, b::HOURS_24 | b::UPDATE);
    machine.wait_ms(1000);
    assert!(machine.irq());

    machine.rtc.reset();

    assert!(!machine.irq());
    assert_eq!(machine.rtc.next_deadline_ns(), None);
    assert_eq!(machine.read(0x40), 7);
    assert_eq!(machine.date()[6], 0x59);
}

proptest! {
    #[test]
    fn any_access_is_survived_and_the_deadline_is_ahead(steps in any_access::steps(4)) {
        let mut machine = machine();
        for step in steps {
            any_access::perform(&mut machine.rtc, step);
            match step {
                Step::Wait(ns) => {
                    let now = machine.clock.advance_by(ns % (1 << 56));
                    machine.rtc.advance(now);
                    if let Some(next) = machine.rtc.next_deadline_ns() {
                        prop_assert!(next > now, "{} is not after {}", next, now);
                    }
                }
                Step::Poke(value) => {
                    machine.write(value & 0x3f, value);
                    machine.read(index::STATUS_C);
                }
                _ => {}
            }
        }
    }
}
