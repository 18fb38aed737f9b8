//! One counter of an 8254.
//!
//! Nothing is counted: what the counter and its output are follows from the input clock's ticks since counting began.

use super::spec::status;

/// Which bytes of the count an access moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Low,
    High,
    LowThenHigh,
}

#[derive(Debug, Clone)]
pub(super) struct Channel {
    mode: u8,
    bcd: bool,
    access: Access,
    gate: bool,
    /// The count in ticks, 1 to 65,536; `None` until one is written.
    count: Option<u32>,
    /// A new count of a periodic mode, and the tick at which it takes over.
    next: Option<(u32, u64)>,
    /// Ticks counted before `since`.
    counted: u64,
    /// The tick since which it counts; `None` while it stands.
    since: Option<u64>,
    /// Rising edges of the output that were reported.
    edges: u64,
    write_low: Option<u8>,
    read_high_next: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

impl Channel {
    pub(super) fn new(gate: bool) -> Self {
        Self {
            mode: 3,
            bcd: false,
            access: Access::LowThenHigh,
            gate,
            count: None,
            next: None,
            counted: 0,
            since: None,
            edges: 0,
            write_low: None,
            read_high_next: false,
            latched_count: None,
            latched_status: None,
        }
    }

    /// A control word that sets the mode: the counter stops until a count is written.
    pub(super) fn set_mode(&mut self, access: u8, mode: u8, bcd: bool) {
        let access = match access & 3 {
            1 => Access::Low,
            2 => Access::High,
            _ => Access::LowThenHigh,
        };
        // Bit 2 is ignored in modes 2 and 3.
        let mode = if mode & 2 != 0 { mode & 3 } else { mode & 7 };
        *self = Self { mode, bcd, access, ..Self::new(self.gate) };
    }

    /// Writes a byte of the count; whether a count is complete.
    pub(super) fn write(&mut self, value: u8, tick: u64) -> bool {
        let raw = match (self.access, self.write_low.take()) {
            (Access::Low, _) => u16::from(value),
            (Access::High, _) => u16::from(value) << 8,
            (Access::LowThenHigh, Some(low)) => u16::from_le_bytes([low, value]),
            (Access::LowThenHigh, None) => {
                self.write_low = Some(value);
                if self.mode == 0 {
                    // The first byte stops the count and takes the output down.
                    self.count = None;
                    self.since = None;
                }
                return false;
            }
        };
        self.load(self.ticks_of(raw), tick);
        true
    }

    fn load(&mut self, count: u32, tick: u64) {
        match (self.mode, self.count) {
            (2 | 3, Some(current)) if self.since.is_some() => {
                let period = u64::from(current);
                let left = period - self.elapsed(tick) % period;
                self.next = Some((count, tick.saturating_add(left)));
            }
            // A one-shot under way finishes; the new count is for the next trigger.
            (1 | 5, Some(_)) if self.since.is_some() => self.count = Some(count),
            (mode, _) => {
                self.count = Some(count);
                // Modes 1 and 5 wait for their gate to rise, the others need it high.
                let starts = self.gate && mode != 1 && mode != 5;
                self.restart(tick, starts);
            }
        }
    }

    fn restart(&mut self, tick: u64, counting: bool) {
        self.counted = 0;
        self.edges = 0;
        self.next = None;
        self.since = counting.then_some(tick);
    }

    pub(super) fn set_gate(&mut self, gate: bool, tick: u64) {
        let rises = gate && !self.gate;
        let falls = !gate && self.gate;
        self.gate = gate;
        if self.count.is_none() {
            return;
        }
        match self.mode {
            // The gate triggers.
            1 | 5 if rises => self.restart(tick, true),
            // The gate stops the counter, and restarts it from its count.
            2 | 3 if falls => self.since = None,
            2 | 3 if rises => {
                if let Some((count, _)) = self.next {
                    self.count = Some(count);
                }
                self.restart(tick, true);
            }
            // The gate holds the counter.
            0 | 4 if falls => {
                self.counted = self.elapsed(tick);
                self.since = None;
            }
            0 | 4 if rises => self.since = Some(tick),
            _ => {}
        }
    }

    /// Lets a new count of a periodic mode take over when its time has come.
    pub(super) fn settle(&mut self, tick: u64) {
        if let Some((count, at)) = self.next.filter(|(_, at)| *at <= tick) {
            self.count = Some(count);
            self.restart(at, true);
            // The period that ended here ended with a rising edge.
            self.edges = 0;
        }
    }

