//! Signals that end, stop and continue the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::{Handle, Signals};
use vmm::MachineHandle;

use crate::inherited::is_ignored;

/// Whether a signal asked a long operation to stop; the second one ends the process by itself.
pub(crate) struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Takes note of SIGINT, SIGTERM and SIGHUP, unless the parent had them ignored. A signal that cannot be taken ends the
    /// process as ever.
    pub(crate) fn on_signals() -> Self {
        let stop = Self(Arc::default());
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)) {
            // In this order: the second signal finds the first one's mark.
            let again = Arc::new(AtomicBool::new(false));
            let taken = signal_hook::flag::register_conditional_default(signal, again.clone())
                .and_then(|_| signal_hook::flag::register(signal, again))
                .and_then(|_| signal_hook::flag::register_usize(signal, stop.0.clone(), signal as usize));
            if let Err(error) = taken {
                log::debug!("signal {signal} is not taken: {error}");
            }
        }
        stop
    }

    /// The signal that came.
    pub(crate) fn signal(&self) -> Option<i32> {
        i32::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }
}

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
    let mut signals = Signals::new(taken.chain([SIGCONT, SIGWINCH]))?;
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
                    machine.resized();
                }
                SIGWINCH => machine.resized(),
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
