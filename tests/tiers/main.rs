//! The engine's tiers against each other: random programs with random flags, faults and interrupts, interpreted and
//! translated; registers, counts and memory are compared wherever the translated run was stopped, which may be after
//! any instruction. A program is reproducible by seed and number.
//!
//! | variable | meaning |
//! |---|---|
//! | `RVMM_TIERS_SEED` | the seed, 1 if not given |
//! | `RVMM_TIERS_PROGRAMS` | how many programs |
//! | `RVMM_TIERS_PROGRAM` | this program only |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests

mod crossing;
mod flags;
mod generate;
mod machine;

use engine::{Exit, Reason, Sequence};

use flags::Undefined;
use generate::program;
use machine::{CODE_SIZE, Machine};

/// Programs in a run of all tests.
const PROGRAMS: u64 = 1_500;
/// Stops of a program.
const STOPS: u64 = 60;
/// Instructions between stops at most.
const STRIDE: u64 = 300;

/// What was done.
#[derive(Debug, Default)]
struct Tally {
    programs: u64,
    /// Ended by a triple fault.
    shutdowns: u64,
    stops: u64,
    /// Stops that compared nothing: what ran before depends on undefined flags.
    void: u64,
    injected: u64,
    instructions: u64,
    /// Stops at an instruction that leaves the guest.
    exits: u64,
}

fn below(random: &mut Sequence, bound: u64) -> u64 {
    random.next_u64() % bound
}

/// Steps the interpreter to a count; `None` if it came to an instruction that uses undefined flags.
fn step(interpreter: &mut Machine, count: u64, undefined: &mut Undefined) -> Option<Exit> {
    loop {
        let before = interpreter.count();
        if before < count && !undefined.step(interpreter) {
            return None;
        }
        let exit = interpreter.engine.run_to(count.min(before + 1));
        if exit.reason != Reason::Deadline || interpreter.count() >= count {
            return Some(exit);
        }
    }
}

/// The count to run to so that the other tier does the same.
fn same(exit: &Exit, count: u64) -> u64 {
    // What exits is not counted, but must be tried.
    count + u64::from(exit.reason != Reason::Deadline)
}

/// Runs both; the exits, or `None` if the translated run used undefined flags and has now been made like the other.
fn run_both(
    translated: &mut Machine,
    interpreted: &mut Machine,
    random: &mut Sequence,
    undefined: &mut Undefined,
) -> Option<(Exit, Exit)> {
    let count = translated.count();
    if below(random, 2) == 0 {
        // To the end of a block.
        let exit = translated.engine.run_about(count + 1 + below(random, STRIDE / 4), u64::MAX);
        let Some(other) = step(interpreted, same(&exit, translated.count()), undefined) else {
            translated.become_like(interpreted);
            return None;
        };
        return Some((exit, other));
    }
    // After exactly so many instructions, or before one that uses undefined flags.
    let other = step(interpreted, count + 1 + below(random, STRIDE), undefined)
        .unwrap_or_else(|| interpreted.engine.run_to(0));
    let exit = translated.engine.run_to(same(&other, interpreted.count()));
    Some((exit, other))
}

/// One program in both tiers.
fn run(seed: u64, number: u64, tally: &mut Tally) {
    let mut random = Sequence::new(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let code = program(&mut random, CODE_SIZE);
    let user = below(&mut random, 2) == 0;
    let start = random.next_u64();
    // Interpreted a few times, code is translated along the paths that it took.
    let threshold = (start >> 32) as u32 & 3;
    let mut translated = Machine::new(true, user, start, threshold, &code);
    let mut interpreted = Machine::new(false, user, start, threshold, &code);
    let mut undefined = Undefined::default();
    tally.programs += 1;
    for stop in 0..STOPS {
        let count = translated.count();
        tally.stops += 1;
        let Some((exit, other)) = run_both(&mut translated, &mut interpreted, &mut random, &mut undefined)
        else {
            tally.void += 1;
            undefined.clear();
            let act = random.next_u64();
            for machine in [&mut translated, &mut interpreted] {
                // Executes nothing, but delivers what was injected.
                let nothing = machine.engine.run_to(0);
                machine.go_on(&nothing, act);
            }
            continue;
        };
        tally.instructions += translated.count() - count;
        let place = format!("seed {seed} program {number} stop {stop}, from instruction {count}");
        let (one, two) = (translated.engine.cpu.snapshot(), interpreted.engine.cpu.snapshot());
        assert_eq!(exit, other, "{place}{}", one.differences(&two));
        let (flags, others) = (translated.engine.cpu.rflags(), interpreted.engine.cpu.rflags());
        assert_eq!((flags ^ others) & !undefined.mask(), 0, "{place}{}", one.differences(&two));
        interpreted.engine.cpu.set_rflags(flags);
        undefined.clear();
        let two = interpreted.engine.cpu.snapshot();
        assert!(one == two, "{place}{}", one.differences(&two));
        if stop % 8 == 7 || stop + 1 == STOPS {
            assert!(translated.memory() == interpreted.memory(), "{place}: memory");
        }
        if exit.reason == Reason::TripleFault {
            tally.shutdowns += 1;
            return;
        }
        tally.exits += u64::from(exit.reason != Reason::Deadline);
        let act = random.next_u64();
        for machine in [&mut translated, &mut interpreted] {
            machine.go_on(&exit, act);
        }
        tally.injected += u64::from(translated.engine.cpu.has_injected_event());
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn translated_programs_do_what_interpreted_ones_do_whenever_they_are_interrupted() {
    let seed = number("RVMM_TIERS_SEED").unwrap_or(1);
    let programs = match number("RVMM_TIERS_PROGRAM") {
        Some(one) => one..one + 1,
        None => 0..number("RVMM_TIERS_PROGRAMS").unwrap_or(PROGRAMS),
    };
    let one = programs.end - programs.start == 1;
    let mut tally = Tally::default();
    for program in programs {
        run(seed, program, &mut tally);
    }
    println!("{tally:?}");
    assert!(one || tally.void * 3 < tally.stops, "most stops compare nothing: {tally:?}");
    assert!(one || tally.injected * 8 > tally.stops, "interrupts are rare: {tally:?}");
    assert!(one || tally.instructions > 20 * tally.stops, "programs do little: {tally:?}");
}