    /// Rising edges of the output since the last call, as far as anybody could tell them apart: none, or some.
    pub(super) fn take_edges(&mut self, tick: u64) -> bool {
        let ended = self.next.is_some_and(|(_, at)| at <= tick);
        self.settle(tick);
        let Some(count) = self.count.map(u64::from) else { return false };
        let elapsed = self.elapsed(tick);
        let edges = match self.mode {
            0 | 1 => u64::from(elapsed >= count),
            2 | 3 => elapsed / count,
            _ => u64::from(elapsed > count),
        };
        let new = edges > self.edges;
        self.edges = edges;
        new || ended
    }

    /// The tick of the next rising edge.
    pub(super) fn next_edge(&self) -> Option<u64> {
        if let Some((_, at)) = self.next {
            return Some(at);
        }
        let (since, count) = (self.since?, u64::from(self.count?));
        let at = match self.mode {
            0 | 1 => (self.edges == 0).then_some(count)?,
            2 | 3 => count.saturating_mul(self.edges.saturating_add(1)),
            _ => (self.edges == 0).then_some(count + 1)?,
        };
        Some(since.saturating_add(at.saturating_sub(self.counted)))
    }

    pub(super) fn output(&self, tick: u64) -> bool {
        let Some(count) = self.count.map(u64::from) else { return self.mode != 0 };
        let elapsed = self.elapsed(tick);
        match self.mode {
            0 => elapsed >= count,
            // High until it is triggered.
            1 => self.since.is_none() || elapsed >= count,
            2 => self.since.is_none() || elapsed % count != count - 1,
            3 => self.since.is_none() || elapsed % count < count.div_ceil(2),
            _ => elapsed != count,
        }
    }

    /// What the counting element holds.
    fn value(&self, tick: u64) -> u16 {
        let Some(count) = self.count.map(u64::from) else { return 0 };
        let elapsed = self.elapsed(tick);
        let modulus = if self.bcd { 10_000 } else { 0x1_0000 };
        let value = match self.mode {
            2 => count - elapsed % count,
            // Counts by twos, twice per period.
            3 => count - (2 * (elapsed % count)) % count,
            _ => (count % modulus + modulus - elapsed % modulus) % modulus,
        };
        // 65,536 (or 10,000) shows as zero.
        let value = (value % modulus) as u16;
        if self.bcd { to_bcd(value) } else { value }
    }

    /// The counter latch command.
    pub(super) fn latch_count(&mut self, tick: u64) {
        if self.latched_count.is_none() {
            self.latched_count = Some(self.value(tick));
        }
    }

    /// The read-back command's status latch.
    pub(super) fn latch_status(&mut self, tick: u64) {
        let output = if self.output(tick) { status::OUTPUT } else { 0 };
        let null = if self.count.is_none() || self.next.is_some() { status::NULL_COUNT } else { 0 };
        let access = match self.access {
            Access::Low => 1 << 4,
            Access::High => 2 << 4,
            Access::LowThenHigh => 3 << 4,
        };
        self.latched_status.get_or_insert(output | null | access | self.mode << 1 | u8::from(self.bcd));
    }

    pub(super) fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.value(tick)).to_le_bytes();
        let (byte, last) = match self.access {
            Access::Low => (low, true),
            Access::High => (high, true),
            Access::LowThenHigh if self.read_high_next => (high, true),
            Access::LowThenHigh => (low, false),
        };
        self.read_high_next = !last;
        if last {
            self.latched_count = None;
        }
        byte
    }

    fn elapsed(&self, tick: u64) -> u64 {
        let counting = self.since.map_or(0, |since| tick.saturating_sub(since));
        self.counted.saturating_add(counting)
    }

    /// The ticks a count register's value stands for: zero is the most.
    fn ticks_of(&self, raw: u16) -> u32 {
        let (value, most) = if self.bcd { (from_bcd(raw), 10_000) } else { (u32::from(raw), 0x1_0000) };
        if value == 0 { most } else { value }
    }
}

fn from_bcd(raw: u16) -> u32 {
    let digit = |shift: u16| u32::from(raw >> shift & 0xf);
    digit(12) * 1000 + digit(8) * 100 + digit(4) * 10 + digit(0)
}

fn to_bcd(value: u16) -> u16 {
    let digit = |place: u16| value / place % 10;
    digit(1000) << 12 | digit(100) << 8 | digit(10) << 4 | digit(1)
}
