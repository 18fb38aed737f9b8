//! One block's host code: the walk over its instructions, flags, calls of the interpreter.

use iced_x86::{Encoder, Instruction, RflagsBits};

use super::context::{Unit, field, packed};
use super::emitter::host::{RAX, RBP};
use super::emitter::{At, Emitter, condition, group};
use super::stubs::{Stubs, context};
use super::vector::Vectors;
use crate::Level;
use crate::block::Op;

/// The six arithmetic flags.
pub(super) const ARITHMETIC: u32 =
    RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

/// Blocks begin at multiples of it, bytes.
const ALIGNMENT: usize = 16;

/// The instruction, or this form of it, is the interpreter's.
pub(super) struct Unsupported;

pub(super) type Emitted = Result<(), Unsupported>;

/// Where the guest's arithmetic flags are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flags {
    /// In the context only.
    Memory,
    /// In the host's flags only.
    Host,
    Both,
}

/// What a call of the interpreter out of line comes back to.
#[derive(Clone, Copy)]
pub(super) enum Back {
    /// An offset in the block; with the host's flags loaded.
    Resume { at: usize, flags: bool },
    /// The block ends with it.
    End,
}

/// A call of the interpreter out of line: for accesses the TLB does not know.
struct Slow {
    /// Its branches in [`Builder::landings`]: first, count.
    branches: (usize, usize),
    ops: (usize, usize),
    sync: bool,
    vectors: Vectors,
    back: Back,
}

/// A way out of a block, out of line.
pub(super) enum Leave {
    /// Through the slot or inline cache (odd) `link`; the slot points here first.
    Find { branches: [Option<usize>; 2], link: u64, offset: i32 },
    /// Something is pending.
    Look { branch: usize, offset: i32 },
    /// To [`Stubs::lookup`], in RAX or `target`.
    FindTarget { branch: usize },
}

/// A block to translate.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) ops: &'a [Op],
    pub(super) bytes: &'a [u8],
    /// Offset of its first byte in its page.
    pub(super) offset: u16,
    pub(super) user: bool,
    /// The instructions the guest has.
    pub(super) level: Level,
}

