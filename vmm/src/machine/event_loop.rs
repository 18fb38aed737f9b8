//! The owner's loop: requests, timers, console. See [`crate::lifecycle`] for what it may do when.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use devices::power::SystemEvent;
use devices::time::Clock;
use mio::Events;

use super::consoles::Listening;
use super::signals::Message;
use super::{Event, Machine, MachineError, Outcome, load};
use crate::config::OnReboot;
use crate::console::{Attention, Key, Milestone};
use crate::lifecycle::{self, Action, Refusal, Request, State};
use crate::memory;
use crate::stop::StopReason;
use crate::vcpu::Hold;

/// How soon the console is looked at again while output flows.
const CONSOLE_SOON: Duration = Duration::from_millis(2);
/// How often input that has no events is looked at.
const CONSOLE_SOMETIMES: Duration = Duration::from_millis(20);
/// How long a panic may go on printing before the run ends.
const PANIC_GRACE: Duration = Duration::from_secs(2);
/// How long the end of a run waits for the console's reader to take what is left.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A power-off that was asked for from outside.
pub(super) struct Shutdown {
    /// The run ends then, whatever the guest does.
    until: Instant,
    /// The signal that asked.
    number: i32,
}

/// Tells a person what happens.
type Observer<'a> = &'a mut dyn FnMut(Event);

impl Machine {
    /// Runs the machine until something ends it, and says what.
    ///
    /// Takes over the calling thread; others reach the machine through its [`Machine::handle`]. `observer` is called on this
    /// thread.
    pub fn run(mut self, observer: Observer<'_>) -> Outcome {
        self.timeline.run_at = Some(Instant::now());
        let reason = match self.begin(observer).and_then(|()| self.turn_until_stopped(observer)) {
            Ok(reason) => reason,
            Err(error) => StopReason::Error { message: crate::error_chain(&error) },
        };
        self.timeline.ended_at = Some(Instant::now());
        // While the vCPUs still have their caches.
        let guest: Vec<_> = self.platform.ram.host_ranges().collect();
        self.timeline.resident = memory::resident(&guest);
        self.end_threads();
        self.state = State::Stopped;
        let reason = self.last_words(reason);
        let report = self.report();
        Outcome { reason, report }
    }

    fn begin(&mut self, observer: Observer<'_>) -> Result<(), MachineError> {
        let internal = |error: std::io::Error| MachineError::internal("console", error);
        self.consoles.attach(self.poll.registry()).map_err(internal)?;
        self.forwards.iter().for_each(|forward| observer(Event::Forwarding(forward.clone())));
        for (kind, listening) in self.consoles.listening() {
            match listening {
                Listening::Pty(path) => observer(Event::PtyReady(kind, path)),
                Listening::Socket(path) => observer(Event::SocketReady(kind, path)),
            }
        }
        self.carry_out(Request::Resume, observer)?.map(drop).map_err(|e| MachineError::internal("start", e))
    }

