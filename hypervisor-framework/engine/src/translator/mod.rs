//! Same-ISA translation for x86-64 hosts: hot blocks of 64-bit guest code become host code.
//!
//! Guest registers live in host registers and guest flags in host flags; what cannot run on the host as it is — memory
//! operands, branches, anything privileged — is rewritten or calls the interpreter's own functions, so that there is
//! one semantics. Code depends on the offset of a block in its page, not on the page's linear address.
//!
//! At the seams between blocks all state but the general registers is in memory: arithmetic flags in the context (as
//! LAHF and SETO give them), XMM registers in [`Cpu`]. Within a block flags are stored only where they cannot be worked
//! out again (`lazy`), and neighbouring accesses share a look-up in the TLB (`runs`, `held`). What mostly follows a block is
//! translated with it (`path`). Blocks of one page are chained through slots. Across pages the TLB says which host page the
//! target is in; an inline cache compares that page, indirect branches look into a table by host address. So a flush of
//! translations costs no link. Each loop passes a test of the pending word, each block counts down a budget.
#![allow(unsafe_code)] // runs generated code

mod avx;
mod bits;
mod bmi;
mod branch;
mod context;
mod emitter;
mod flags;
mod float;
mod held;
mod lazy;
mod memory;
mod native;
mod path;
mod region;
mod registers;
mod runs;
mod simd;
mod slow;
mod strings;
mod stubs;
mod system;
mod system_call;
mod unit;
mod vector;

use iced_x86::{Encoder, InstructionInfoFactory};

use crate::Level;
use crate::block::Block;
use crate::cpu::Cpu;
use crate::cpu::control::Mode;
use context::{Context, Jump, Shadow, exit};
use emitter::Emitter;
use region::Region;
use stubs::{JUMP_BITS, Stubs};
use unit::{Buffers, Builder, Source};

/// A block's longest code, bytes: room that must be left for it.
const MAX_CODE: usize = 64 << 10;
/// Slots a block may use, bytes.
const MAX_SLOTS: u64 = 64;
/// Entries of dropped blocks before inline caches and tables, which may lead there, are forgotten.
const MAX_GONE: u32 = 32;

/// Why [`Translator::run`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// The next block is to be found, and may be linked.
    Find(Link),
    /// The next block is to be found; the one at this linear address is to be translated without held look-ups.
    Vain(u64),
    /// Something wants a look between instructions.
    Look,
    /// As [`crate::block::Flow::Stop`].
    Stop,
    /// As [`crate::block::Flow::Trap`].
    Trap,
}

/// A way out of a block that can lead to the next one directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    address: u64,
    epoch: u64,
}

/// Where a block's code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    entry: u64,
    gone: u64,
    /// See [`Translator::epoch`].
    epoch: u64,
}

type Enter = extern "sysv64" fn(*mut Context, u64) -> u32;

/// The generated code of one CPU.
pub(crate) struct Translator {
    region: Region,
    context: *mut Context,
    /// Supervisor's and user's; the context points into them.
    jumps: [Box<[Jump]>; 2],
    stubs: Stubs,
    /// Where blocks begin, the next one goes, and what is out of line begins and goes on.
    first: u64,
    next: u64,
    middle: u64,
    cold: u64,
    slot: u64,
    caches: Vec<u64>,
    encoder: Encoder,
    info: InstructionInfoFactory,
    buffers: Buffers,
    /// Counts flushes of all code: older links are void.
    epoch: u64,
    level: Level,
}

// SAFETY: the context lies in the region, which moves with the value; it refers to the CPU only while `run` runs.
unsafe impl Send for Translator {}

/// LAHF and SAHF exist in 64-bit mode (CPUID 0x80000001, ECX bit 0).
fn host_can() -> bool {
    let highest = std::arch::x86_64::__cpuid(0x8000_0000).eax;
    highest >= 0x8000_0001 && std::arch::x86_64::__cpuid(0x8000_0001).ecx & 1 != 0
}

/// The highest level of which the host has all instructions.
pub(crate) fn host_level() -> Level {
    use std::arch::is_x86_feature_detected as has;
    let vectors = has!("avx2") && has!("fma") && has!("f16c");
    let general = has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("movbe");
    if vectors && general { Level::V3 } else { Level::V2 }
}

