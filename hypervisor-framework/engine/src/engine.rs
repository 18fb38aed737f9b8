//! Running a CPU: dispatch of blocks, traps and exits.

use std::sync::Arc;
use std::time::Instant;

use crate::block::{
    Block, BlockCache, BlockId, Flow, MAX_INSTRUCTIONS, NO_BLOCK, build, instructions_before,
};
use crate::cpu::control::Mode;
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Interruptibility, Trap, slot};
use crate::event::Step;
use crate::exit::{Access, Exit, Reason};
use crate::intercept::Controls;
use crate::memory::{Mailbox, Message, PAGE_SIZE, PhysicalMemory, pending};
use crate::os::{Code, Compiled, Exited, Left, Portable, Translator};
use crate::{Level, Sequence, TimeSource};

/// Guest instructions between looks at the clock.
const CLOCK_INTERVAL: u64 = 20_000;

/// Compiling an instruction takes about as long as interpreting it this often: a boot then spends less on both threads
/// together than the interpreter alone, and the least on its own.
const PORTABLE_THRESHOLD: u32 = 20_000;

/// How guest code is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Hot blocks become host code, on hosts that have a translator.
    pub jit: bool,
    /// By the portable tier, also where the host has another. It has to be built in (feature `portable`).
    pub portable: bool,
    /// A block is translated when it has been interpreted this often. The portable tier compiles in the background; at
    /// 0 it does so before the first execution, and the CPU waits.
    pub threshold: u32,
    /// Bytes of host code kept; when they are full, all is dropped.
    pub cache_bytes: usize,
    /// What RDRAND and RDSEED answer follows from this number; `None` takes the host's randomness.
    pub seed: Option<u64>,
    /// Every so many instructions the CPU's state is compared with that of an interpreter beside it. Only for callers
    /// that bound runs by counts.
    pub check: Option<u64>,
    /// The instructions there are.
    pub level: Level,
}

impl Default for EngineOptions {
    fn default() -> Self {
        // Where only the portable tier is, it has to be asked for until it has run on such a host.
        let portable = !crate::os::TRANSLATES;
        let threshold = if portable { PORTABLE_THRESHOLD } else { 16 };
        Self {
            jit: !portable,
            portable,
            threshold,
            cache_bytes: 32 << 20,
            seed: None,
            check: None,
            level: Level::V2,
        }
    }
}

impl EngineOptions {
    /// With the portable tier, and its threshold.
    #[must_use]
    pub fn with_portable(self) -> Self {
        Self { jit: true, portable: true, threshold: PORTABLE_THRESHOLD, ..self }
    }

    /// The highest level whose instructions this tier runs as the host's own.
    pub fn host_level(&self) -> Level {
        if self.jit && !self.portable { crate::os::host_level() } else { Level::V2 }
    }