    fn turn_until_stopped(&mut self, observer: Observer<'_>) -> Result<StopReason, MachineError> {
        let mut events = Events::with_capacity(16);
        loop {
            if let Some(reason) = self.turn(observer)? {
                return Ok(reason);
            }
            match self.poll.poll(&mut events, self.time_to_sleep()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(MachineError::internal("event loop", error));
                }
                _ => {}
            }
        }
    }

    /// Looks at everything once.
    fn turn(&mut self, observer: Observer<'_>) -> Result<Option<StopReason>, MachineError> {
        if self.platform.clock.counted().is_none() {
            self.platform.timers.advance(self.platform.clock.now_ns());
        }
        if let Some(reason) = self.serve_console(observer) {
            return Ok(Some(reason));
        }
        while let Ok(message) = self.messages.try_recv() {
            if let Some(reason) = self.serve(message, observer)? {
                return Ok(Some(reason));
            }
        }
        Ok(self.overdue())
    }

    fn time_to_sleep(&self) -> Option<Duration> {
        let clock = &self.platform.clock;
        let timer = self.platform.timers.next_deadline_ns().and_then(|ns| clock.instant_at(ns));
        let console = match self.consoles.wants_attention() {
            Attention::Soon => Some(Instant::now() + CONSOLE_SOON),
            Attention::Sometimes => Some(Instant::now() + CONSOLE_SOMETIMES),
            Attention::OnEvents => None,
        };
        let shutdown = self.shutdown.as_ref().map(|shutdown| shutdown.until);
        [timer, console, self.timeout_at(), self.panic_deadline(), shutdown]
            .into_iter()
            .flatten()
            .min()
            .map(|until| until.saturating_duration_since(Instant::now()))
    }

    fn timeout_at(&self) -> Option<Instant> {
        self.timeline.run_at?.checked_add(self.config.timeout?)
    }

    /// When a panic ends the run. A person at the console decides for themselves.
    fn panic_deadline(&self) -> Option<Instant> {
        let ends = self.config.expect.is_some() || !self.consoles.is_interactive();
        self.timeline.panic_at.filter(|_| ends)?.checked_add(PANIC_GRACE)
    }

    fn overdue(&self) -> Option<StopReason> {
        let now = Instant::now();
        if self.panic_deadline().is_some_and(|at| at <= now) {
            return Some(StopReason::Panic);
        }
        if let Some(shutdown) = self.shutdown.as_ref().filter(|shutdown| shutdown.until <= now) {
            return Some(StopReason::Signal { number: shutdown.number });
        }
        self.timeout_at().filter(|at| *at <= now).map(|_| match self.timeline.panic_at {
            // The cause, not its consequence.
            Some(_) => StopReason::Panic,
            None => StopReason::Timeout,
        })
    }

    fn serve_console(&mut self, observer: Observer<'_>) -> Option<StopReason> {
        let seen = self.consoles.pump_output();
        for milestone in seen.milestones {
            match milestone {
                Milestone::Init => {
                    self.timeline.init_at.get_or_insert_with(Instant::now);
                }
                Milestone::PanicBegins => self.note_panic(observer),
                Milestone::PanicEnds if self.panic_deadline().is_some() => return Some(StopReason::Panic),
                Milestone::PanicEnds => {}
            }
        }
        if seen.expected {
            return Some(StopReason::ExpectMatched);
        }
        if seen.closed && self.config.expect.is_none() {
            return Some(StopReason::ConsoleClosed);
        }
        if self.consoles.have_room() {
            self.group().release(Hold::Console);
        }
        for key in self.consoles.pump_input(self.poll.registry()) {
            match key {
                Key::Quit => return Some(StopReason::Quit),
                Key::Help => observer(Event::HelpAsked),
                // The console's own.
                Key::Break => {}
                Key::PowerButton => observer(Event::PowerButton(self.platform.press_power_button())),
            }
        }
        None
    }

    fn note_panic(&mut self, observer: Observer<'_>) {
        if self.timeline.panic_at.is_none() {
            self.timeline.panic_at = Some(Instant::now());
            observer(Event::Panicked);
        }
    }

    fn serve(
        &mut self,
        message: Message,
        observer: Observer<'_>,
    ) -> Result<Option<StopReason>, MachineError> {
        match message {
            Message::Stop(reason) | Message::VcpuStopped(reason) => return Ok(Some(reason)),
            Message::Terminate(number) => {
                let listens = self.state == State::Running && self.platform.press_power_button();
                observer(Event::PowerButton(listens));
                if !listens {
                    return Ok(Some(StopReason::Signal { number }));
                }
                let until = Instant::now().checked_add(self.config.shutdown_timeout);
                self.shutdown = until.map(|until| Shutdown { until, number });
            }
            Message::AllAsleep => {
                // Somebody may have been woken since by a request of ours.
                return Ok((self.state == State::Running).then_some(StopReason::Halted));
            }
            Message::Request(request, reply) => {
                let answer = self.carry_out(request, observer)?;
                if let Some(reply) = reply {
                    // Who asked may have gone.
                    let _ = reply.send(answer);
                }
                if self.state == State::Stopped {
                    return Ok(Some(StopReason::Quit));
                }
            }
            Message::Resized => self.consoles.resize(),
            Message::GuestAddress(address) => {
                if !self.addresses.contains(&address) {
                    self.addresses.push(address);
                    observer(Event::GuestAddress(address));
                }
            }
            Message::Guest(event) => return self.serve_guest(event, observer),
        }
        Ok(None)
    }

    fn serve_guest(
        &mut self,
        event: SystemEvent,
        observer: Observer<'_>,
    ) -> Result<Option<StopReason>, MachineError> {
        match event {
            SystemEvent::PowerOff => return Ok(Some(StopReason::PowerOff)),
            SystemEvent::DebugExit(code) => return Ok(Some(StopReason::DebugExit { code })),
            SystemEvent::Panicked => self.note_panic(observer),
            SystemEvent::CrashLoaded => log::warn!("the guest's kernel crashed and runs its crash kernel"),
            SystemEvent::Reset(source) => {
                log::info!("the guest resets itself ({source:?})");
                // Its last words first: a panic may be among them.
                if let Some(reason) = self.serve_console(observer) {
                    return Ok(Some(reason));
                }
                if self.timeline.panic_at.is_some() {
                    return Ok(Some(StopReason::Panic));
                }
                if self.config.on_reboot == OnReboot::Exit {
                    return Ok(Some(StopReason::Reset));
                }
                if let Err(refusal) = self.carry_out(Request::Reset, observer)? {
                    log::warn!("{refusal}");
                }
            }
        }
        Ok(None)
    }

    /// Does what [`lifecycle::decide`] says about a request.
    fn carry_out(
        &mut self,
        request: Request,
        observer: Observer<'_>,
    ) -> Result<Result<State, Refusal>, MachineError> {
        let (action, after) = match lifecycle::decide(self.state, request) {
            Ok(decided) => decided,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match action {
            Action::Start => self.start()?,
            Action::Quiesce => self.quiesce(),
            Action::ResetAndStart => {
                self.quiesce();
                self.reset(observer)?;
                self.start()?;
            }
            Action::ResetOnly => self.reset(observer)?,
            Action::PressPowerButton => observer(Event::PowerButton(self.platform.press_power_button())),
            Action::End => self.quiesce(),
            Action::Nothing => {}
        }
        self.state = after;
        Ok(Ok(after))
    }

    /// Lets the clock and then the vCPUs go.
    fn start(&mut self) -> Result<(), MachineError> {
        self.platform.clock.resume();
        self.vm
            .sync_tsc(self.platform.clock.tsc_now())
            .map_err(|source| MachineError::Framework { engine: self.engine_name, source })?;
        self.platform.resumed();
        self.platform.resume_devices();
        self.group().release(Hold::Owner);
        Ok(())
    }

    /// Stops the vCPUs and then the clock.
    fn quiesce(&mut self) {
        self.group().hold(Hold::Owner);
        self.group().wait_parked();
        self.platform.pause_devices();
        self.platform.clock.pause();
    }

    /// Power-up state and a fresh boot; vCPUs stand.
    fn reset(&mut self, observer: Observer<'_>) -> Result<(), MachineError> {
        let Self { config, platform, acpi, vm, .. } = &*self;
        platform.ram.wipe(&**vm)?;
        let loaded = load::load(&config.boot, config.memory_bytes, &platform.map, acpi, &platform.ram)?;
        self.platform.reset();
        self.group().reset(loaded.entry);
        // What the guest asked for before is over with it; requests of others stay.
        let waiting: Vec<_> = self
            .messages
            .try_iter()
            .filter(|m| !matches!(m, Message::Guest(_) | Message::AllAsleep))
            .collect();
        for message in waiting {
            self.signals.send(message);
        }
        self.group().release(Hold::Guest);
        self.timeline.resets += 1;
        observer(Event::Reset);
        Ok(())
    }

    /// Gives the console's reader a moment for what is left; the last output may still show what was waited for.
    fn last_words(&mut self, reason: StopReason) -> StopReason {
        let until = Instant::now() + LAST_WORDS;
        let mut expected = false;
        loop {
            let seen = self.consoles.pump_output();
            expected |= seen.expected;
            for milestone in seen.milestones {
                let at = match milestone {
                    Milestone::Init => &mut self.timeline.init_at,
                    Milestone::PanicBegins | Milestone::PanicEnds => &mut self.timeline.panic_at,
                };
                at.get_or_insert_with(Instant::now);
            }
            if !self.consoles.have_output() || Instant::now() >= until {
                break;
            }
            std::thread::sleep(CONSOLE_SOON);
        }
        if expected { StopReason::ExpectMatched } else { reason }
    }
}
