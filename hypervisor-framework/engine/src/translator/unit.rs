//! The host code of a block and of those on the path behind it: the walk over instructions, calls of the interpreter.

use iced_x86::{Encoder, FlowControl, Instruction, InstructionInfoFactory, RflagsBits};

use super::context::{Unit, field, packed};
use super::emitter::host::{RAX, RBP};
use super::emitter::{At, Emitter, condition, group};
use super::flags::Flags;
use super::held::{Held, Holds};
use super::lazy::{Effect, Origin};
use super::path::Side;
use super::slow::{Leave, Slow};
use super::stubs::{Stubs, context};
use super::vector::Vectors;
use crate::Level;
use crate::block::{Block, Flow};

/// The six arithmetic flags.
pub(super) const ARITHMETIC: u32 =
    RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

/// Blocks begin at multiples of it, bytes.
const ALIGNMENT: usize = 16;

/// The instruction, or this form of it, is the interpreter's.
pub(super) struct Unsupported;

pub(super) type Emitted = Result<(), Unsupported>;

/// An instruction of the block.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) insn: Instruction,
    /// The part it belongs to.
    pub(super) part: usize,
    /// Its micro-ops in that: first, count.
    pub(super) ops: (usize, usize),
    pub(super) effect: Effect,
    /// The general registers that it may write, bits by number.
    pub(super) writes: u16,
}

/// See [`Builder::save_state`].
pub(super) struct Saved {
    code: usize,
    flags: (Flags, Option<Origin>, usize),
    vectors: Vectors,
    holds: Holds,
    deferred: Option<(usize, usize, bool)>,
    leaves: usize,
    slow: usize,
    slots: (u64, usize, usize),
}

/// What to translate.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// A block, and those that may follow one after the other.
    pub(super) parts: &'a [&'a Block],
    /// Offset of the first byte in the page.
    pub(super) offset: u16,
    pub(super) user: bool,
    /// The instructions the guest has.
    pub(super) level: Level,
    /// Look-ups are held for later accesses.
    pub(super) holds: bool,
}

/// Buffers that one translation leaves to the next.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) bytes: Vec<u8>,
    /// The code out of line.
    pub(super) cold: Vec<u8>,
    steps: Vec<Step>,
    sides: Vec<Side>,
    branches: Vec<usize>,
    landings: Vec<usize>,
    slow: Vec<Slow>,
    leaves: Vec<Leave>,
    /// Slots and what they hold first.
    pub(super) slots: Vec<(u64, u64)>,
    /// Inline caches made.
    pub(super) caches: Vec<u64>,
}

impl Buffers {
    fn clear(&mut self) {
        self.steps.clear();
        self.sides.clear();
        self.bytes.clear();
        self.cold.clear();
        self.branches.clear();
        self.landings.clear();
        self.slow.clear();
        self.leaves.clear();
        self.slots.clear();
        self.caches.clear();
    }
}

/// A block being translated.
pub(super) struct Builder<'a> {
    pub(super) e: Emitter,
    /// What is seldom run, elsewhere, so that what is often run lies close together.
    pub(super) cold: Emitter,
    pub(super) encoder: &'a mut Encoder,
    pub(super) stubs: &'a Stubs,
    pub(super) source: Source<'a>,
    /// 0 supervisor, 1 user.
    pub(super) user: usize,
    pub(super) flags: Flags,
    /// Where the flags come from, and the step that wrote them.
    pub(super) origin: Option<Origin>,
    pub(super) origin_at: usize,
    /// Where those come from that the current step found stored nowhere.
    pub(super) entry: Option<Origin>,
    pub(super) vectors: Vectors,
    pub(super) steps: Vec<Step>,
    /// The current step, and its part.
    pub(super) at: usize,
    pub(super) part: usize,
    /// Ways out of parts that are followed by another.
    pub(super) sides: Vec<Side>,
    /// Host addresses in the context, and the one that the current step has put there.
    pub(super) holds: Holds,
    pub(super) holding: Option<Held>,
    /// See [`Builder::fuse`].
    pub(super) fuse: Option<u64>,
    /// No run begins before this step.
    pub(super) no_run_before: usize,
    pub(super) info: &'a mut InstructionInfoFactory,
    /// Branches to the current instruction's slow path.
    pub(super) branches: Vec<usize>,
    /// The micro-ops of the current instruction: first, count.
    pub(super) ops: (usize, usize),
    /// Branches to slow paths of the instructions before.
    pub(super) landings: Vec<usize>,
    pub(super) slow: Vec<Slow>,
    pub(super) leaves: Vec<Leave>,
    /// Address of the next free slot.
    pub(super) slot: u64,
    /// Slots and what they hold first.
    pub(super) slots: Vec<(u64, u64)>,
    /// Inline caches made.
    pub(super) caches: Vec<u64>,
    /// Interpreted instructions not yet emitted: first micro-op, count, whether they touch flags.
    deferred: Option<(usize, usize, bool)>,
    unit: u64,
}

