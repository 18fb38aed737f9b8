//! The boot report, gathered.

use std::collections::BTreeMap;
use std::time::Instant;

use devices::bus::Direction;

use super::Machine;
use crate::memory::Resident;
use crate::report::{ExitCount, Phase, Report, UnknownAccess, micros};

/// When things happened.
pub(super) struct Timeline {
    started: Instant,
    read_at: Instant,
    placed_at: Instant,
    pub(super) run_at: Option<Instant>,
    pub(super) init_at: Option<Instant>,
    pub(super) panic_at: Option<Instant>,
    pub(super) ended_at: Option<Instant>,
    pub(super) resident: Option<Resident>,
    pub(super) resets: u64,
}

impl Timeline {
    pub(super) fn new(started: Instant, read_at: Instant, placed_at: Instant) -> Self {
        Self {
            started,
            read_at,
            placed_at,
            run_at: None,
            init_at: None,
            panic_at: None,
            ended_at: None,
            resident: None,
            resets: 0,
        }
    }
}

impl Machine {
    pub(super) fn report(&self) -> Report {
        let timeline = &self.timeline;
        let (console_bytes, console_bytes_dropped) = self.consoles.counts();
        let mut phases: Vec<_> = [
            ("load", Some(timeline.read_at)),
            ("unpack", Some(timeline.placed_at)),
            ("first_instruction", self.platform.first_entry_at()),
            ("first_console_byte", self.consoles.first_byte()),
            ("init", timeline.init_at),
            ("panic", timeline.panic_at),
            ("end", timeline.ended_at),
        ]
        .into_iter()
        .filter_map(|(name, at)| Some(Phase { name, at_us: micros(at?.duration_since(timeline.started)) }))
        .collect();
        phases.sort_by_key(|phase| phase.at_us);
        let cache_bytes: u64 = self.counters.iter().map(|counters| counters.cache_bytes()).sum();
        let instructions: u64 = self.counters.iter().map(|counters| counters.instructions()).sum();
        Report {
            engine: self.engine_name.to_owned(),
            cpus: self.config.cpus,
            memory_bytes: self.config.memory_bytes,
            phases,
            exits: self.exits(),
            guest_instructions: (instructions > 0).then_some(instructions),
            resets: timeline.resets,
            panicked: timeline.panic_at.is_some(),
            unknown_accesses: self.unknown_accesses(),
            console_bytes,
            console_bytes_dropped,
            engine_cache_bytes: (cache_bytes > 0).then_some(cache_bytes),
            resident: timeline.resident,
        }
    }

    fn exits(&self) -> Vec<ExitCount> {
        let mut by_reason: BTreeMap<String, u64> = BTreeMap::new();
        for (reason, count) in self.counters.iter().flat_map(|counters| counters.list()) {
            *by_reason.entry(reason.to_string()).or_default() += count;
        }
        let mut exits: Vec<_> =
            by_reason.into_iter().map(|(reason, count)| ExitCount { reason, count }).collect();
        exits.sort_by_key(|exit| std::cmp::Reverse(exit.count));
        exits
    }

    fn unknown_accesses(&self) -> Vec<UnknownAccess> {
        let buses = [("port", self.platform.ports.unclaimed()), ("mmio", self.platform.mmio.unclaimed())];
        let on_buses = buses.into_iter().flat_map(|(space, report)| {
            report.accesses.into_iter().map(move |access| UnknownAccess {
                space,
                address: access.address,
                write: access.direction == Direction::Write,
                count: access.count,
            })
        });
        let msrs = self.platform.unknown_msrs.list().into_iter().map(|(msr, write, count)| UnknownAccess {
            space: "msr",
            address: msr.into(),
            write,
            count,
        });
        on_buses.chain(msrs).collect()
    }
}
