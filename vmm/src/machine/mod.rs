//! A whole machine: made, run, ended.

mod consoles;
mod error;
mod event_loop;
mod handle;
mod load;
mod peripherals;
mod report;
mod signals;
mod threads;

pub use consoles::ConsoleKind;
pub use error::{Cause, MachineError};
pub use handle::{MachineHandle, RequestError};

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Instant;

use boot::{AcpiConfig, InitialState};
use devices::net::Forward;
use devices::time::{DeadlineListener, HostClock, ManualClock};
use devices::virtio::balloon::BalloonHandle;
use devices::virtio::console as virtio_console;
use hypervisor_framework::x86_64::{VcpuOptions, Vm, VmOptions};
use mio::{Poll, Token, Waker};

use self::consoles::Consoles;
use self::peripherals::Peripherals;
use self::signals::{Alarm, Bells, InputAlarm, Message, Signals};
use self::threads::VcpuThread;
use crate::clock::MachineClock;
use crate::config::{MachineConfig, VirtioTransport};
use crate::console::{Console, ExpectPattern, OutputQueue, OutputSink, Place};
use crate::engine::Engine;
use crate::lifecycle::State;
use crate::memory::GuestRam;
use crate::report::Report;
use crate::stop::StopReason;
use crate::vcpu::{Doorbell, Hold, Turns, VcpuGroup};
use crate::x86_64::cpuid::{CpuidConfig, CpuidPolicy, Signature, Timing};
use crate::x86_64::memory_map::memory_map;
use crate::x86_64::platform::{self, Effects, Parts, Platform};
use crate::x86_64::vcpu::{ControlPlan, ExitCounters, provider_features};
use crate::x86_64::virtio::{mmio_cmdline, mmio_places};

/// MAXPHYADDR shown to the guest: what every processor with EPT has, and more than the memory map uses.
const PHYSICAL_BITS: u8 = 39;

/// The event loop's own token; the console has the others.
const ALARM: Token = Token(0);

/// Something worth telling a person while the machine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A console is this pseudo-terminal.
    PtyReady(ConsoleKind, PathBuf),
    /// A console listens at this socket.
    SocketReady(ConsoleKind, PathBuf),
    /// The list of escape keys was asked for.
    HelpAsked,
    /// This way leads into the guest.
    Forwarding(Forward),
    /// The guest has this address, by DHCP.
    GuestAddress(IpAddr),
    /// The power button was pressed; the flag says whether the guest listens to it.
    PowerButton(bool),
    /// The guest was reset in place.
    Reset,
    /// The kernel panicked.
    Panicked,
}

/// How a run ended, and what happened in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub reason: StopReason,
    /// What happened.
    pub report: Report,
}

/// A machine, made and paused. [`Machine::run`] runs it on the calling thread.
///
/// Dropping it stops the vCPUs, ends their threads, and only then gives the guest's memory back.
pub struct Machine {
    config: MachineConfig,
    engine_name: &'static str,
    state: State,
    poll: Poll,
    messages: Receiver<Message>,
    signals: Arc<Signals>,
    consoles: Consoles,
    platform: Arc<Platform>,
    acpi: AcpiConfig,
    counters: Vec<Arc<ExitCounters>>,
    threads: Vec<JoinHandle<()>>,
    // Last: the guest's memory is unmapped when everything that uses it is gone.
    vm: Arc<dyn Vm>,
    timeline: report::Timeline,
    shutdown: Option<event_loop::Shutdown>,
    balloon: Option<BalloonHandle>,
    forwards: Vec<Forward>,
    /// Those told of.
    addresses: Vec<IpAddr>,
}

