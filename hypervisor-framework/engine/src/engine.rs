//! Running a CPU: bounds, traps and exits.

mod blocks;
mod options;

use std::sync::Arc;
use std::time::Instant;

use crate::block::{BlockCache, Flow, MAX_INSTRUCTIONS};
use crate::cpu::control::Mode;
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Interruptibility};
use crate::exit::{Exit, Reason};
use crate::intercept::Controls;
use crate::memory::{Mailbox, Message, PhysicalMemory, pending};
use crate::os::{Portable, Translator};
use crate::{Sequence, TimeSource};

pub use options::EngineOptions;

/// Guest instructions between looks at the clock.
const CLOCK_INTERVAL: u64 = 20_000;

/// When a run ends by itself.
#[derive(Clone, Copy)]
struct Bounds {
    /// Looked at every few microseconds of guest work.
    deadline: Option<Instant>,
    /// Never passed: a count of instructions since the CPU was made.
    last: u64,
    /// The run ends at the first block end from this count on.
    about: u64,
}

impl Bounds {
    const NONE: Self = Self { deadline: None, last: u64::MAX, about: u64::MAX };

    /// The count at which blocks must not go on. What is left then is executed one by one.
    fn look_at(&self) -> u64 {
        self.about.min(self.last.saturating_sub(MAX_INSTRUCTIONS as u64 - 1))
    }
}

/// A CPU with its translated code.
pub struct Engine {
    /// Registers and policy; change them between runs only.
    pub cpu: Cpu,
    cache: BlockCache,
    threshold: u32,
}

/// Makes a running CPU leave the guest, from any thread.
#[derive(Debug, Clone)]
pub struct Kicker(Arc<Mailbox>);

impl Kicker {
    /// A CPU in the guest exits with [`Reason::Kicked`]; one outside does not notice.
    pub fn kick(&self) {
        self.0.kick();
    }
}

/// Counts of a CPU's work, for reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Guest instructions executed.
    pub instructions: u64,
    /// Blocks translated.
    pub blocks_translated: u64,
    /// Blocks dropped because their code was overwritten.
    pub blocks_dropped: u64,
    /// TLB fills.
    pub tlb_fills: u64,
    /// Bytes of blocks, look-up tables and TLB.
    pub cache_bytes: usize,
}

impl Engine {
    /// A CPU in its reset state.
    pub fn new(memory: &Arc<PhysicalMemory>, time: Arc<dyn TimeSource>) -> Self {
        Self::with_options(memory, time, EngineOptions::default())
    }

    /// As [`Self::new`], with a choice of how code is executed.
    pub fn with_options(
        memory: &Arc<PhysicalMemory>,
        time: Arc<dyn TimeSource>,
        options: EngineOptions,
    ) -> Self {
        let mut cache = BlockCache::new();
        if options.jit && options.portable {
            cache.portable = Portable::new(options.cache_bytes);
        } else if options.jit {
            cache.translator = Translator::new(options.cache_bytes, options.level);
        }
        let mut cpu = Cpu::new(Arc::clone(memory), time);
        cpu.entropy = options.seed.map(Sequence::new);
        cpu.level = options.level;
        Self { cpu, cache, threshold: options.threshold }
    }

    /// What makes this CPU leave the guest.
    pub fn kicker(&self) -> Kicker {
        Kicker(Arc::clone(&self.cpu.mailbox))
    }

