//! The APIC timer: counts down the machine's clock, or waits for a value of the TSC.

use crate::time::{Clock, nanos_to_ticks, ticks_to_nanos};

/// Periods shorter than this fire this far apart: a guest that asks for a nanosecond must not keep the host busy.
const MIN_PERIOD_NS: u64 = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TimerMode {
    #[default]
    OneShot,
    Periodic,
    TscDeadline,
}

/// The counter, without its LVT entry's mask and vector.
#[derive(Debug, Clone)]
pub(super) struct ApicTimer {
    hz: u64,
    mode: TimerMode,
    /// Divide configuration register: bits 0, 1 and 3.
    divide: u32,
    initial: u32,
    counting: Option<Counting>,
    /// IA32_TSC_DEADLINE while armed, else zero.
    tsc_deadline: u64,
    tsc_offset: i64,
    /// No periodic interrupt before this time.
    not_before_ns: u64,
}

/// A count under way. All times follow from where it began, so that periods do not drift.
#[derive(Debug, Clone, Copy)]
struct Counting {
    from_ns: u64,
    /// The count at `from_ns`; in later periods the initial count.
    first: u32,
    /// Times it reached zero since.
    fired: u64,
}

impl ApicTimer {
    pub(super) fn new(hz: u64) -> Self {
        Self {
            hz: hz.max(1),
            mode: TimerMode::OneShot,
            divide: 0,
            initial: 0,
            counting: None,
            tsc_deadline: 0,
            tsc_offset: 0,
            not_before_ns: 0,
        }
    }

    /// Back to the state after reset; the TSC keeps its offset.
    pub(super) fn reset(&mut self) {
        *self = Self { tsc_offset: self.tsc_offset, ..Self::new(self.hz) };
    }

    /// To or from TSC-deadline mode disarms; between the counting modes the count goes on.
    pub(super) fn set_mode(&mut self, mode: TimerMode, now_ns: u64) {
        if mode == self.mode {
            return;
        }
        if mode == TimerMode::TscDeadline || self.mode == TimerMode::TscDeadline {
            self.counting = None;
            self.tsc_deadline = 0;
        } else {
            self.rebase(now_ns);
        }
        self.mode = mode;
    }

    pub(super) fn initial(&self) -> u32 {
        self.initial
    }

    pub(super) fn divide(&self) -> u32 {
        self.divide
    }

    pub(super) fn tsc_deadline(&self) -> u64 {
        self.tsc_deadline
    }

    /// Starts a count, or stops with zero. Ignored in TSC-deadline mode.
    pub(super) fn set_initial(&mut self, initial: u32, now_ns: u64) {
        if self.mode == TimerMode::TscDeadline {
            return;
        }
        self.initial = initial;
        self.not_before_ns = 0;
        self.counting = (initial != 0).then_some(Counting { from_ns: now_ns, first: initial, fired: 0 });
    }

    /// A count under way goes on at the new pace.
    pub(super) fn set_divide(&mut self, divide: u32, now_ns: u64) {
        self.rebase(now_ns);
        self.divide = divide & 0b1011;
    }

    /// Arms, or disarms with zero. Ignored outside TSC-deadline mode.
    pub(super) fn set_tsc_deadline(&mut self, deadline: u64) {
        if self.mode == TimerMode::TscDeadline {
            self.tsc_deadline = deadline;
        }
    }

    pub(super) fn set_tsc_offset(&mut self, offset: i64) {
        self.tsc_offset = offset;
    }

    /// The current count register.
    pub(super) fn current(&self, now_ns: u64) -> u32 {
        let Some(counting) = self.counting else { return 0 };
        let ticks = self.ticks_since(counting.from_ns, now_ns);
        let left = match ticks.checked_sub(u64::from(counting.first)) {
            None => u64::from(counting.first) - ticks,
            Some(_) if self.mode == TimerMode::OneShot => 0,
            Some(beyond) => {
                let initial = u64::from(self.initial.max(1));
                initial - beyond % initial
            }
        };
        // At most an initial count, which has 32 bits.
        left as u32
    }

    /// Does what is due at `now_ns`; whether an interrupt is to be raised.
    pub(super) fn settle(&mut self, clock: &dyn Clock, now_ns: u64) -> bool {
        if self.mode == TimerMode::TscDeadline {
            let due = self.tsc_deadline != 0 && self.guest_tsc(clock, now_ns) >= self.tsc_deadline;
            if due {
                self.tsc_deadline = 0;
            }
            return due;
        }
        let Some(mut counting) = self.counting else { return false };
        let ticks = self.ticks_since(counting.from_ns, now_ns);
        let Some(beyond) = ticks.checked_sub(u64::from(counting.first)) else { return false };
        if self.mode == TimerMode::OneShot {
            self.counting = None;
            return true;
        }
        let reached = beyond / u64::from(self.initial.max(1)) + 1;
        if reached == counting.fired || now_ns < self.not_before_ns {
            return false;
        }
        counting.fired = reached;
        self.counting = Some(counting);
        self.not_before_ns = now_ns.saturating_add(MIN_PERIOD_NS);
        true
    }

    /// When [`ApicTimer::settle`] will next have something to do.
    pub(super) fn deadline_ns(&self, clock: &dyn Clock) -> Option<u64> {
        if self.mode == TimerMode::TscDeadline {
            if self.tsc_deadline == 0 {
                return None;
            }
            let now_ns = clock.now_ns();
            let ahead = self.tsc_deadline.saturating_sub(self.guest_tsc(clock, now_ns));
            return Some(clock.ns_at_tsc(clock.tsc_at(now_ns).saturating_add(ahead)));
        }
        let counting = self.counting?;
        let periods = counting.fired.saturating_mul(u64::from(self.initial));
        let ticks = u64::from(counting.first).saturating_add(periods);
        let undivided = ticks.saturating_mul(1 << self.divide_shift());
        let due = counting.from_ns.saturating_add(ticks_to_nanos(undivided, self.hz));
        Some(due.max(self.not_before_ns))
    }

    fn guest_tsc(&self, clock: &dyn Clock, now_ns: u64) -> u64 {
        clock.tsc_at(now_ns).wrapping_add_signed(self.tsc_offset)
    }

    /// Divided ticks from `from_ns` to `now_ns`.
    fn ticks_since(&self, from_ns: u64, now_ns: u64) -> u64 {
        nanos_to_ticks(now_ns.saturating_sub(from_ns), self.hz) >> self.divide_shift()
    }

    /// Divide configuration to a power of two: 0 is by 2, up to 6 by 128; 7 is by 1.
    fn divide_shift(&self) -> u32 {
        let bits = self.divide & 3 | self.divide >> 1 & 4;
        (bits + 1) & 7
    }

    fn rebase(&mut self, now_ns: u64) {
        let left = self.current(now_ns);
        if let Some(counting) = &mut self.counting
            && left != 0
        {
            *counting = Counting { from_ns: now_ns, first: left, fired: 0 };
        }
    }
}