impl Machine {
    /// Makes a machine: reads and places kernel and initramfs, opens the console, makes memory, devices and vCPUs.
    ///
    /// # Errors
    /// [`MachineError`], one line that names the file or the setting.
    pub fn new(mut config: MachineConfig, engine: &Engine) -> Result<Self, MachineError> {
        let started = Instant::now();
        config.validate()?;
        let expect = config.expect.as_deref().map(ExpectPattern::new).transpose()?;
        let map = memory_map(config.memory_bytes)?;
        let ram = GuestRam::new(&map)?;
        let internal = |what| move |reason: std::io::Error| MachineError::internal(what, reason);
        let poll = Poll::new().map_err(internal("event loop"))?;
        let alarm = Alarm(Arc::new(Waker::new(poll.registry(), ALARM).map_err(internal("event loop"))?));
        let (sender, messages) = mpsc::channel();
        let Peripherals { mut devices, balloon, forwards } =
            peripherals::make(&config, engine.seed, &sender, &alarm)?;
        // The console comes last: it needs what is made below.
        let count = devices.len() + usize::from(config.console.is_some());
        let mmio = match config.virtio {
            VirtioTransport::Mmio => mmio_places(count),
            _ => Vec::new(),
        };
        let acpi = platform::acpi_config(config.cpus, mmio);
        for (index, share) in config.shares.iter().enumerate() {
            if let Some(words) = share.cmdline(index) {
                config.boot.cmdline.push(' ');
                config.boot.cmdline.push_str(&words);
            }
        }
        if config.virtio == VirtioTransport::MmioCmdline {
            config.boot.cmdline.push_str(&mmio_cmdline(count));
        }
        let loaded = load::load(&config.boot, config.memory_bytes, &map, &acpi, &ram)?;
        // After the files: one that is bad has cost nobody their old log.
        let place = Place::open("serial", &config.serial)?;
        let console_place =
            config.console.as_ref().map(|backend| Place::open("console", backend)).transpose()?;

        let framework = |source| MachineError::Framework { engine: engine.name, source };
        let hypervisor = &*engine.hypervisor;
        let vm = hypervisor.create_vm(VmOptions::empty()).map_err(framework)?;
        ram.map_into(&*vm)?;
        let mut plan =
            ControlPlan::new(hypervisor).map_err(|error| MachineError::internal("engine", error))?;
        let timing = Timing::for_tsc(hypervisor.tsc_frequency_hz().map_err(framework)?);
        let cpuid = cpuid_policy(config.cpus, timing, engine)?;

        let bells: Vec<_> = (0..config.cpus).map(|_| Arc::new(Doorbell::new(vm.clone()))).collect();
        let group = Arc::new(VcpuGroup::new(bells.clone(), loaded.entry));
        let clock = Arc::new(match engine.seed {
            None => MachineClock::Host(HostClock::new(timing.tsc_hz)),
            Some(_) => MachineClock::Counted(ManualClock::new(timing.tsc_hz)),
        });
        let turns = engine.seed.map(|_| Arc::new(Turns::new(clock.clone(), bells.clone())));
        if turns.is_some() {
            plan = plan.counting_time();
        }
        let signals = Arc::new(Signals { group, messages: sender, alarm: alarm.clone() });
        let queue = Arc::new(OutputQueue::default());
        let virtio = console_place.map(|place| {
            let queue = Arc::new(OutputQueue::default());
            let output = Box::new(OutputSink::new(queue.clone(), signals.clone()));
            let device = virtio_console::Console::new(output, Box::new(InputAlarm(alarm.clone())));
            let handle = device.handle();
            devices.push(Box::new(device));
            (Console::new(place, queue, expect.clone()), handle)
        });
        let parts = Parts {
            cpus: config.cpus,
            debug_exit_port: config.debug_exit_port,
            clock,
            cpuid,
            apic_timer_hz: timing.crystal_hz.into(),
            map,
            ram,
            devices,
            transport: config.virtio,
            packed_rings: config.packed_rings,
        };
        // Counted time is served by the vCPUs: nobody sleeps for it.
        let deadlines: Arc<dyn DeadlineListener> =
            if turns.is_some() { Arc::new(()) } else { signals.clone() };
        let effects = Effects {
            waker: Arc::new(Bells { bells, turns: turns.clone() }),
            events: signals.clone(),
            deadlines,
            serial_output: Box::new(OutputSink::new(queue.clone(), signals.clone())),
            serial_input: Box::new(InputAlarm(alarm)),
        };
        let platform =
            Arc::new(Platform::new(parts, effects).map_err(|e| MachineError::internal("devices", e))?);
        let consoles = Consoles::new((Console::new(place, queue, expect), platform.serial.clone()), virtio);
        let mut machine = Self {
            engine_name: engine.name,
            state: State::Paused,
            poll,
            messages,
            signals,
            consoles,
            platform,
            acpi,
            counters: Vec::new(),
            threads: Vec::new(),
            vm,
            timeline: report::Timeline::new(started, loaded.read_at, loaded.placed_at),
            shutdown: None,
            balloon,
            forwards,
            addresses: Vec::new(),
            config,
        };
        machine.start_threads(plan, turns.as_ref())?;
        Ok(machine)
    }

