//! `rvmm boot`.

use std::io::Write;

use vmm::config::MachineConfig;
use vmm::console::ESCAPE_HELP;
use vmm::{Cause, Event, Machine, Outcome, engine, error_chain};

use crate::args::BootArgs;
use crate::machine_config::to_toml;
use crate::voice::{say, show};
use crate::{descriptors, exit_code, signals, summary};

/// Boots and runs a guest; the process's exit code.
pub(crate) fn run(arguments: &BootArgs) -> u8 {
    let config = match arguments.machine_config() {
        Ok(config) => config,
        Err(error) => {
            say(&error);
            return error.exit_code();
        }
    };
    if arguments.print_config {
        return print(&config);
    }
    descriptors::raise();
    let engine = match engine::select_with(arguments.engine.into(), arguments.engine_opts, config.cpu) {
        Ok(engine) => engine,
        Err(error) => {
            say(format_args!("--engine: {}", error_chain(&error)));
            return exit_code::NO_ENGINE;
        }
    };
    say(format_args!("engine {} ({})", engine.name, engine.why));
    let machine = match Machine::new(config, &engine) {
        Ok(machine) => machine,
        Err(error) => {
            let cause = error.cause();
            say(format_args!("{}{}", error_chain(&error), hint(cause)));
            return exit_code::of_cause(cause);
        }
    };
    let watch = match signals::watch(machine.handle()) {
        Ok(watch) => watch,
        Err(error) => {
            say(format_args!("signals cannot be watched: {error}"));
            return exit_code::FAILURE;
        }
    };
    let outcome = machine.run(&mut tell);
    watch.end();
    conclude(arguments, &outcome)
}

/// Shows the configuration on standard output.
fn print(config: &MachineConfig) -> u8 {
    let printed = to_toml(config).map_err(|error| error.to_string()).and_then(|text| {
        std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("standard output: {error}"))
    });
    match printed {
        Ok(()) => exit_code::SUCCESS,
        Err(reason) => {
            say(reason);
            exit_code::FAILURE
        }
    }
}

fn conclude(arguments: &BootArgs, outcome: &Outcome) -> u8 {
    let expecting = arguments.expect.is_some();
    let code = exit_code::of_outcome(outcome, expecting);
    match &outcome.reason {
        _ if code == exit_code::SUCCESS => {}
        reason if expecting => say(format_args!("{reason}, before --expect matched")),
        reason => say(reason),
    }
    if let Some(style) = arguments.report {
        show(summary::report(style, outcome, code));
    }
    code
}

fn tell(event: Event) {
    match event {
        Event::PtyReady(kind, path) => say(format_args!("{kind} at {}", path.display())),
        Event::SocketReady(kind, path) => say(format_args!("{kind} socket at {}", path.display())),
        Event::HelpAsked => show(format_args!("\n{ESCAPE_HELP}")),
        Event::Forwarding(forward) => say(format_args!("forwarding {forward}")),
        Event::GuestAddress(address) => say(format_args!("the guest's address is {address}")),
        Event::PowerButton(true) => say("power button pressed"),
        Event::PowerButton(false) => say("power button pressed, but the guest does not listen to it"),
        Event::Reset => say("the guest rebooted"),
        Event::Panicked => {}
    }
}

/// What to do about an error, where that is known.
fn hint(cause: Cause) -> &'static str {
    match cause {
        Cause::NotEntitled => {
            " (the program lacks the entitlement com.apple.security.hypervisor; `rvmm doctor` tells the fix)"
        }
        _ => "",
    }
}