/// Buffers that one translation leaves to the next.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) bytes: Vec<u8>,
    /// The code out of line.
    pub(super) cold: Vec<u8>,
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
    cold: Emitter,
    pub(super) encoder: &'a mut Encoder,
    pub(super) stubs: &'a Stubs,
    pub(super) source: Source<'a>,
    /// 0 supervisor, 1 user.
    pub(super) user: usize,
    pub(super) flags: Flags,
    pub(super) vectors: Vectors,
    /// Branches to the current instruction's slow path.
    pub(super) branches: Vec<usize>,
    /// The micro-ops of the current instruction: first, count.
    pub(super) ops: (usize, usize),
    /// Branches to slow paths of the instructions before.
    landings: Vec<usize>,
    slow: Vec<Slow>,
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
        encoder: &'a mut Encoder,
        stubs: &'a Stubs,
        source: Source<'a>,
        mut buffers: Buffers,
    ) -> Self {
        buffers.clear();
        let Buffers { bytes, cold: cold_bytes, branches, landings, slow, leaves, slots, caches } = buffers;
        Self {
            e: Emitter { bytes, address },
            cold: Emitter { bytes: cold_bytes, address: cold },
            encoder,
            stubs,
            source,
            user: usize::from(source.user),
            flags: Flags::Memory,
            vectors: Vectors::default(),
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

    /// Translates the block.
    pub(super) fn build(mut self, instructions: u32) -> Made {
        let unit = Unit {
            ops: self.source.ops.as_ptr(),
            len: self.source.ops.len() as u32,
            offset: self.source.offset,
            instructions: instructions as u16,
        };
        self.cold.raw(&(unit.ops as u64).to_le_bytes());
        self.cold.raw(&unit.len.to_le_bytes());
        self.cold.raw(&unit.offset.to_le_bytes());
        self.cold.raw(&unit.instructions.to_le_bytes());
        self.e.memory_immediate(false, group::SUB, context(field::BUDGET), instructions as i8);
        let spent = self.e.branch_if(condition::SIGN);

        self.instructions(instructions);

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
        let Self { e: cold, cold: e, branches, landings, slow, leaves, slots, caches, .. } = self;
        let (bytes, cold) = (e.bytes, cold.bytes);
        Made { buffers: Buffers { bytes, cold, branches, landings, slow, leaves, slots, caches }, gone }
    }

    /// Makes a branch of the block's code lead here, out of line.
    fn land(&mut self, branch: usize) {
        let here = self.e.address_here();
        self.cold.land_at(branch, here);
    }

    fn instructions(&mut self, instructions: u32) {
        let mut decoder =
            iced_x86::Decoder::with_ip(64, self.source.bytes, 0, iced_x86::DecoderOptions::NONE);
        let mut insn = Instruction::default();
        let mut first = 0;
        for _ in 0..instructions {
            let start = decoder.ip() as u8;
            decoder.decode_out(&mut insn);
            let ops = self.source.ops;
            let count = ops.iter().skip(first).take_while(|op| op.start == start && op.len != 0).count();
            self.ops = (first, count);
            first += count;
            let last = first >= ops.len();
            if count == 0 || self.try_native(&insn) {
                if last {
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
                self.e.jump(self.stubs.after[self.user]);
                return;
            }
        }
        // The block goes on behind its last instruction.
        self.flush_deferred();
        self.save_flags();
        self.write_back_vectors();
        // A block is too short for this to fail.
        let _ = self.exit(decoder.ip() as i64, false);
    }

    /// Emits an instruction as host code, if it can be.
    fn try_native(&mut self, insn: &Instruction) -> bool {
        let before =
            (self.e.here(), self.flags, self.vectors, self.deferred, self.leaves.len(), self.slow.len());
        let slots = (self.slot, self.slots.len(), self.caches.len());
        self.flush_deferred();
        self.branches.clear();
        if self.native(insn).is_ok() {
            return true;
        }
        self.e.bytes.truncate(before.0);
        (self.flags, self.vectors, self.deferred) = (before.1, before.2, before.3);
        self.leaves.truncate(before.4);
        self.slow.truncate(before.5);
        self.slot = slots.0;
        self.slots.truncate(slots.1);
        self.caches.truncate(slots.2);
        false
    }

    fn flush_deferred(&mut self) {
        if let Some((first, count, sync)) = self.deferred.take() {
            self.call((first, count), sync);
        }
    }

    /// Calls the interpreter for some micro-ops.
    fn call(&mut self, ops: (usize, usize), sync: bool) {
        self.save_flags();
        self.write_back_vectors();
        self.emit_call(ops, sync);
        self.flags = Flags::Memory;
        self.vectors = Vectors::default();
    }

    fn emit_call(&mut self, ops: (usize, usize), sync: bool) {
        self.e.constant(RAX, u64::from(packed(ops.0, ops.1, sync)));
        self.e.lea(RBP, At::Near(self.unit));
        self.e.call(self.stubs.call);
    }

    /// Makes sure that the context has the flags.
    pub(super) fn save_flags(&mut self) {
        if self.flags == Flags::Host {
            // lahf; seto al; mov [flags], ax
            self.e.raw(&[0x9f, 0x0f, 0x90, 0xc0, 0x66]);
            self.e.memory(false, super::emitter::opcode::STORE, RAX, context(field::FLAGS));
            self.flags = Flags::Both;
        }
    }

    /// Before the host's flags are overwritten by something that is not the guest's.
    pub(super) fn clobber_flags(&mut self) {
        self.save_flags();
        self.flags = Flags::Memory;
    }

    /// Loads the host's flags; RAX is lost.
    pub(super) fn load_flags(&mut self) {
        if self.flags == Flags::Memory {
            self.emit_load_flags();
            self.flags = Flags::Both;
        }
    }

    fn emit_load_flags(&mut self) {
        // movzx eax, word [flags]; add al, 0x7f; sahf
        self.e.memory(false, &[0x0f, 0xb7], RAX, context(field::FLAGS));
        self.e.raw(&[0x04, 0x7f, 0x9e]);
    }

    /// Ends an instruction that may have branched to its slow path: the interpreter executes it there.
    pub(super) fn end_slow(&mut self, vectors: Vectors, back: Back, sync: bool) {
        if self.branches.is_empty() {
            return;
        }
        let branches = (self.landings.len(), self.branches.len());
        self.landings.append(&mut self.branches);
        self.slow.push(Slow { branches, ops: self.ops, sync, vectors, back });
    }

    fn out_of_line(&mut self) {
        let (slows, leaves) = (std::mem::take(&mut self.slow), std::mem::take(&mut self.leaves));
        for slow in &slows {
            for branch in self.landings.iter().skip(slow.branches.0).take(slow.branches.1) {
                self.cold.land_at(*branch, self.e.address_here());
            }
            self.vectors = slow.vectors;
            self.write_back_vectors();
            self.emit_call(slow.ops, slow.sync);
            match slow.back {
                Back::Resume { at, flags } => {
                    self.reload_vectors(slow.vectors);
                    if flags {
                        self.emit_load_flags();
                    }
                    self.e.jump(self.cold.address + at as u64);
                }
                Back::End => self.e.jump(self.stubs.after[self.user]),
            }
        }
        for leave in &leaves {
            match *leave {
                Leave::Find { branches, link, offset } => {
                    if link & 1 == 0 {
                        self.slots.push((link, self.e.address_here()));
                    }
                    branches.into_iter().flatten().for_each(|branch| self.land(branch));
                    self.e.lea(RAX, At::Near(link));
                    self.e.store(RAX, context(field::LINK));
                    self.e.store_immediate(false, context(field::OFFSET), offset);
                    self.e.jump(self.stubs.find);
                }
                Leave::Look { branch, offset } => {
                    self.land(branch);
                    self.e.store_immediate(false, context(field::OFFSET), offset);
                    self.e.jump(self.stubs.look);
                }
                Leave::FindTarget { branch } => {
                    self.land(branch);
                    self.e.load(RAX, context(field::TARGET));
                    self.e.jump(self.stubs.lookup[self.user]);
                }
            }
        }
        (self.slow, self.leaves) = (slows, leaves);
    }
}
