use devices::time::{ManualClock, NANOS_PER_SECOND};

use super::super::counting_vm::CountingVm;
use super::*;

fn turns(count: usize) -> (Turns, Arc<MachineClock>) {
    let clock = Arc::new(MachineClock::Counted(ManualClock::new(NANOS_PER_SECOND)));
    let bells = (0..count).map(|_| Arc::new(Doorbell::new(Arc::new(CountingVm::default())))).collect();
    (Turns::new(clock.clone(), bells), clock)
}

fn holder(turns: &Turns) -> usize {
    (0..turns.bells.len()).find(|at| turns.holds(*at)).unwrap()
}

/// The holder runs this many instructions.
fn run(turns: &Turns, instructions: u64) {
    let at = holder(turns);
    turns.begin(at);
    turns.ran(instructions);
    turns.end_step(at);
}

fn rest(turns: &Turns, until: Option<u64>, devices: Option<u64>) -> Rest {
    let at = holder(turns);
    turns.begin(at);
    turns.rest(at, until, until.is_none(), devices)
}

#[test]
fn slices_go_round_and_time_is_what_was_executed() {
    let (turns, clock) = turns(3);
    for expected in [0, 1, 2, 0] {
        assert_eq!(holder(&turns), expected);
        assert_eq!(turns.left(), SLICE);
        run(&turns, SLICE - 1);
        assert_eq!((holder(&turns), turns.left()), (expected, 1));
        run(&turns, 1);
    }
    assert_eq!(clock.now_ns(), 4 * SLICE);
}

#[test]
fn a_vcpu_that_waits_is_passed_over_until_its_time() {
    let (turns, clock) = turns(2);
    assert_eq!(rest(&turns, Some(SLICE + 10), None), Rest::Again);
    assert_eq!(holder(&turns), 1);
    run(&turns, SLICE);
    assert_eq!((holder(&turns), turns.left()), (1, 10), "bounded by the other's timer");
    run(&turns, 10);
    assert_eq!(holder(&turns), 0);
    assert_eq!(clock.now_ns(), SLICE + 10);
}

#[test]
fn time_jumps_to_what_is_due_first_when_all_wait() {
    let (turns, clock) = turns(2);
    assert_eq!(rest(&turns, Some(7_000), None), Rest::Again);
    assert_eq!(rest(&turns, Some(9_000), Some(8_000)), Rest::Again);
    assert_eq!((holder(&turns), clock.now_ns()), (0, 7_000));
    // Its timer was for nothing; now the devices are first.
    assert_eq!(rest(&turns, None, Some(8_000)), Rest::Again);
    assert_eq!(clock.now_ns(), 8_000);
    assert_eq!(holder(&turns), 0, "who jumped serves the devices");
}

#[test]
fn news_ends_the_slice_of_who_sent_them_and_wakes_who_waits() {
    let (turns, _) = turns(2);
    assert_eq!(rest(&turns, None, None), Rest::Again);
    assert_eq!(holder(&turns), 1);
    turns.begin(1);
    turns.ran(5);
    turns.news(0);
    turns.end_step(1);
    assert_eq!(holder(&turns), 0);
    turns.begin(0);
    turns.news(0);
    assert_eq!(turns.rest(0, None, true, None), Rest::Again, "came while it looked");
    assert_eq!(holder(&turns), 0);
}

#[test]
fn when_nothing_is_due_somebody_outside_must_act() {
    let (turns, clock) = turns(2);
    assert_eq!(rest(&turns, None, None), Rest::Again);
    assert_eq!(rest(&turns, None, None), Rest::ForGood);
    turns.begin(1);
    assert_eq!(turns.rest(1, None, false, None), Rest::Outside);
    let bell = turns.bells[1].clone();
    bell.answer();
    turns.news(0);
    assert!(bell.is_rung(), "the holder passes the turn");
    assert_eq!(rest(&turns, None, None), Rest::Again);
    assert_eq!((holder(&turns), clock.now_ns()), (0, 0));
}
