//! What the kernel's own lines tell about the boot.

/// Longest line looked at; the rest of a longer one is skipped.
const MAX_LINE: usize = 256;

/// Something worth a time stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// The kernel starts the first process.
    Init,
    /// The kernel panics; more lines follow.
    PanicBegins,
    /// The panic's last line.
    PanicEnds,
}

/// Reads console output line by line. Only lines that begin as kernel messages do count, so that a program's output that merely
/// mentions a panic does not.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    line: Vec<u8>,
}

impl LineReader {
    /// Takes more output; what its finished lines tell.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Milestone> {
        let mut found = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                found.extend(judge(&self.line));
                self.line.clear();
            } else if self.line.len() < MAX_LINE {
                self.line.push(byte);
            }
        }
        found
    }
}

/// What a line tells.
fn judge(line: &[u8]) -> Option<Milestone> {
    let line = String::from_utf8_lossy(line);
    let message = without_stamp(line.trim_end_matches('\r'));
    if message.starts_with("Kernel panic - not syncing") {
        Some(Milestone::PanicBegins)
    } else if message.starts_with("---[ end Kernel panic - not syncing") {
        Some(Milestone::PanicEnds)
    } else if message.starts_with("Run /") && message.ends_with(" as init process") {
        Some(Milestone::Init)
    } else {
        None
    }
}

/// A kernel line without its time `[    1.234567]` and its caller `[    T1]`, if it has them.
fn without_stamp(line: &str) -> &str {
    let mut rest = line;
    while let Some(inner) = rest.strip_prefix('[') {
        match inner.split_once(']') {
            Some((stamp, after)) if is_stamp(stamp) => rest = after.strip_prefix(' ').unwrap_or(after),
            _ => break,
        }
    }
    rest
}

/// Seconds with microseconds, or a letter and a number (task or CPU).
fn is_stamp(stamp: &str) -> bool {
    let stamp = stamp.trim_start();
    let digits = stamp.strip_prefix(['T', 'C']).unwrap_or(stamp);
    !digits.is_empty() && digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
}

#[cfg(test)]
#[path = "milestones_test.rs"]
mod milestones_test;
