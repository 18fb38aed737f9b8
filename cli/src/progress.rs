//! How far an operation on a disk is, told on the terminal.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use vmm::disk::Progress;

use crate::signals::Stop;
use crate::voice;

/// What is done sooner is not worth a line.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two changes of the line.
const PAUSE: Duration = Duration::from_millis(100);

/// A line on standard error, once the operation takes long, if that is a terminal.
pub(crate) struct Shown<'a> {
    stop: &'a Stop,
    since: Instant,
    /// When the line is due to change.
    next: Instant,
    is_shown: bool,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(stop: &'a Stop) -> Self {
        let since = Instant::now();
        Self { stop, since, next: since + PATIENCE, is_shown: false }
    }
}

impl Progress for Shown<'_> {
    fn advanced(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        if self.stop.signal().is_some() {
            return ControlFlow::Break(());
        }
        let now = Instant::now();
        if now >= self.next && io::stderr().is_terminal() {
            self.next = now + PAUSE;
            self.is_shown = true;
            voice::show(format_args!("\r{}\x1b[K", line(done, total, now - self.since)));
        }
        ControlFlow::Continue(())
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if self.is_shown {
            voice::show("\r\x1b[K");
        }
    }
}

/// `done` of `total` bytes after `elapsed`.
fn line(done: u64, total: u64, elapsed: Duration) -> String {
    let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(100);
    let left = u128::from(total.saturating_sub(done)) * elapsed.as_millis();
    let left =
        left.checked_div(u128::from(done) * 1000).map_or(String::new(), |left| format!(", {left} s left"));
    let mebibytes = |bytes: u64| bytes >> 20;
    format!("{percent} %, {} of {} MiB{left}", mebibytes(done), mebibytes(total))
}

#[cfg(test)]
#[path = "progress_test.rs"]
mod progress_test;
