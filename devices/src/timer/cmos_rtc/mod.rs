//! The real-time clock and its CMOS memory.

mod calendar;
mod registers;
pub mod spec;

use std::sync::Arc;

use self::calendar::Date;
use self::registers::Format;
use self::spec::{BYTES, a, b, c, index, offset};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;
use crate::time::{
    Clock, DeadlineListener, NANOS_PER_SECOND, TimedDevice, WallClock, nanos_to_ticks, ticks_to_nanos,
};

/// The MC146818-compatible real-time clock.
pub struct CmosRtc {
    irq8: IrqLine,
    clock: Arc<dyn Clock>,
    wall: Arc<dyn WallClock>,
    listener: Arc<dyn DeadlineListener>,
    memory: [u8; BYTES],
    index: u8,
    index_2: u8,
    /// The date at `base_ns`, in seconds since 1970.
    base_unix: i64,
    base_ns: u64,
    /// The date while updates are stopped, as the guest is changing it.
    stopped: Option<Date>,
    /// Flags of status C.
    flags: u8,
    /// Up to when flags were set.
    settled_ns: u64,
}

impl CmosRtc {
    /// A clock set to `wall`'s date. `low_ram_bytes` (below 4 GiB) and `high_ram_bytes` (above) are told in the CMOS
    /// memory size bytes.
    pub fn new(
        low_ram_bytes: u64,
        high_ram_bytes: u64,
        irq8: IrqLine,
        clock: Arc<dyn Clock>,
        wall: Arc<dyn WallClock>,
        listener: Arc<dyn DeadlineListener>,
    ) -> Self {
        let mut rtc = Self {
            irq8,
            clock,
            wall,
            listener,
            memory: [0; BYTES],
            index: 0,
            index_2: 0,
            base_unix: 0,
            base_ns: 0,
            stopped: None,
            flags: 0,
            settled_ns: 0,
        };
        rtc.set(index::STATUS_A, a::RESET);
        rtc.set(index::STATUS_B, b::HOURS_24);
        rtc.store_memory_size(low_ram_bytes, high_ram_bytes);
        rtc.set_from_wall_clock();
        rtc
    }

    /// Sets the date to the wall clock's, as after a pause. Called by the machine's owner.
    pub fn set_from_wall_clock(&mut self) {
        self.base_ns = self.clock.now_ns();
        self.base_unix = self.wall.unix_seconds();
        self.settled_ns = self.base_ns;
        self.stopped = None;
    }

    /// What a machine reset does: interrupts are off; date and memory stay.
    pub fn reset(&mut self) {
        let enables = b::PERIODIC | b::ALARM | b::UPDATE | b::SQUARE_WAVE | b::SET;
        if let Some(date) = self.stopped.take() {
            self.rebase(date);
        }
        self.set(index::STATUS_B, self.get(index::STATUS_B) & !enables);
        (self.index, self.index_2, self.flags) = (0, 0, 0);
        self.irq8.set_level(false);
    }

    fn store_memory_size(&mut self, low: u64, high: u64) {
        let from = |start: u64, unit: u64| low.saturating_sub(start) / unit;
        let mut store = |at: u8, value: u64, bytes: u8| {
            let value = value.min((1 << (8 * bytes)) - 1);
            for (n, byte) in value.to_le_bytes().into_iter().enumerate().take(bytes.into()) {
                if let Some(slot) = self.memory.get_mut(usize::from(at) + n) {
                    *slot = byte;
                }
            }
        };
        store(index::BASE_MEMORY, low.min(640 << 10) >> 10, 2);
        store(index::EXTENDED_MEMORY, from(1 << 20, 1 << 10), 2);
        store(index::EXTENDED_MEMORY_2, from(1 << 20, 1 << 10), 2);
        store(index::MEMORY_ABOVE_16M, from(16 << 20, 1 << 16), 2);
        store(index::MEMORY_ABOVE_4G, high >> 16, 3);
    }

    fn get(&self, at: u8) -> u8 {
        self.memory.get(usize::from(at)).copied().unwrap_or(0xff)
    }

