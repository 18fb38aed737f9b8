//! The portable tier: hot guest code becomes host code through Cranelift, on another thread.
//!
//! Blocks of 64-bit code that were interpreted often are compiled together with those that follow them in their page:
//! a region. A region is entered at its first block only. It finds what comes next by the TLB and a table of host
//! addresses. Loads and stores look into the software TLB;
//! whatever misses, and every instruction without a form here, is the interpreter's. So there is one semantics.
#![allow(unsafe_code)] // runs compiled code

mod compile;
mod context;
mod lower;
mod os;
mod source;
mod stubs;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::block::{Block, BlockId};
use crate::cpu::control::Mode;
use crate::cpu::{Cpu, Trapped, slot};
use crate::memory::Mailbox;
use compile::{Compiler, Job, Worker};
use context::{Context, Jump, Place, exit};
use source::{MAX_BLOCKS, MAX_INSTRUCTIONS, Part, Source};
use stubs::{JUMP_BITS, jump_index};

/// Code starts at multiples of this.
const ALIGNMENT: usize = 32;
/// Bytes of code that may be kept at least and at most.
const CACHE: std::ops::RangeInclusive<usize> = 1 << 20..=1 << 30;

/// Why [`Portable::run`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exited {
    /// The next block is to be found.
    Find,
    /// Something wants a look between instructions.
    Look,
    /// As [`crate::block::Flow::Stop`].
    Stop,
    /// As [`crate::block::Flow::Trap`].
    Trap,
}

/// Where a region's code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compiled(u64);

type Enter = extern "C" fn(*mut Context, *mut Cpu, u64) -> u32;

/// The compiled code of one CPU.
pub(crate) struct Portable {
    memory: os::Memory,
    context: Box<Context>,
    /// Supervisor's and user's.
    jumps: [Box<[Jump; 1 << JUMP_BITS]>; 2],
    enter: u64,
    /// Offsets in the memory: where regions start, and where the next one goes.
    first: usize,
    next: usize,
    /// Counts the times that everything was dropped: what was asked for before is void.
    epoch: u64,
    requested: HashSet<BlockId>,
    /// For who waits; the worker has its own.
    compiler: Compiler,
    worker: Option<Worker>,
}

// SAFETY: the context's pointers are used only while `run` runs.
unsafe impl Send for Portable {}

impl Portable {
    /// Room for `cache` bytes of code; `None` if the host or Cranelift cannot.
    pub(crate) fn new(cache: usize) -> Option<Self> {
        let table = || Box::new([Jump::NONE; 1 << JUMP_BITS]);
        let size = cache.clamp(*CACHE.start(), *CACHE.end()).next_multiple_of(1 << 16);
        let mut memory = os::Memory::new(size)?;
        let mut compiler = Compiler::new()?;
        let mut next = 0;
        let mut put = |code: Vec<u8>| {
            let at = next;
            memory.write(at, &code)?;
            next = (at + code.len()).next_multiple_of(ALIGNMENT);
            Some(memory.address() + at as u64)
        };
        let enter = put(stubs::enter(&mut compiler)?)?;
        let lookup = put(stubs::lookup(&mut compiler)?)?;
        let preserving = put(stubs::preserving(&mut compiler)?)?;
        Some(Self {
            memory,
            context: Box::new(Context::new(lookup, preserving)),
            jumps: [table(), table()],
            enter,
            first: next,
            next,
            epoch: 0,
            requested: HashSet::new(),
            compiler,
            worker: None,
        })
    }

    /// Can blocks of this mode be compiled? 64-bit code, but for instructions that run alone.
    pub(crate) fn takes(mode: Mode) -> bool {
        mode.is64() && !mode.has(Mode::SINGLE)
    }

    /// Has the region that starts with a block been asked for?
    pub(crate) fn requested(&self, id: BlockId) -> bool {
        self.requested.contains(&id)
    }