    /// Counts so far.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            instructions: self.cpu.instructions,
            blocks_translated: self.cache.translated,
            blocks_dropped: self.cache.dropped,
            tlb_fills: self.cpu.mmu.fills,
            cache_bytes: self.cache.footprint() + self.cpu.mmu.footprint(),
        }
    }

    /// Runs the guest until something leaves it. `deadline` is looked at every few microseconds of guest work.
    pub fn run(&mut self, deadline: Option<Instant>) -> Exit {
        self.run_bounded(Bounds { deadline, ..Bounds::NONE })
    }

    /// Runs the guest until something leaves it, or [`Cpu::instructions`] is exactly `count`: that is
    /// [`Reason::Deadline`].
    pub fn run_to(&mut self, count: u64) -> Exit {
        self.run_bounded(Bounds { last: count, ..Bounds::NONE })
    }

    /// As [`Self::run_to`], but may stop at the first block end from `about` on.
    pub fn run_about(&mut self, about: u64, count: u64) -> Exit {
        self.run_bounded(Bounds { deadline: None, last: count, about })
    }

    fn run_bounded(&mut self, bounds: Bounds) -> Exit {
        let mailbox = Arc::clone(&self.cpu.mailbox);
        mailbox.set_in_guest(true);
        let exit = self.run_inside(bounds);
        mailbox.set_in_guest(false);
        exit
    }

    fn run_inside(&mut self, bounds: Bounds) -> Exit {
        self.cpu.delivering = None;
        self.cpu.nmi_unblocked_by_iret = false;
        self.serve_mail();
        self.cpu.update_mode();
        if let Some(event) = self.cpu.injected.take()
            && let Err(exit) = self.cpu.deliver_injected(event)
        {
            return exit;
        }
        let mut clock_at = self.cpu.instructions;
        loop {
            // An instruction that repeats may have done a part.
            let halfway = self.cpu.step_next;
            if let Some(exit) = self.boundary() {
                return exit;
            }
            let left = bounds.last.saturating_sub(self.cpu.instructions);
            if left == 0 || self.cpu.instructions >= bounds.about && !halfway {
                return self.exit(Reason::Deadline, 0);
            }
            if left < MAX_INSTRUCTIONS as u64 {
                // A block might be longer than what is left.
                self.cpu.mode.0 |= Mode::SINGLE;
            }
            if let Some(deadline) = bounds.deadline
                && self.cpu.instructions >= clock_at
            {
                if Instant::now() >= deadline {
                    return self.exit(Reason::Deadline, 0);
                }
                clock_at = self.cpu.instructions + CLOCK_INTERVAL;
            }
            let look_at = if bounds.deadline.is_some() { clock_at } else { u64::MAX };
            let flow = self.run_blocks(look_at.min(bounds.look_at()));
            if flow == Flow::Trap
                && let Some(exit) = self.cpu.take_trap()
            {
                return exit;
            }
        }
    }

    /// What happens between instructions, in order of priority (SDM vol. 3, table 6-2).
    fn boundary(&mut self) -> Option<Exit> {
        self.serve_mail();
        if self.cpu.mailbox.pending() & pending::CODE != 0 {
            self.cpu.mailbox.take(pending::CODE);
            self.cache.install();
        }
        let cpu = &mut self.cpu;
        cpu.update_mode();
        if cpu.pending_debug != 0
            && !cpu.interruptibility.contains(Interruptibility::MOV_SS)
            && let Err(exit) = cpu.raise_pending_debug()
        {
            return Some(exit);
        }
        if std::mem::take(&mut cpu.trap_flag_due) {
            return Some(self.exit(Reason::MonitorTrap, 0));
        }
        let blocked = cpu.interruptibility.intersects(Interruptibility::STI | Interruptibility::MOV_SS);
        let controls = cpu.intercepts.controls;
        if controls.contains(Controls::NMI_WINDOW)
            && !blocked
            && !cpu.interruptibility.contains(Interruptibility::NMI)
        {
            return Some(self.exit(Reason::NmiWindow, 0));
        }
        if controls.contains(Controls::INTERRUPT_WINDOW) && !blocked && cpu.flags.has(bit::IF) {
            return Some(self.exit(Reason::InterruptWindow, 0));
        }
        if cpu.mailbox.take(pending::KICK) != 0 {
            return Some(self.exit(Reason::Kicked, 0));
        }
        let cpu = &mut self.cpu;
        if let Err(exit) = cpu.check_instruction_breakpoint() {
            return Some(exit);
        }
        if blocked || cpu.steps() {
            cpu.update_mode();
            cpu.mode.0 |= Mode::SINGLE;
        }
        None
    }

    fn exit(&self, reason: Reason, instruction_length: u8) -> Exit {
        Exit { reason, instruction_length, vectoring: None, nmi_unblocked_by_iret: false }
    }

    fn serve_mail(&mut self) {
        let mailbox = Arc::clone(&self.cpu.mailbox);
        if mailbox.pending() & pending::MAIL == 0 {
            return;
        }
        let (messages, ticket) = mailbox.collect();
        act(&mut self.cpu, &mut self.cache, &messages);
        mailbox.acted(ticket);
    }
}

/// Acts on messages from other threads.
fn act(cpu: &mut Cpu, cache: &mut BlockCache, messages: &[Message]) {
    for message in messages {
        match *message {
            Message::MapChanged => {
                cpu.mmu.map = cpu.memory.snapshot();
                cpu.mmu.flush_all();
                cache.clear();
            }
            Message::ProtectCode(host_page) => cpu.mmu.write_protect(host_page),
            Message::DropCode(host_page) => cache.drop_page(host_page),
        }
    }
}

#[cfg(test)]
#[path = "engine_test.rs"]
mod engine_test;

#[cfg(test)]
#[path = "lockstep_test.rs"]
mod lockstep_test;

#[cfg(all(test, feature = "portable"))]
#[path = "portable_test.rs"]
mod portable_test;
