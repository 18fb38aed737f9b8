//! The terminal in raw mode, and back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{self, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

/// A terminal whose input comes key by key. Dropping it restores the terminal.
///
/// Output processing stays as it was, so that lines written by the VMM itself look right; Ctrl-C and its like go to the guest.
#[derive(Debug)]
pub struct RawTerminal {
    original: Mutex<Option<Termios>>,
    raw: Termios,
}

impl RawTerminal {
    /// Puts standard input into raw mode. `None` if it is no terminal, or one that belongs to another job (the process runs in
    /// the background and must not touch it).
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !is_ours(stdin.as_fd()) {
            return Ok(None);
        }
        let original = termios::tcgetattr(&stdin)?;
        let mut raw = original.clone();
        raw.input_modes -= InputModes::IGNBRK
            | InputModes::BRKINT
            | InputModes::PARMRK
            | InputModes::ISTRIP
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::ICRNL
            | InputModes::IXON;
        raw.local_modes -=
            LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self { original: Mutex::new(Some(original)), raw }))
    }

    /// Restores the terminal, now and for good. Twice is fine.
    pub fn restore(&self) {
        let original = self.original.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(original) = original {
            // Nobody is left to tell.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &original);
        }
    }

    /// Restores the terminal while the process is stopped.
    pub fn suspend(&self) {
        if let Some(original) = &*self.original.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, original);
        }
    }

    /// Raw again after [`Self::suspend`], if the terminal is the process's again.
    pub fn resume(&self) {
        let active = self.original.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let stdin = io::stdin();
        if active && is_ours(stdin.as_fd()) {
            let _ = termios::tcsetattr(&stdin, OptionalActions::Now, &self.raw);
        }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.restore();
    }
}

/// A terminal, and this process is in its foreground job. Touching another job's terminal stops the process.
fn is_ours(fd: BorrowedFd<'_>) -> bool {
    termios::isatty(fd) && termios::tcgetpgrp(fd).is_ok_and(|group| group == rustix::process::getpgrp())
}
