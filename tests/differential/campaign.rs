//! Runs cases on both sides and reports what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use iced_x86::Code;

use crate::case::{Case, Shape};
use crate::catalogue::Catalogue;
use crate::compare::{self, differences};
use crate::guest::{Guest, Tier};
use crate::os::Native;
use crate::random::Random;
use crate::state::{Mode, Outcome, RSP, State, WINDOW_SIZE, WRITABLE};
use crate::values;

/// Reports printed in full, at most.
const REPORTS: usize = 40;

/// What to run.
pub(crate) struct Campaign {
    pub(crate) tier: Tier,
    pub(crate) mode: Mode,
    pub(crate) shape: Shape,
    pub(crate) seed: u64,
    pub(crate) first: u64,
    pub(crate) cases: u64,
    /// Only encodings whose names start so (several separated by commas).
    pub(crate) only: Option<String>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) ran: u64,
    pub(crate) skipped: u64,
    pub(crate) faults: u64,
    /// By encoding: how many cases differed, and the first report.
    pub(crate) failures: BTreeMap<String, (u64, String)>,
}

impl Campaign {
    /// A campaign as the environment asks for it: `RVMM_DIFF_SEED`, `RVMM_DIFF_CASES`, `RVMM_DIFF_CASE` (one only),
    /// `RVMM_DIFF_ONLY`.
    pub(crate) fn from_environment(tier: Tier, mode: Mode, shape: Shape, cases: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
        let one = number("RVMM_DIFF_CASE");
        Self {
            tier,
            mode,
            shape,
            seed: number("RVMM_DIFF_SEED").unwrap_or(1),
            first: one.unwrap_or(0),
            cases: if one.is_some() { 1 } else { number("RVMM_DIFF_CASES").unwrap_or(cases) },
            only: std::env::var("RVMM_DIFF_ONLY").ok(),
        }
    }

    /// Runs it; `None` on hosts that have nothing to compare with.
    pub(crate) fn run(&self) -> Option<Summary> {
        let mut native = Native::open()?;
        let mut guest = Guest::new(self.tier);
        let codes = Catalogue::new(self.mode, self.only.as_deref());
        assert!(!codes.all.is_empty(), "no encoding is called {:?}", self.only);
        let mut window = vec![0_u8; WINDOW_SIZE];
        let mut random = Random::new(self.seed);
        for part in window.chunks_exact_mut(8) {
            part.copy_from_slice(&values::integer(&mut random).to_le_bytes());
        }
        native.set_window(0, &window);
        guest.set_window(0, &window);
        let window = &window[..WRITABLE];
        let mut after = [vec![0_u8; WRITABLE], vec![0_u8; WRITABLE]];
        let mut summary = Summary::default();
        for number in self.first..self.first.saturating_add(self.cases) {
            let Some(case) = Case::generate(self.shape, &codes, self.seed, number) else {
                summary.skipped += 1;
                continue;
            };
            native.set_window(0, window);
            guest.set_window(0, window);
            for (offset, bytes) in &case.patches {
                native.set_window(*offset, bytes);
                guest.set_window(*offset, bytes);
            }
            let host = native.run(&case.program, &case.state);
            if compare::is_beyond(&host) {
                summary.skipped += 1;
                continue;
            }
            let engine = guest.run(&case.program, &case.state);
            native.window(&mut after[0]);
            guest.window(&mut after[1]);
            summary.ran += 1;
            summary.faults += u64::from(host.end != crate::state::End::Landed);
            let lines = differences(
                &case,
                &compare::Result { outcome: &host, window: &after[0] },
                &compare::Result { outcome: &engine, window: &after[1] },
            );
            if !lines.is_empty() {
                let key = self.key(&case, &host, &engine);
                let entry = summary.failures.entry(key).or_default();
                entry.0 += 1;
                if entry.1.is_empty() {
                    entry.1 = self.report(number, &case, &lines);
                }
            }
        }
        Some(summary)
    }

