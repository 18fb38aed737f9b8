//! From block to block: finding, chaining, and the tiers.

use crate::block::{Block, BlockId, Flow, MAX_INSTRUCTIONS, NO_BLOCK, build, instructions_before};
use crate::cpu::control::Mode;
use crate::cpu::{Cpu, Trap, slot};
use crate::event::Step;
use crate::exit::Access;
use crate::memory::PAGE_SIZE;
use crate::os::{Code, Compiled, Exited, Left};

use super::{Engine, act};

impl Engine {
    /// Runs blocks until one ends in a way that wants a look, something is pending, or `look_at` instructions are done.
    pub(super) fn run_blocks(&mut self, look_at: u64) -> Flow {
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
    pub(super) fn chain(&self, id: BlockId, flow: Flow, next: BlockId) {
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
            Left::Find(link) => Some(link),
            Left::Vain(linear) => {
                if let Some(host) = self.cpu.mmu.lookup_fetch(linear) {
                    self.cache.make_plain(host, self.cpu.mode);
                }
                None
            }
            Left::Look => return Err(Flow::Indirect),
            Left::Stop => return Err(Flow::Stop),
            Left::Trap => return Err(Flow::Trap),
        };
        let next = self.find_after(look_at)?;
        if let Some(code) = self.code(next)
            && let Some(host) = self.cpu.mmu.lookup_fetch(self.cpu.rip)
            && let Some(translator) = &mut self.cache.translator
        {
            if let Some(link) = link {
                translator.link(link, code, host);
            }
            translator.remember(code, host, self.cpu.mode.has(Mode::USER));
        }
        if self.cpu.shadowed() {
            return Err(Flow::Stop);
        }
        Ok(next)
    }

    #[inline(always)]
    pub(super) fn execute(&mut self, id: BlockId) -> Flow {
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
            if flow == Flow::Taken {
                block.taken.set(block.taken.get().saturating_add(1));
            }
        }
        flow
    }

    /// The block at the instruction pointer; `None` if it was of the kind that is not kept and has been run.
    pub(super) fn find(&mut self) -> Result<Option<BlockId>, Trap> {
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
    pub(super) fn after_step(&mut self, flow: Flow, step: Step) -> Flow {
        if flow == Flow::Trap {
            self.cpu.undo_step(step);
            return flow;
        }
        self.cpu.finish_step(step);
        Flow::Stop
    }
}

/// Instructions that host code may execute: one block is always run; where a count must not be passed, more than a block
/// is left.
#[inline]
fn budget(cpu: &Cpu, look_at: u64) -> u64 {
    look_at.saturating_sub(cpu.instructions).saturating_add(MAX_INSTRUCTIONS as u64 - 1)
}