/// What came of it.
pub(super) struct Made {
    pub(super) buffers: Buffers,
    /// Where the block goes once its code was overwritten.
    pub(super) gone: u64,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        (address, cold): (u64, u64),
        slot: u64,
        (encoder, info): (&'a mut Encoder, &'a mut InstructionInfoFactory),
        stubs: &'a Stubs,
        source: Source<'a>,
        mut buffers: Buffers,
    ) -> Self {
        buffers.clear();
        let Buffers {
            bytes,
            cold: cold_bytes,
            steps,
            sides,
            branches,
            landings,
            slow,
            leaves,
            slots,
            caches,
        } = buffers;
        Self {
            e: Emitter { bytes, address },
            cold: Emitter { bytes: cold_bytes, address: cold },
            encoder,
            stubs,
            source,
            user: usize::from(source.user),
            flags: Flags::Memory,
            origin: None,
            origin_at: 0,
            entry: None,
            vectors: Vectors::default(),
            steps,
            at: 0,
            part: 0,
            sides,
            holds: Holds::default(),
            holding: None,
            fuse: None,
            no_run_before: 0,
            info,
            branches,
            ops: (0, 0),
            landings,
            slow,
            leaves,
            slot,
            slots,
            caches,
            deferred: None,
            unit: cold,
        }
    }

    /// Translates.
    pub(super) fn build(mut self) -> Made {
        self.decode();
        let instructions = self.instructions_from(0);
        for (number, part) in self.source.parts.iter().enumerate() {
            let unit = Unit {
                ops: part.ops.as_ptr(),
                len: part.ops.len() as u32,
                offset: part.offset,
                instructions: self.instructions_from(number) as u16,
            };
            self.cold.raw(&(unit.ops as u64).to_le_bytes());
            self.cold.raw(&unit.len.to_le_bytes());
            self.cold.raw(&unit.offset.to_le_bytes());
            self.cold.raw(&unit.instructions.to_le_bytes());
        }
        self.e.memory_immediate(false, group::SUB, context(field::BUDGET), instructions as i8);
        let spent = self.e.branch_if(condition::SIGN);

        self.instructions();
        self.side_exits();

        while !self.e.here().is_multiple_of(ALIGNMENT) {
            self.e.byte(0xcc);
        }
        std::mem::swap(&mut self.e, &mut self.cold);
        self.land(spent);
        self.e.memory_immediate(false, group::ADD, context(field::BUDGET), instructions as i8);
        self.e.store_immediate(false, context(field::OFFSET), i32::from(self.source.offset));
        self.e.jump(self.stubs.look);
        let gone = self.e.address_here();
        self.e.constant(RAX, u64::from(self.source.offset));
        self.e.jump(self.stubs.gone[self.user]);
        self.out_of_line();
        // A unit is read as what it is.
        while !self.e.here().is_multiple_of(align_of::<Unit>()) {
            self.e.byte(0xcc);
        }
        let Self { e: cold, cold: e, steps, sides, branches, landings, slow, leaves, slots, caches, .. } =
            self;
        let (bytes, cold) = (e.bytes, cold.bytes);
        let buffers = Buffers { bytes, cold, steps, sides, branches, landings, slow, leaves, slots, caches };
        Made { buffers, gone }
    }

    fn instructions(&mut self) {
        let mut at = 0;
        while let Some(&Step { insn, ops, part, .. }) = self.steps.get(at) {
            if part != self.part {
                self.flush_deferred();
                self.part = part;
            }
            if let Some(behind) = self.try_run(at) {
                at = behind;
                continue;
            }
            (self.at, self.ops) = (at, ops);
            at += 1;
            let count = ops.1;
            let last = part + 1 == self.source.parts.len() && ops.0 + count >= self.part_ops();
            if count == 0 || self.try_native(&insn) {
                if last {
                    if count != 0 && insn.flow_control() == FlowControl::Next {
                        self.leave_behind(insn.next_ip());
                    }
                    return;
                }
                continue;
            }
            let named = (insn.rflags_read() | insn.rflags_modified()) & ARITHMETIC != 0;
            let touches = named || super::native::keeps_flags(&insn);
            self.deferred = Some(match self.deferred {
                Some((from, held, sync)) => (from, held + count, sync | touches),
                None => (self.ops.0, count, touches),
            });
            if last {
                let Some((from, held, _)) = self.deferred.take() else { return };
                self.call((from, held), true);
                let after = self.stubs.after[self.user];
                if matches!(insn.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch) {
                    self.e.memory_immediate(false, group::CMP, context(field::EXIT), Flow::Fall as i8);
                    self.e.jump_if(condition::NOT_EQUAL, after);
                    self.leave_behind(insn.next_ip());
                } else {
                    self.e.jump(after);
                }
                return;
            }
        }
        self.flush_deferred();
        let next = self.steps.last().map_or(0, |step| step.insn.next_ip());
        self.leave_behind(next);
    }

    /// The block goes on behind its last instruction.
    fn leave_behind(&mut self, next: u64) {
        self.save_flags();
        self.write_back_vectors();
        // A block is too short for this to fail.
        let _ = self.exit(next as i64, false);
    }

    /// What an attempt to emit may change, for [`Self::restore_state`].
    pub(super) fn save_state(&self) -> Saved {
        Saved {
            code: self.e.here(),
            flags: (self.flags, self.origin, self.origin_at),
            vectors: self.vectors,
            holds: self.holds,
            deferred: self.deferred,
            leaves: self.leaves.len(),
            slow: self.slow.len(),
            slots: (self.slot, self.slots.len(), self.caches.len()),
        }
    }

    pub(super) fn restore_state(&mut self, saved: &Saved) {
        self.e.bytes.truncate(saved.code);
        (self.flags, self.origin, self.origin_at) = saved.flags;
        (self.vectors, self.holds, self.deferred) = (saved.vectors, saved.holds, saved.deferred);
        self.holding = None;
        self.leaves.truncate(saved.leaves);
        self.slow.truncate(saved.slow);
        self.slot = saved.slots.0;
        self.slots.truncate(saved.slots.1);
        self.caches.truncate(saved.slots.2);
    }

    /// Emits an instruction as host code, if it can be.
    fn try_native(&mut self, insn: &Instruction) -> bool {
        let saved = self.save_state();
        self.flush_deferred();
        self.branches.clear();
        self.before_step();
        if self.native(insn).is_ok() {
            self.behind_step();
            return true;
        }
        self.restore_state(&saved);
        false
    }

    pub(super) fn flush_deferred(&mut self) {
        if let Some((first, count, sync)) = self.deferred.take() {
            self.call((first, count), sync);
        }
    }

    /// Calls the interpreter for some micro-ops.
    fn call(&mut self, ops: (usize, usize), sync: bool) {
        self.save_flags();
        self.write_back_vectors();
        self.emit_call(ops, sync);
        (self.flags, self.origin) = (Flags::Memory, None);
        self.vectors = Vectors::default();
        self.holds = Holds::default();
    }

    pub(super) fn emit_call(&mut self, ops: (usize, usize), sync: bool) {
        self.e.constant(RAX, u64::from(packed(ops.0, ops.1, sync)));
        self.e.lea(RBP, At::Near(self.unit + (self.part * size_of::<Unit>()) as u64));
        self.e.call(self.stubs.call);
    }
}