    /// Asks for the region that starts with a block; `get` finds blocks.
    pub(crate) fn request<'a>(
        &mut self,
        root: BlockId,
        get: impl Fn(BlockId) -> Option<&'a Block>,
        mailbox: &Arc<Mailbox>,
    ) {
        let Some(source) = region(root, get) else {
            self.requested.insert(root);
            return;
        };
        if self.worker.is_none() {
            self.worker = Worker::start(Arc::clone(mailbox));
        }
        let job = Job { id: root, epoch: self.epoch, source };
        if self.worker.as_ref().is_some_and(|worker| worker.submit(job)) {
            self.requested.insert(root);
        }
    }

    /// Takes in what has been compiled; answers the blocks and where their code is. `alive` tells whether a block still is.
    pub(crate) fn install(&mut self, alive: impl Fn(BlockId) -> bool) -> (Vec<(BlockId, Compiled)>, bool) {
        let mut made = Vec::new();
        let mut full = false;
        while let Some(done) = self.worker.as_ref().and_then(Worker::take) {
            let Some(code) = done.code else { continue };
            if done.epoch != self.epoch || !alive(done.id) {
                continue;
            }
            let Some(at) = self.put(&code) else {
                full = true;
                break;
            };
            made.push((done.id, Compiled(at)));
        }
        if full {
            self.clear();
            made.clear();
        }
        (made, full)
    }

    fn put(&mut self, code: &[u8]) -> Option<u64> {
        let at = self.next;
        self.memory.write(at, code)?;
        self.next = (at + code.len()).next_multiple_of(ALIGNMENT);
        Some(self.memory.address() + at as u64)
    }

    /// Compiles the region that starts with a block, here and now.
    pub(crate) fn compile<'a>(
        &mut self,
        root: BlockId,
        get: impl Fn(BlockId) -> Option<&'a Block>,
    ) -> Option<Compiled> {
        let source = region(root, get)?;
        let code = lower::compile(&mut self.compiler, &source)?;
        self.put(&code).map(Compiled)
    }

    /// Runs compiled code from a region on until the next block would exceed `budget` instructions. Answers how many were
    /// executed.
    pub(crate) fn run(&mut self, cpu: &mut Cpu, code: Compiled, budget: u64) -> (Exited, u64) {
        let budget = i64::try_from(budget).unwrap_or(i64::MAX);
        let user = cpu.mode.has(Mode::USER);
        let context = &mut *self.context;
        context.cpu = cpu;
        context.tlb = cpu.mmu.current_entries();
        context.page = cpu.rip & !0xfff;
        context.pending = cpu.mailbox.pending_word();
        context.jumps = self.jumps[usize::from(user)].as_ptr();
        context.budget = budget;
        context.mode = cpu.mode.0;
        // SAFETY: `enter` is the stub of that type, and `code` a region that was not dropped since.
        let answer =
            unsafe { std::mem::transmute::<*const (), Enter>(self.enter as *const ()) }(context, cpu, code.0);
        context.cpu = std::ptr::null_mut();
        context.settle(&mut cpu.flags);
        if answer == exit::ACCESS {
            let place = Place::unpack(context.place);
            let start = context.page.wrapping_add(u64::from(place.block));
            cpu.regs[slot::BLOCK_RIP as usize] = start;
            cpu.rip = start;
            cpu.trapped = Trapped { start: place.start, len: place.len, stack_segment: place.stack };
        }
        let used = budget - context.budget;
        let exited = match answer {
            exit::FIND => Exited::Find,
            exit::LOOK => Exited::Look,
            exit::STOP => Exited::Stop,
            _ => Exited::Trap,
        };
        (exited, u64::try_from(used).unwrap_or_default())
    }

    /// Remembers where the code of a host address is.
    pub(crate) fn remember(&mut self, code: Compiled, host: usize, user: bool) {
        let key = host as u64;
        if let Some(entry) = self.jumps[usize::from(user)].get_mut(jump_index(key)) {
            *entry = Jump { key, code: code.0 };
        }
    }

    /// Blocks were dropped, some with code: it is not to be found again.
    pub(crate) fn forget(&mut self) {
        for table in &mut self.jumps {
            table.fill(Jump::NONE);
        }
    }

    /// Drops all code.
    pub(crate) fn clear(&mut self) {
        self.epoch += 1;
        self.next = self.first;
        self.requested.clear();
        self.forget();
    }

    /// Bytes in use.
    pub(crate) fn footprint(&self) -> usize {
        self.next + self.jumps.iter().map(|table| size_of_val(&**table)).sum::<usize>()
    }
}

/// The block and those that have followed it within its page.
fn region<'a>(root: BlockId, get: impl Fn(BlockId) -> Option<&'a Block>) -> Option<Source> {
    let mut ids = vec![root];
    let mut places = HashMap::from([(root, 0_usize)]);
    let mut parts: Vec<Part> = Vec::new();
    let mut instructions = 0;
    while let Some(id) = ids.get(parts.len()).copied() {
        let block = get(id).filter(|block| !block.dead.get())?;
        let mut part = Part::new(block)?;
        instructions += block.instructions;
        for (edge, next) in part.next.iter_mut().zip(&block.chain) {
            let next = next.get();
            let known = places.get(&next).copied();
            let room = ids.len() < MAX_BLOCKS && instructions < MAX_INSTRUCTIONS;
            let fits = |block: &Block| !block.dead.get() && Part::new(block).is_some();
            *edge = match known {
                Some(place) => Some(place),
                None if room && get(next).is_some_and(fits) => {
                    ids.push(next);
                    places.insert(next, ids.len() - 1);
                    Some(ids.len() - 1)
                }
                None => None,
            };
        }
        parts.push(part);
    }
    Some(Source { parts })
}