    fn key(&self, case: &Case, host: &Outcome, engine: &Outcome) -> String {
        let stopped = host.state.rip.min(engine.state.rip);
        let culprit = case.instructions.iter().find(|insn| insn.ip() == stopped);
        let insn = culprit.or(case.instructions.last());
        insn.map_or_else(String::new, |insn| format!("{:?}", insn.code()))
    }

    fn report(&self, number: u64, case: &Case, lines: &[String]) -> String {
        let mut text = format!("seed {} case {number}\n", self.seed);
        let bytes: String = case.program.bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
        let _ = writeln!(text, "  bytes {bytes}");
        for line in case.disassembly() {
            let _ = writeln!(text, "  {line}");
        }
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
        if self.cases == 1 {
            text += &describe(case);
        }
        let only = self.only.as_ref().map(|only| format!("RVMM_DIFF_ONLY={only} ")).unwrap_or_default();
        let test = match (self.mode, self.shape) {
            (Mode::Long, Shape::Single) => "single_instructions",
            (Mode::Long, Shape::Sequence) => "sequences",
            (Mode::Compatibility, Shape::Single) => "compatibility_instructions",
            (Mode::Compatibility, Shape::Sequence) => "compatibility_sequences",
        };
        let _ = writeln!(
            text,
            "  again: {only}RVMM_DIFF_SEED={} RVMM_DIFF_CASE={number} cargo test -p tests --test differential {test}",
            self.seed
        );
        text
    }
}

/// All of a case's state, for one that is looked at alone.
fn describe(case: &Case) -> String {
    let State { gpr, rflags, image, .. } = &case.state;
    let mut text = format!("  gpr {gpr:x?} (rsp {:x})\n  rflags {rflags:x}\n", gpr[RSP]);
    let _ = writeln!(
        text,
        "  x87 {:04x} {:04x} {:02x}, mxcsr {:x}",
        image.u16(0),
        image.u16(2),
        image.0[4],
        image.u32(24)
    );
    for i in 0..8 {
        let (sign_exponent, significand) = image.st(i);
        let _ = writeln!(text, "  st{i} {sign_exponent:04x}:{significand:016x}");
    }
    for i in 0..16 {
        let _ = writeln!(text, "  ymm{i} {:032x}:{:032x}", case.state.upper[i], image.xmm(i));
    }
    for (offset, bytes) in &case.patches {
        let _ = writeln!(text, "  memory +{offset:x}: {bytes:02x?}");
    }
    text
}

impl Summary {
    /// Fails with the reports if anything differed.
    pub(crate) fn check(&self) {
        let Self { ran, skipped, faults, failures } = self;
        println!("{ran} cases, {faults} of them fault; {skipped} were not possible");
        if failures.is_empty() {
            return;
        }
        let mut text = String::new();
        // One per mnemonic: what is wrong with one width is wrong with others.
        let mut told = BTreeSet::new();
        for (code, (_, report)) in failures {
            if told.len() < REPORTS && told.insert(code.trim_start_matches("VEX_").split('_').next()) {
                text += report;
            }
        }
        let total: u64 = failures.values().map(|(count, _)| count).sum();
        let _ = writeln!(text, "{total} of {ran} cases differ, in {} encodings:", failures.len());
        for (code, (count, _)) in failures {
            let _ = write!(text, " {code}:{count}");
        }
        panic!("{text}");
    }
}

/// Encodings that no case could be made for.
pub(crate) fn unreached(mode: Mode, cases_each: u64) -> Vec<Code> {
    let codes = Catalogue::new(mode, None);
    let all = codes.all.len() as u64;
    let mut reached = vec![false; codes.all.len()];
    for number in 0..all * cases_each {
        if Case::generate(Shape::Single, &codes, 7, number).is_some() {
            reached[(number % all) as usize] = true;
        }
    }
    codes.all.iter().zip(reached).filter(|(_, reached)| !reached).map(|(&code, _)| code).collect()
}
