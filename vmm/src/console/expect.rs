//! Waiting for a pattern in a stream.

use regex::bytes::{Regex, RegexBuilder};

use crate::config::ConfigError;

/// A match spans at most this many bytes.
const MAX_MATCH: usize = 16 << 10;

/// The window is cut back to [`MAX_MATCH`] when it gets this long.
const MAX_WINDOW: usize = 4 * MAX_MATCH;

/// Memory the compiled pattern may take; what is larger is refused.
const MAX_PROGRAM: usize = 4 << 20;

/// A regular expression for console output, which is bytes: classes such as `\w` are ASCII, `.` is a byte. `^` and `$` match at lines, which may end in CR LF, and `$` also where the output
/// ends so far, so that a prompt can be waited for.
#[derive(Debug, Clone)]
pub struct ExpectPattern(Regex);

impl ExpectPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`ConfigError::Expect`] with the parser's reason, on one line.
    pub fn new(pattern: &str) -> Result<Self, ConfigError> {
        RegexBuilder::new(pattern)
            .unicode(false)
            .multi_line(true)
            .crlf(true)
            .size_limit(MAX_PROGRAM)
            .build()
            .map(Self)
            .map_err(|error| ConfigError::Expect { reason: one_line(&error.to_string()) })
    }
}

/// The parser points at the place on lines of their own; the last line is the reason.
fn one_line(message: &str) -> String {
    let last = message.lines().last().unwrap_or(message);
    last.trim().trim_start_matches("error: ").to_owned()
}

/// Looks for an [`ExpectPattern`] in output as it comes, whatever the chunks.
#[derive(Debug)]
pub(crate) struct Matcher {
    pattern: Regex,
    window: Vec<u8>,
    /// The first byte of the window is only there to tell what comes before the second.
    cut: bool,
}

impl Matcher {
    pub(crate) fn new(pattern: ExpectPattern) -> Self {
        Self { pattern: pattern.0, window: Vec::new(), cut: false }
    }

    /// Takes more output. True once the pattern has been seen.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> bool {
        // A chunk larger than the window goes in piece by piece, so that nothing is skipped.
        bytes.chunks(MAX_WINDOW - MAX_MATCH).any(|chunk| self.feed_chunk(chunk))
    }

    fn feed_chunk(&mut self, bytes: &[u8]) -> bool {
        self.window.extend_from_slice(bytes);
        if self.pattern.is_match_at(&self.window, usize::from(self.cut)) {
            return true;
        }
        if self.window.len() > MAX_WINDOW {
            let surplus = self.window.len() - (MAX_MATCH + 1);
            self.window.drain(..surplus);
            self.cut = true;
        }
        false
    }
}

#[cfg(test)]
#[path = "expect_test.rs"]
mod expect_test;
