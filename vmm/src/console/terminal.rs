//! The terminal in raw mode, and back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard};

use rustix::termios::{self, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

/// Standard input, if it is a terminal: raw while a guest is attached, then as it was.
///
/// Output processing stays as it was, so that lines written by the VMM itself look right; Ctrl-C and its like go to the guest.
/// Shared with whoever must restore the terminal when things go wrong. Dropping the last reference restores it too.
#[derive(Debug, Default)]
pub struct Terminal {
    modes: Mutex<Option<Modes>>,
}

#[derive(Debug)]
struct Modes {
    original: Termios,
    raw: Termios,
}

impl Terminal {
    /// A terminal left as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Columns and rows, while attached, as far as the terminal knows them.
    pub fn size(&self) -> Option<(u16, u16)> {
        let size = termios::tcgetwinsize(io::stdin()).ok().filter(|_| self.is_attached())?;
        (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }

    /// Makes standard input raw. False if it is no terminal, or one that belongs to another job: a process in the background
    /// must not touch it.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn enter(&self) -> io::Result<bool> {
        let stdin = io::stdin();
        if !is_ours(stdin.as_fd()) {
            return Ok(false);
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
        raw.local_modes -= LocalModes::ECHO
            | LocalModes::ECHONL
            | LocalModes::ICANON
            | LocalModes::ISIG
            | LocalModes::IEXTEN;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        let mut modes = self.lock();
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        *modes = Some(Modes { original, raw });
        Ok(true)
    }

    /// Is it raw, or about to be again after [`Self::suspend`]?
    pub fn is_attached(&self) -> bool {
        self.lock().is_some()
    }

    /// Restores the terminal for good. Twice is fine.
    pub fn restore(&self) {
        if let Some(modes) = self.lock().take() {
            // Nobody is left to tell.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &modes.original);
        }
    }

    /// Restores the terminal while the process is stopped.
    pub fn suspend(&self) {
        if let Some(modes) = &*self.lock() {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &modes.original);
        }
    }

    /// Raw again after [`Self::suspend`], if the terminal is the process's again.
    pub fn resume(&self) {
        let modes = self.lock();
        let stdin = io::stdin();
        if let Some(modes) = &*modes
            && is_ours(stdin.as_fd())
        {
            let _ = termios::tcsetattr(&stdin, OptionalActions::Now, &modes.raw);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Modes>> {
        crate::lock(&self.modes)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}

/// May standard input be read? Not from a terminal that belongs to another job: reading it would stop the process.
pub(super) fn may_read(fd: BorrowedFd<'_>) -> bool {
    !termios::isatty(fd) || is_ours(fd)
}

/// A terminal, and this process is in its foreground job. Touching another job's terminal stops the process.
fn is_ours(fd: BorrowedFd<'_>) -> bool {
    termios::isatty(fd) && termios::tcgetpgrp(fd).is_ok_and(|group| group == rustix::process::getpgrp())
}
