//! What rvmm says to people, on standard error. A closed standard error is no reason to fail.

use std::fmt::Display;
use std::io::{self, Write};

/// One line, marked as rvmm's own.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "rvmm: {line}");
}

/// Text as it is, with its line ends.
pub(crate) fn show(text: impl Display) {
    let _ = write!(io::stderr().lock(), "{text}");
}

/// Logging to standard error: `RVMM_LOG` or the number of `--verbose` decides how much.
pub(crate) fn start_log(verbose: u8) {
    let default = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("RVMM_LOG", default))
        .format(|buffer, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            writeln!(buffer, "rvmm: {level}: {}", record.args())
        })
        .init();
}
