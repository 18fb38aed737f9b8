//! The `rvmm` command line.

mod args;
mod boot;
mod cache_folder;
mod descriptors;
mod disk;
mod doctor;
mod exit_code;
mod inherited;
mod machine_config;
mod os;
mod probe;
mod progress;
mod signals;
mod summary;
mod values;
mod voice;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};

fn main() -> ExitCode {
    os::return_large_allocations();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, usage errors to standard error; either may be closed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE));
        }
    };
    voice::start_log(cli.verbose);
    ExitCode::from(match cli.command {
        Command::Boot(arguments) => boot::run(&arguments),
        Command::Disk { command } => disk::run(command),
        Command::Doctor => doctor::run(),
        Command::Probe { engine } => probe::run(engine.into()),
    })
}