    fn set(&mut self, at: u8, value: u8) {
        if let Some(byte) = self.memory.get_mut(usize::from(at)) {
            *byte = value;
        }
    }

    fn format(&self) -> Format {
        Format::of(self.get(index::STATUS_B))
    }

    /// Seconds since 1970 at `now_ns`.
    fn unix_at(&self, now_ns: u64) -> i64 {
        let since = now_ns.saturating_sub(self.base_ns) / NANOS_PER_SECOND;
        // 2^64 ns are 585 years.
        self.base_unix.saturating_add_unsigned(since)
    }

    /// When the clock will show `unix` seconds.
    fn ns_at(&self, unix: i64) -> u64 {
        let seconds = u64::try_from(unix.saturating_sub(self.base_unix)).unwrap_or(0);
        self.base_ns.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    fn date(&self) -> Date {
        self.stopped.unwrap_or_else(|| Date::from_unix(self.unix_at(self.clock.now_ns())))
    }

    /// Lets the clock run on from `date`, a new second beginning now.
    fn rebase(&mut self, date: Date) {
        self.base_ns = self.clock.now_ns();
        self.base_unix = date.to_unix();
        self.settled_ns = self.base_ns;
    }

    /// Ticks of the crystal per periodic interrupt, if it is on.
    fn periodic_ticks(&self) -> Option<u64> {
        let status_a = self.get(index::STATUS_A);
        match status_a & a::RATE {
            _ if status_a & a::DIVIDER != a::DIVIDER_32768 => None,
            0 => None,
            // The two fastest of the table are not the fastest.
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// The first second after `unix` that matches the alarm.
    fn next_alarm(&self, unix: i64) -> i64 {
        let format = self.format();
        let alarm = |at: u8| {
            let value = self.get(at);
            (value < spec::ANY).then_some(value)
        };
        let hour = alarm(index::ALARM_HOURS).map(|value| format.hour_from(value));
        let minute = alarm(index::ALARM_MINUTES).map(|value| format.from(value));
        let second = alarm(index::ALARM_SECONDS).map(|value| format.from(value));
        let mut at = unix.saturating_add(1);
        // A day has at most this many steps: hours, then minutes, then seconds.
        for _ in 0..2 * (24 + 60 + 60) {
            let date = Date::from_unix(at);
            let step = if hour.is_some_and(|hour| hour != date.hour) {
                3600 - i64::from(date.minute) * 60 - i64::from(date.second)
            } else if minute.is_some_and(|minute| minute != date.minute) {
                60 - i64::from(date.second)
            } else if second.is_some_and(|second| second != date.second) {
                1
            } else {
                return at;
            };
            at = at.saturating_add(step);
        }
        // The alarm is set to a time that does not exist.
        i64::MAX
    }

    /// Sets the flags of what happened up to `now_ns` and drives the line.
    fn settle(&mut self, now_ns: u64) {
        let before = self.settled_ns;
        if now_ns > before {
            self.settled_ns = now_ns;
            if let Some(ticks) = self.periodic_ticks()
                && nanos_to_ticks(now_ns, spec::HZ) / ticks != nanos_to_ticks(before, spec::HZ) / ticks
            {
                self.flags |= b::PERIODIC;
            }
            if self.stopped.is_none() {
                let (from, to) = (self.unix_at(before), self.unix_at(now_ns));
                if from != to {
                    self.flags |= b::UPDATE;
                }
                if self.flags & b::ALARM == 0 && from != to && self.next_alarm(from) <= to {
                    self.flags |= b::ALARM;
                }
            }
        }
        self.irq8.set_level(self.flags & self.get(index::STATUS_B) & c::FLAGS != 0);
    }

    fn read_register(&mut self, at: u8) -> u8 {
        let now_ns = self.clock.now_ns();
        let format = self.format();
        match at {
            index::STATUS_A => self.get(at) & !a::UPDATE_IN_PROGRESS | self.update_in_progress(now_ns),
            index::STATUS_C => {
                self.settle(now_ns);
                let raised = self.flags & self.get(index::STATUS_B) & c::FLAGS != 0;
                let flags = std::mem::take(&mut self.flags);
                self.irq8.set_level(false);
                // The next interrupt is no longer held back by the flag.
                self.listener.deadline_moved();
                flags | if raised { c::INTERRUPT } else { 0 }
            }
            index::STATUS_D => spec::D_VALID,
            _ => format.show(at, self.date()).unwrap_or_else(|| self.get(at)),
        }
    }

    fn write_register(&mut self, at: u8, value: u8) {
        let now_ns = self.clock.now_ns();
        self.settle(now_ns);
        match at {
            index::STATUS_A => self.set(at, value & !a::UPDATE_IN_PROGRESS),
            index::STATUS_B => self.write_status_b(value),
            index::STATUS_C | index::STATUS_D => return,
            _ => {
                let mut date = self.date();
                if self.format().change(at, value, &mut date) {
                    match &mut self.stopped {
                        Some(stopped) => *stopped = date,
                        None => self.rebase(date),
                    }
                } else {
                    self.set(at, value);
                }
            }
        }
        self.settle(now_ns);
        self.listener.deadline_moved();
    }

    fn write_status_b(&mut self, value: u8) {
        match (value & b::SET != 0, self.stopped) {
            (true, None) => self.stopped = Some(self.date()),
            (false, Some(date)) => {
                self.stopped = None;
                self.rebase(date);
            }
            _ => {}
        }
        // SET also stops the update-ended interrupt.
        let update_off = if value & b::SET != 0 { b::UPDATE } else { 0 };
        self.set(index::STATUS_B, value & !update_off);
    }

    fn update_in_progress(&self, now_ns: u64) -> u8 {
        let within = now_ns.saturating_sub(self.base_ns) % NANOS_PER_SECOND;
        let soon = within >= NANOS_PER_SECOND - spec::UPDATE_WARNING_NS;
        if soon && self.stopped.is_none() { a::UPDATE_IN_PROGRESS } else { 0 }
    }
}

impl BusDevice for CmosRtc {
    fn read(&mut self, offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        let value = match offset {
            offset::INDEX => self.index,
            offset::DATA => self.read_register(self.index & 0x7f),
            offset::INDEX_2 => self.index_2,
            offset::DATA_2 => self.get(self.index_2 | 0x80),
            _ => return Err(Unclaimed),
        };
        Ok(value.into())
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64) -> Result<(), Unclaimed> {
        let value = (value & 0xff) as u8;
        match offset {
            offset::INDEX => self.index = value,
            offset::DATA => self.write_register(self.index & 0x7f, value),
            offset::INDEX_2 => self.index_2 = value,
            offset::DATA_2 => self.set(self.index_2 | 0x80, value),
            _ => return Err(Unclaimed),
        }
        Ok(())
    }
}

impl TimedDevice for CmosRtc {
    fn next_deadline_ns(&self) -> Option<u64> {
        // A flag that is already up holds its line; nothing new happens until the guest reads it away.
        let wanted = self.get(index::STATUS_B) & c::FLAGS & !self.flags;
        let wants = |flag: u8| wanted & flag != 0;
        let second = self.unix_at(self.settled_ns);
        let periodic = self.periodic_ticks().filter(|_| wants(b::PERIODIC)).map(|ticks| {
            let done = nanos_to_ticks(self.settled_ns, spec::HZ) / ticks;
            ticks_to_nanos(done.saturating_add(1).saturating_mul(ticks), spec::HZ)
        });
        let runs = self.stopped.is_none();
        let update = (runs && wants(b::UPDATE)).then(|| self.ns_at(second.saturating_add(1)));
        let alarm = (runs && wants(b::ALARM))
            .then(|| self.next_alarm(second))
            .filter(|unix| *unix != i64::MAX)
            .map(|unix| self.ns_at(unix));
        [periodic, update, alarm].into_iter().flatten().min()
    }

    fn advance(&mut self, now_ns: u64) {
        self.settle(now_ns);
    }
}

#[cfg(test)]
#[path = "cmos_rtc_test.rs"]
mod cmos_rtc_test;