impl Translator {
    /// A translator with room for `cache` bytes of code; `None` if the host cannot.
    pub(crate) fn new(cache: usize, level: Level) -> Option<Self> {
        if !host_can() {
            return None;
        }
        let mut region = Region::new(cache)?;
        let mut e = Emitter::new(region.code_address());
        let stubs = stubs::emit(&mut e);
        region.write_code(e.address, &e.bytes)?;
        let mut jumps = [(); 2].map(|()| vec![Jump::NONE; 2 << JUMP_BITS].into_boxed_slice());
        let context = region.top_of_stack::<Context>();
        let value = Context {
            cpu: std::ptr::null_mut(),
            tlb: std::ptr::null(),
            page: 0,
            jumps: jumps.each_mut().map(|table| table.as_mut_ptr()),
            pending: std::ptr::null(),
            budget: 0,
            flags: 0,
            spilled: [0; 3],
            held: [0; held::PLACES],
            target: 0,
            link: 0,
            exit: 0,
            offset: 0,
            unit: std::ptr::null(),
            back: 0,
            host_stack: 0,
            gone: 0,
            run_ops: context::run_ops,
            refetch: context::refetch,
            system_call: system_call::enter,
            system_return: system_call::leave,
            ends: [0; 2],
            mode: 0,
            shadow: Shadow::default(),
            shadow_at: 0,
        };
        // SAFETY: the region keeps that place, which is writable and aligned, for the context.
        unsafe { context.write(value) };
        let first = e.address_here().next_multiple_of(64);
        // Both parts grow alike.
        let middle = (region.code_address() + region.code_size() as u64 / 2).next_multiple_of(64);
        let slot = region.slots().start;
        let (encoder, info, caches) = (Encoder::new(64), InstructionInfoFactory::new(), Vec::new());
        Some(Self {
            region,
            context,
            jumps,
            stubs,
            first,
            next: first,
            middle,
            cold: middle,
            slot,
            caches,
            encoder,
            info,
            buffers: Buffers::default(),
            epoch: 0,
            level,
        })
    }

    fn context(&mut self) -> &mut Context {
        // SAFETY: written in `new`; generated code, the only other user, does not run now.
        unsafe { &mut *self.context }
    }

    /// Can blocks of this mode be translated? 64-bit code, but for instructions that run alone.
    pub(crate) fn takes(mode: Mode) -> bool {
        mode.is64() && !mode.has(Mode::SINGLE)
    }

    /// Translates a block and those of its page that may follow one after the other; `None` if there is no room left.
    pub(crate) fn translate(&mut self, parts: &[&Block], mode: Mode) -> Option<Code> {
        let end = self.region.code_address() + self.region.code_size() as u64;
        let room = MAX_CODE as u64;
        if self.next + room > self.middle
            || self.cold + room > end
            || self.slot + 64 * MAX_SLOTS > self.region.slots().end
        {
            return None;
        }
        let offset = parts.first()?.offset;
        let holds = !parts.first()?.plain.get();
        let source = Source { parts, offset, user: mode.has(Mode::USER), level: self.level, holds };
        let buffers = std::mem::take(&mut self.buffers);
        let tools = (&mut self.encoder, &mut self.info);
        let builder = Builder::new((self.next, self.cold), self.slot, tools, &self.stubs, source, buffers);
        let made = builder.build();
        self.buffers = made.buffers;
        let buffers = &self.buffers;
        self.region.write_code(self.next, &buffers.bytes)?;
        self.region.write_code(self.cold, &buffers.cold)?;
        let code = Code { entry: self.next, gone: made.gone, epoch: self.epoch };
        for (slot, value) in &buffers.slots {
            self.region.write_slot(*slot, *value)?;
        }
        for cache in &buffers.caches {
            self.region.write_slot(*cache, 0)?;
        }
        self.slot += 8 * (buffers.slots.len() + 2 * buffers.caches.len()) as u64;
        self.caches.extend_from_slice(&buffers.caches);
        self.next += buffers.bytes.len() as u64;
        self.cold += buffers.cold.len() as u64;
        Some(code)
    }