    /// For other threads to ask something of the machine.
    pub fn handle(&self) -> MachineHandle {
        MachineHandle {
            messages: self.signals.messages.clone(),
            alarm: self.signals.alarm.clone(),
            terminal: self.consoles.terminal().cloned(),
        }
    }

    /// The balloon, if the machine has one: how much memory the guest is asked to give back, and has.
    pub fn balloon(&self) -> Option<BalloonHandle> {
        self.balloon.clone()
    }

    fn group(&self) -> &VcpuGroup<InitialState> {
        &self.signals.group
    }

    /// Makes the vCPUs, each on its thread, and waits until all stand ready.
    fn start_threads(&mut self, plan: ControlPlan, turns: Option<&Arc<Turns>>) -> Result<(), MachineError> {
        for index in 0..self.config.cpus {
            let ticket = self
                .vm
                .vcpu_ticket(VcpuOptions::empty())
                .map_err(|source| MachineError::Framework { engine: self.engine_name, source })?;
            let counters = Arc::new(ExitCounters::default());
            self.counters.push(counters.clone());
            let bell = self.group().bell(index as usize).cloned();
            let thread = VcpuThread {
                index,
                ticket,
                platform: self.platform.clone(),
                plan,
                counters,
                group: self.signals.group.clone(),
                bell: bell.ok_or_else(|| MachineError::internal("vCPU", "no bell"))?,
                signals: self.signals.clone(),
                turns: turns.cloned(),
            };
            self.threads.push(thread.spawn().map_err(|error| MachineError::internal("vCPU thread", error))?);
        }
        self.group().wait_reset();
        while let Ok(message) = self.messages.try_recv() {
            if let Message::VcpuStopped(reason) = message {
                return Err(MachineError::internal("vCPU", reason));
            }
        }
        Ok(())
    }

    /// Ends all vCPU threads. Twice is fine.
    fn end_threads(&mut self) {
        self.group().hold(Hold::Owner);
        self.group().end();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a vCPU thread panicked");
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end_threads();
    }
}

/// What the guest is told of its CPUs.
fn cpuid_policy(cpus: u32, timing: Timing, engine: &Engine) -> Result<CpuidPolicy, MachineError> {
    let config = CpuidConfig {
        cpus,
        timing,
        x2apic: platform::X2APIC,
        tsc_deadline: platform::TSC_DEADLINE,
        physical_bits: PHYSICAL_BITS,
        brand: None,
        hide: Vec::new(),
        extra: Vec::new(),
        level: engine.level,
        signature: Signature::default(),
    };
    let features =
        provider_features(&*engine.hypervisor).map_err(|error| MachineError::internal("engine", error))?;
    match engine.host_cpuid() {
        None => Ok(CpuidPolicy::soft(config, features)),
        Some(host) => Ok(CpuidPolicy::native(config, features, &*host)),
    }
}

#[cfg(test)]
#[path = "machine_test.rs"]
mod machine_test;
