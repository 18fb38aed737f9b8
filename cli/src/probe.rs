//! `rvmm probe`: open questions about the framework, answered by the engine at hand.

use std::io::{self, Write};

use vmm::config::EngineChoice;
use vmm::{engine, error_chain};

use crate::exit_code;
use crate::voice::say;

/// Prints the answers.
pub(crate) fn run(choice: EngineChoice) -> u8 {
    let engine = match engine::select(choice) {
        Ok(engine) => engine,
        Err(error) => {
            say(format_args!("--engine: {}", error_chain(&error)));
            return exit_code::NO_ENGINE;
        }
    };
    say(format_args!("asking engine {}; this takes some seconds", engine.name));
    let answers = engine::probe(&engine);
    // A reader that went away has seen what it wanted.
    let _ = io::stdout().lock().write_all(answers.as_bytes());
    exit_code::SUCCESS
}