    /// Runs generated code from a block on until the next one would exceed `budget` instructions. Answers how many were
    /// executed.
    pub(crate) fn run(&mut self, cpu: &mut Cpu, code: Code, budget: u64) -> (Left, u64) {
        let budget = i32::try_from(budget).unwrap_or(i32::MAX);
        let enter = self.stubs.enter;
        let epoch = self.epoch;
        let context = self.context();
        context.cpu = cpu;
        context.tlb = cpu.mmu.current_entries();
        context.page = cpu.rip & !0xfff;
        context.pending = cpu.mailbox.pending_word();
        context.budget = budget;
        context.flags = context::to_raw(cpu.flags.arithmetic());
        context.link = 0;
        context.mode = cpu.mode.0;
        context.shadow = Shadow::default();
        // SAFETY: `enter` is the stub of that type, and `code` the entry of a block that was not flushed since.
        let outcome =
            unsafe { std::mem::transmute::<*const (), Enter>(enter as *const ()) }(self.context, code.entry);
        let context = self.context();
        context.cpu = std::ptr::null_mut();
        cpu.flags.set_arithmetic(context::from_raw(context.flags));
        if context.shadow_at == context.budget {
            context.shadow.restore(cpu);
        }
        if context.gone >= MAX_GONE {
            context.gone = 0;
            self.forget_targets();
        }
        let context = self.context();
        let used = i64::from(budget) - i64::from(context.budget);
        let left = match outcome {
            exit::FIND => Left::Find(Link { address: context.link, epoch }),
            exit::VAIN => Left::Vain(context.page | u64::from(context.offset)),
            exit::LEAVE => Left::Look,
            exit::STOP => Left::Stop,
            _ => Left::Trap,
        };
        (left, used as u64)
    }

    /// Makes a way out lead to the block just found at the host address.
    pub(crate) fn link(&mut self, link: Link, code: Code, host: usize) {
        if link.address == 0 || link.epoch != self.epoch {
            return;
        }
        let address = link.address & !1;
        if link.address & 1 == 0 {
            let _ = self.region.write_slot(address, code.entry);
            return;
        }
        let _ = self.region.write_slot(address, host as u64 & !0xfff);
        let _ = self.region.write_slot(address + 8, code.entry);
    }

    /// Remembers which code stands for the guest's at a host address, for indirect branches.
    pub(crate) fn remember(&mut self, code: Code, host: usize, user: bool) {
        let jump = Jump { host: host as u64, code: code.entry };
        let table = &mut self.jumps[usize::from(user)];
        let index = stubs::jump_index(jump.host);
        let Some(first) = table.get_mut(index) else { return };
        let old = std::mem::replace(first, jump);
        if old.host != jump.host
            && let Some(second) = table.get_mut(stubs::second_way(index))
        {
            *second = old;
        }
    }

    /// A block has other code: who still enters the old one goes there. Links lead to the old one for as long as their
    /// page's blocks live.
    pub(crate) fn replace(&mut self, old: Code, code: Option<Code>) {
        if old.epoch != self.epoch {
            return;
        }
        let mut e = Emitter::new(old.entry);
        e.jump(code.map_or(old.gone, |code| code.entry));
        let _ = self.region.write_code(old.entry, &e.bytes);
    }

    /// A block was dropped: who still enters it goes on elsewhere.
    pub(crate) fn drop_block(&mut self, code: Code) {
        let mut e = Emitter::new(code.entry);
        e.jump(code.gone);
        let _ = self.region.write_code(code.entry, &e.bytes);
    }

    /// Drops all code.
    pub(crate) fn clear(&mut self) {
        self.epoch += 1;
        self.region.forget(self.first);
        (self.next, self.cold) = (self.first, self.middle);
        self.slot = self.region.slots().start;
        self.forget_targets();
        self.caches.clear();
    }

    fn forget_targets(&mut self) {
        for table in &mut self.jumps {
            table.fill(Jump::NONE);
        }
        for cache in &self.caches {
            let _ = self.region.write_slot(*cache, 0);
        }
    }

    /// Bytes in use.
    pub(crate) fn footprint(&self) -> usize {
        let used = (self.next - self.region.code_address())
            + (self.cold - self.middle)
            + (self.slot - self.region.slots().start);
        used as usize
            + self.jumps.iter().map(|table| size_of_val(&**table)).sum::<usize>()
            + size_of_val(&*self.caches)
    }
}

impl Drop for Translator {
    fn drop(&mut self) {
        // SAFETY: written in `new` and not dropped before; the region still lives.
        unsafe { std::ptr::drop_in_place(self.context) };
    }
}
