//! What the parent process decided about signals.
#![allow(unsafe_code)] // sigaction has no safe wrapper that only asks

use std::mem::MaybeUninit;

/// Does the process ignore `signal` since its start? `nohup` has it so for SIGHUP, shells without job control for SIGINT.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call only fills in the old one, for which there is room.
    let answer = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    if answer != 0 {
        return false;
    }
    // SAFETY: the call succeeded, so it has filled in the structure.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_IGN
}
