use std::collections::BTreeSet;

use vmm::{RegisterDump, Report};

use super::*;

fn code(reason: StopReason, expecting: bool) -> u8 {
    of_outcome(&Outcome { reason, report: Report::default() }, expecting)
}

#[test]
fn causes_have_codes_of_their_own() {
    let reasons = [
        StopReason::PowerOff,
        StopReason::Reset,
        StopReason::TripleFault { cpu: 0, registers: Box::new(RegisterDump::default()) },
        StopReason::GuestFault { cpu: 0, what: String::new(), registers: Box::new(RegisterDump::default()) },
        StopReason::Panic,
        StopReason::Halted,
        StopReason::DebugExit { code: 1 },
        StopReason::Timeout,
        StopReason::Signal { number: 15 },
        StopReason::ConsoleClosed,
        StopReason::Error { message: String::new() },
    ];
    let codes: BTreeSet<u8> = reasons.iter().map(|reason| code(reason.clone(), false)).collect();
    assert_eq!(codes.len(), reasons.len());
}

#[test]
fn with_an_expectation_only_the_pattern_is_success() {
    assert_eq!(code(StopReason::ExpectMatched, true), SUCCESS);
    for reason in [StopReason::PowerOff, StopReason::Quit, StopReason::DebugExit { code: 0 }] {
        assert_eq!(code(reason.clone(), true), NOT_SEEN);
        assert_eq!(code(reason, false), SUCCESS);
    }
}

#[test]
fn debug_exit_codes_stay_in_their_range() {
    for (written, expected) in [(0, 0), (1, 65), (55, 119), (56, 119), (255, 119), (u32::MAX, 119)] {
        assert_eq!(debug_exit(written), expected, "{written}");
    }
}

#[test]
fn every_code_is_in_the_help() {
    for code in [
        SUCCESS,
        FAILURE,
        USAGE,
        UNREADABLE,
        UNUSABLE,
        DOES_NOT_FIT,
        SERIAL,
        NO_ENGINE,
        PANIC,
        TRIPLE_FAULT,
        RESET,
        HALTED,
        NOT_SEEN,
        GUEST_FAULT,
        TIMEOUT,
        CONSOLE_CLOSED,
    ] {
        let listed =
            TABLE.lines().any(|line| line.trim_start().split("  ").next() == Some(&code.to_string()));
        assert!(listed, "{code}");
    }
}
