//! Exit codes, by cause.

use vmm::{Cause, Outcome, StopReason};

/// Powered off, quit, or the expected pattern was seen.
pub(crate) const SUCCESS: u8 = 0;
/// Any other failure.
pub(crate) const FAILURE: u8 = 1;
/// A flag or its value is wrong. The command-line parser uses it too.
pub(crate) const USAGE: u8 = 2;
pub(crate) const UNREADABLE: u8 = 3;
const UNUSABLE: u8 = 4;
const DOES_NOT_FIT: u8 = 5;
const SERIAL: u8 = 6;
pub(crate) const NO_ENGINE: u8 = 7;
const DEVICE: u8 = 8;
const PANIC: u8 = 20;
const TRIPLE_FAULT: u8 = 21;
const RESET: u8 = 22;
const HALTED: u8 = 23;
const NOT_SEEN: u8 = 24;
const GUEST_FAULT: u8 = 25;
/// The first of those for the debug-exit port.
const DEBUG_EXIT: u8 = 64;
/// As timeout(1) has it.
const TIMEOUT: u8 = 124;
/// A shell's way to tell of signals: this and the signal's number.
const SIGNAL: u8 = 128;
/// As if the process had died of SIGPIPE (13).
const CONSOLE_CLOSED: u8 = SIGNAL + 13;

/// For `--help`.
pub(crate) const TABLE: &str = "Exit codes:
    0  the guest powered off, or --expect matched, or Ctrl-A x
    1  any other failure of rvmm or its host
    2  a flag or its value is wrong
    3  the kernel or initramfs file cannot be read
    4  the kernel or initramfs file is not one, is damaged, or is for another machine
    5  kernel, initramfs or command line do not fit
    6  the serial back end cannot be opened
    7  the engine is not available
    8  a disk, network, share or socket cannot be opened
   20  the guest's kernel panicked
   21  triple fault
   22  the guest rebooted (--on-reboot exit)
   23  the guest halted with interrupts off: nothing can wake it
   24  the guest ended, or Ctrl-A x, before --expect matched
   25  the guest did what cannot be carried out, such as jumping out of its memory
   64..119  the guest wrote N to the debug-exit port: 64 + N, at most 119; 0 for N = 0
  124  --timeout
  128+N  ended by signal N
  141  nobody reads standard output any more";

/// For a machine that could not be made.
pub(crate) fn of_cause(cause: Cause) -> u8 {
    match cause {
        Cause::Config => USAGE,
        Cause::Unreadable => UNREADABLE,
        Cause::Unusable => UNUSABLE,
        Cause::DoesNotFit => DOES_NOT_FIT,
        Cause::Serial => SERIAL,
        Cause::Device => DEVICE,
        Cause::NoEngine | Cause::NotEntitled => NO_ENGINE,
        Cause::Other => FAILURE,
    }
}

/// For a run that ended. With `expecting`, only the pattern is a success.
pub(crate) fn of_outcome(outcome: &Outcome, expecting: bool) -> u8 {
    match &outcome.reason {
        StopReason::ExpectMatched => SUCCESS,
        StopReason::PowerOff | StopReason::Quit if expecting => NOT_SEEN,
        StopReason::PowerOff | StopReason::Quit => SUCCESS,
        StopReason::Panic => PANIC,
        StopReason::TripleFault { .. } => TRIPLE_FAULT,
        StopReason::Reset => RESET,
        StopReason::Halted => HALTED,
        StopReason::GuestFault { .. } => GUEST_FAULT,
        StopReason::DebugExit { code: 0 } if expecting => NOT_SEEN,
        StopReason::DebugExit { code } => debug_exit(*code),
        StopReason::Timeout => TIMEOUT,
        StopReason::Signal { number } => {
            u8::try_from(*number).ok().and_then(|number| SIGNAL.checked_add(number)).unwrap_or(FAILURE)
        }
        StopReason::ConsoleClosed => CONSOLE_CLOSED,
        StopReason::Error { .. } => FAILURE,
    }
}

fn debug_exit(code: u32) -> u8 {
    const LAST: u8 = 119;
    match u8::try_from(code) {
        Ok(0) => SUCCESS,
        Ok(code) => DEBUG_EXIT.saturating_add(code).min(LAST),
        Err(_) => LAST,
    }
}

#[cfg(test)]
#[path = "exit_code_test.rs"]
mod exit_code_test;
