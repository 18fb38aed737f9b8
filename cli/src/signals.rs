//! Signals that end, stop and continue the process.

use std::io;
use std::thread::{self, JoinHandle};

use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::{Handle, Signals};
use vmm::MachineHandle;

use crate::inherited::is_ignored;

/// Watches signals until [`Watch::end`].
pub(crate) struct Watch {
    handle: Handle,
    thread: JoinHandle<()>,
}

/// Turns signals into requests to the machine: SIGTERM presses the power button, any other and a second one end the run, and
/// one more ends the process. Keeps the terminal as it should be: restored when the process stops, ends or
/// panics, raw when it goes on.
///
/// # Errors
/// The signals cannot be taken, or there is no thread.
pub(crate) fn watch(machine: MachineHandle) -> io::Result<Watch> {
    restore_on_panic(&machine);
    // What the parent had ignored stays ignored: a machine under nohup outlives its terminal.
    let taken = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP].into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new(taken.chain([SIGCONT]))?;
    let handle = signals.handle();
    let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut asked = 0;
        for signal in &mut signals {
            match signal {
                SIGTSTP => stop(&machine),
                SIGCONT => {
                    if let Some(terminal) = machine.terminal() {
                        terminal.resume();
                    }
                }
                SIGTERM if asked == 0 => {
                    asked = 1;
                    machine.terminate(SIGTERM);
                }
                signal if asked < 2 => {
                    asked = 2;
                    machine.signal(signal);
                }
                signal => {
                    // Asked again: whatever holds the machine up, the process ends.
                    if let Some(terminal) = machine.terminal() {
                        terminal.restore();
                    }
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        }
    })?;
    Ok(Watch { handle, thread })
}

impl Watch {
    /// Stops watching.
    pub(crate) fn end(self) {
        self.handle.close();
        // It ends at once; a panic in it has been told by the hook.
        let _ = self.thread.join();
    }
}

/// Gives the terminal back and stops, as SIGTSTP would have done.
fn stop(machine: &MachineHandle) {
    if let Some(terminal) = machine.terminal() {
        terminal.suspend();
    }
    // Goes on here when somebody continues the process.
    let _ = kill_process(getpid(), Signal::STOP);
}

fn restore_on_panic(machine: &MachineHandle) {
    let Some(terminal) = machine.terminal().cloned() else { return };
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        terminal.restore();
        next(info);
    }));
}