    /// Is the portable tier built in?
    pub fn has_portable() -> bool {
        crate::os::COMPILES
    }
}

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

    /// Runs blocks until one ends in a way that wants a look, something is pending, or `look_at` instructions are done.
    fn run_blocks(&mut self, look_at: u64) -> Flow {
        let mut id = match self.find() {
            Ok(Some(id)) => id,
            Ok(None) => return Flow::Stop,
            Err(Trap) => return Flow::Trap,
        };
        if self.cpu.mode.has(Mode::SINGLE) {
            let step = self.cpu.begin_step();
            let flow = self.execute(id);
            return self.after_step(flow, step);
        }
        loop {
            if self.cache.portable.is_some() {
                if let Some(code) = self.compiled(id) {
                    match self.run_compiled(code, look_at) {
                        Ok(next) => id = next,
                        Err(flow) => return flow,
                    }
                    continue;
                }
            } else if let Some(code) = self.code(id) {
                match self.run_code(code, look_at) {
                    Ok(next) => id = next,
                    Err(flow) => return flow,
                }
                continue;
            }
            let flow = self.execute(id);
            if flow as u8 > Flow::Indirect as u8
                || self.cpu.mailbox.pending() != 0
                || self.cpu.instructions >= look_at
            {
                return flow;
            }
            let chained = match (flow, self.cache.get(id)) {
                (Flow::Fall | Flow::Taken, Some(block)) => block.chain[flow as usize & 1].get(),
                _ => NO_BLOCK,
            };
            if let Some(next) = self.cache.get(chained)
                && !next.dead.get()
            {
                id = chained;
                continue;
            }
            let next = match self.find() {
                Ok(Some(next)) => next,
                Ok(None) => return Flow::Stop,
                Err(Trap) => return Flow::Trap,
            };
            self.chain(id, flow, next);
            id = next;
        }
    }

    /// Remembers that `next` follows `id`, if both lie in one page: then no change of translations can part them.
    fn chain(&self, id: BlockId, flow: Flow, next: BlockId) {
        let (Some(block), Some(target)) = (self.cache.get(id), self.cache.get(next)) else { return };
        let start = self.cpu.regs[slot::BLOCK_RIP as usize];
        let same_page =
            (self.cpu.code_address(start) ^ self.cpu.code_address(self.cpu.rip)) < PAGE_SIZE as u64;
        if flow != Flow::Indirect && same_page && !block.dead.get() && !target.dead.get() {
            block.chain[flow as usize & 1].set(next);
        }
    }

    /// The block's host code; made now if it is time.
    #[inline(always)]
    fn code(&mut self, id: BlockId) -> Option<Code> {
        let block = self.cache.get(id)?;
        if let Some(code) = block.code.get() {
            return Some(code);
        }
        let heat = block.heat.get();
        block.heat.set(heat.saturating_add(1));
        if heat < self.threshold { None } else { self.cache.translate(id, self.cpu.mode) }
    }

    /// The region that starts with the block; asked for now if it is time.
    #[inline(always)]
    fn compiled(&mut self, id: BlockId) -> Option<Compiled> {
        let block = self.cache.get(id)?;
        if let Some(code) = block.compiled.get() {
            return Some(code);
        }
        let heat = block.heat.get() + 1;
        if heat < self.threshold {
            block.heat.set(heat);
            return None;
        }
        block.heat.set(0);
        self.cache.request(id, self.cpu.mode, self.threshold == 0, &self.cpu.mailbox)
    }

    /// The block to go on with after host code, unless something wants a look before.
    fn find_after(&mut self, look_at: u64) -> Result<BlockId, Flow> {
        if self.cpu.mailbox.pending() != 0 || self.cpu.instructions >= look_at {
            return Err(Flow::Indirect);
        }
        match self.find() {
            Ok(Some(next)) => Ok(next),
            Ok(None) => Err(Flow::Stop),
            Err(Trap) => Err(Flow::Trap),
        }
    }

    /// As [`Self::run_code`], for compiled code.
    fn run_compiled(&mut self, code: Compiled, look_at: u64) -> Result<BlockId, Flow> {
        let Some(portable) = &mut self.cache.portable else { return Err(Flow::Stop) };
        let budget = budget(&self.cpu, look_at);
        let (exited, executed) = portable.run(&mut self.cpu, code, budget);
        self.cpu.instructions += executed;
        match exited {
            Exited::Find => {}
            Exited::Look => return Err(Flow::Indirect),
            Exited::Stop => return Err(Flow::Stop),
            Exited::Trap => return Err(Flow::Trap),
        }
        let next = self.find_after(look_at)?;
        if let Some(code) = self.cache.get(next).and_then(|block| block.compiled.get())
            && let Some(host) = self.cpu.mmu.lookup_fetch(self.cpu.rip)
            && let Some(portable) = &mut self.cache.portable
        {
            portable.remember(code, host, self.cpu.mode.has(Mode::USER));
        }
        if self.cpu.shadowed() {
            return Err(Flow::Stop);
        }
        Ok(next)
    }

    /// Runs host code until it needs a block that it does not know: that block; or how it ended.
    fn run_code(&mut self, code: Code, look_at: u64) -> Result<BlockId, Flow> {
        let Some(translator) = &mut self.cache.translator else { return Err(Flow::Stop) };
        let budget = budget(&self.cpu, look_at);
        let (left, executed) = translator.run(&mut self.cpu, code, budget);
        self.cpu.instructions += executed;
        let link = match left {
            Left::Find(link) => link,
            Left::Look => return Err(Flow::Indirect),
            Left::Stop => return Err(Flow::Stop),
            Left::Trap => return Err(Flow::Trap),
        };
        let next = self.find_after(look_at)?;
        if let Some(code) = self.code(next)
            && let Some(host) = self.cpu.mmu.lookup_fetch(self.cpu.rip)
            && let Some(translator) = &mut self.cache.translator
        {
            translator.link(link, code, host);
            translator.remember(code, host, self.cpu.mode.has(Mode::USER));
        }
        if self.cpu.shadowed() {
            return Err(Flow::Stop);
        }
        Ok(next)
    }

    #[inline(always)]
    fn execute(&mut self, id: BlockId) -> Flow {
        let Some(block) = self.cache.get(id) else { return Flow::Stop };
        self.cpu.regs[slot::BLOCK_RIP as usize] = self.cpu.rip;
        let flow = match block.ops.split_first() {
            Some((op, rest)) => (op.exec)(&mut self.cpu, op, rest),
            None => Flow::Stop,
        };
        if flow == Flow::Trap {
            self.cpu.instructions += instructions_before(&block.ops, self.cpu.trapped.start);
        } else {
            self.cpu.instructions += u64::from(block.instructions);
        }
        flow
    }

    /// The block at the instruction pointer; `None` if it was of the kind that is not kept and has been run.
    fn find(&mut self) -> Result<Option<BlockId>, Trap> {
        let linear = self.cpu.code_address(self.cpu.rip);
        let mode = self.cpu.mode.0;
        let host = match self.cpu.translate(linear, Access::Fetch) {
            Ok(at) => at.address(),
            Err(trap) => return Err(self.fetch_trapped(trap)),
        };
        if let Some(id) = self.cache.jump(host, mode)
            && self.cache.get(id).is_some_and(|block| !block.dead.get())
        {
            return Ok(Some(id));
        }
        self.find_slow(host, mode)
    }

    #[cold]
    #[inline(never)]
    fn find_slow(&mut self, host: usize, mode: u8) -> Result<Option<BlockId>, Trap> {
        if let Some(id) = self.cache.find(host, mode) {
            self.cache.remember(host, mode, id);
            return Ok(Some(id));
        }
        if let Some(block) = self.cache.crossing.take(&mut self.cpu, host, mode) {
            return self.execute_alone(host, mode, block);
        }
        let cache = &mut self.cache;
        let built = match build(&mut self.cpu, &mut |cpu, messages| act(cpu, cache, messages)) {
            Ok(built) => built,
            Err(trap) => return Err(self.fetch_trapped(trap)),
        };
        if !built.cacheable {
            return self.execute_alone(host, mode, built.block);
        }
        let host = built.host_page | usize::from(built.block.offset);
        let id = self.cache.insert(built.host_page, mode, built.block);
        self.cache.remember(host, mode, id);
        Ok(Some(id))
    }

    /// Runs an instruction that crosses a page.
    fn execute_alone(&mut self, host: usize, mode: u8, block: Block) -> Result<Option<BlockId>, Trap> {
        self.cpu.regs[slot::BLOCK_RIP as usize] = self.cpu.rip;
        let step = self.cpu.begin_step();
        let flow =
            block.ops.split_first().map_or(Flow::Stop, |(op, rest)| (op.exec)(&mut self.cpu, op, rest));
        let instructions = u64::from(block.instructions);
        self.cache.crossing.put(host, mode, block);
        if flow == Flow::Trap {
            self.cpu.undo_step(step);
            return Err(Trap);
        }
        self.cpu.instructions += instructions;
        if mode & Mode::SINGLE != 0 {
            self.after_step(flow, step);
        }
        Ok(None)
    }

    /// A fetch that faults does so at RIP, not within the block before.
    fn fetch_trapped(&mut self, trap: Trap) -> Trap {
        self.cpu.regs[slot::BLOCK_RIP as usize] = self.cpu.rip;
        self.cpu.trapped = crate::cpu::Trapped::default();
        trap
    }

    /// After a block of one instruction: shadows end, traps fall due.
    fn after_step(&mut self, flow: Flow, step: Step) -> Flow {
        if flow == Flow::Trap {
            self.cpu.undo_step(step);
            return flow;
        }
        self.cpu.finish_step(step);
        Flow::Stop
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

/// Instructions that host code may execute: one block is always run; where a count must not be passed, more than a block
/// is left.
#[inline]
fn budget(cpu: &Cpu, look_at: u64) -> u64 {
    look_at.saturating_sub(cpu.instructions).saturating_add(MAX_INSTRUCTIONS as u64 - 1)
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
