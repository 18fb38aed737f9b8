//! The engine against the host's own CPU: the same bytes from the same state, natively and in the engine; registers,
//! flags, memory and faults are compared. Every case is reproducible by seed and number.
//!
//! | variable | meaning |
//! |---|---|
//! | `RVMM_DIFF_SEED` | the seed, 1 if not given |
//! | `RVMM_DIFF_CASES` | how many cases each test runs |
//! | `RVMM_DIFF_CASE` | this case only, with all of its state |
//! | `RVMM_DIFF_ONLY` | only encodings whose names start so, separated by commas |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests

mod campaign;
mod case;
mod catalogue;
mod compare;
mod encode;
mod guest;
mod known;
mod os;
mod place;
mod random;
mod registers;
mod state;
mod values;

use campaign::{Campaign, unreached};
use case::Shape;
use guest::Tier;
use state::Mode;

/// Runs a campaign where there is a host to compare with.
fn run(mode: Mode, shape: Shape, cases: u64) {
    run_in(Tier::Interpreter, mode, shape, cases);
}

fn run_in(tier: Tier, mode: Mode, shape: Shape, cases: u64) {
    match Campaign::from_environment(tier, mode, shape, cases).run() {
        Some(summary) => summary.check(),
        None => println!("this host cannot run the guest's instructions: nothing was compared"),
    }
}

#[test]
fn single_instructions() {
    run(Mode::Long, Shape::Single, 300_000);
}

#[test]
fn sequences() {
    run(Mode::Long, Shape::Sequence, 150_000);
}

#[test]
fn translated_instructions() {
    run_in(Tier::Translator, Mode::Long, Shape::Single, 300_000);
}

#[test]
fn translated_sequences() {
    run_in(Tier::Translator, Mode::Long, Shape::Sequence, 150_000);
}

#[test]
fn compiled_instructions() {
    run_in(Tier::Portable, Mode::Long, Shape::Single, 20_000);
}

#[test]
fn compiled_sequences() {
    run_in(Tier::Portable, Mode::Long, Shape::Sequence, 6_000);
}

#[test]
fn compatibility_instructions() {
    run(Mode::Compatibility, Shape::Single, 150_000);
}

#[test]
fn compatibility_sequences() {
    run(Mode::Compatibility, Shape::Sequence, 75_000);
}

#[test]
fn every_encoding_is_reached() {
    assert_eq!(unreached(Mode::Long, 8), []);
    assert_eq!(unreached(Mode::Compatibility, 8), []);
}

#[test]
#[ignore = "takes minutes; RVMM_DIFF_SEED and RVMM_DIFF_CASES choose what runs"]
fn millions() {
    for mode in [Mode::Long, Mode::Compatibility] {
        run(mode, Shape::Single, 5_000_000);
        run(mode, Shape::Sequence, 2_000_000);
        run_in(Tier::Translator, mode, Shape::Single, 5_000_000);
        run_in(Tier::Translator, mode, Shape::Sequence, 2_000_000);
        run_in(Tier::Portable, mode, Shape::Single, 500_000);
        run_in(Tier::Portable, mode, Shape::Sequence, 200_000);
    }
}
