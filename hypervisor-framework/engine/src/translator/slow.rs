//! What stands out of line: the interpreter's part of an instruction, and ways out that are seldom taken.

use super::context::field;
use super::emitter::host::RAX;
use super::emitter::{At, Emitter, condition, opcode};
use super::flags::{emit_load_flags, emit_save_flags};
use super::held::Held;
use super::lazy::Origin;
use super::registers::STACK_POINTER;
use super::stubs::{context, emit_second_way};
use super::unit::Builder;
use super::vector::Vectors;

/// What a call of the interpreter out of line comes back to.
#[derive(Clone, Copy)]
pub(super) enum Back {
    /// An offset in the block; with the host's flags loaded.
    Resume { at: usize, flags: bool },
    /// The block ends with it.
    End,
}

/// A call of the interpreter out of line: for accesses the TLB does not know.
pub(super) struct Slow {
    /// Its branches in [`Builder::landings`]: first, count.
    branches: (usize, usize),
    part: usize,
    ops: (usize, usize),
    sync: bool,
    vectors: Vectors,
    back: Back,
    lookup: Option<Lookup>,
    /// Where the flags come from that nobody has stored.
    entry: Option<Origin>,
    /// What its step holds.
    holding: Option<(Held, usize)>,
}

/// A look-up of an indirect branch's target, in the context, that may be repeated out of line.
#[derive(Clone, Copy)]
pub(super) struct Lookup {
    /// Its branches.
    pub(super) misses: [usize; 2],
    /// Bytes that the branch takes off the guest's stack.
    pub(super) popped: i32,
}

/// A way out of a block, out of line.
pub(super) enum Leave {
    /// Through the slot or inline cache (odd) `link`; the slot points here first.
    Find { branches: [Option<usize>; 2], link: u64, offset: i32 },
    /// Something is pending.
    Look { branch: usize, offset: i32 },
    /// To [`super::stubs::Stubs::lookup`], in RAX or `target`.
    FindTarget { branch: usize },
}

impl Builder<'_> {
    /// Makes a branch of the block's code lead here, out of line.
    pub(super) fn land(&mut self, branch: usize) {
        let here = self.e.address_here();
        self.cold.land_at(branch, here);
    }

    /// Ends an instruction that may have branched to its slow path: the interpreter executes it there.
    pub(super) fn end_slow(&mut self, vectors: Vectors, back: Back, sync: bool) {
        if !self.branches.is_empty() {
            self.push_slow(vectors, back, sync, None);
        }
    }

    fn push_slow(&mut self, vectors: Vectors, back: Back, sync: bool, lookup: Option<Lookup>) {
        let branches = (self.landings.len(), self.branches.len());
        self.landings.append(&mut self.branches);
        let (part, ops, entry) = (self.part, self.ops, self.entry);
        let holding = self.holding.take().map(|held| (held, self.at));
        self.slow.push(Slow { branches, part, ops, sync, vectors, back, lookup, entry, holding });
    }

    /// Ends an indirect branch.
    pub(super) fn end_lookup(&mut self, lookup: Lookup) {
        self.push_slow(Vectors::default(), Back::End, true, Some(lookup));
    }

    pub(super) fn out_of_line(&mut self) {
        let (slows, leaves) = (std::mem::take(&mut self.slow), std::mem::take(&mut self.leaves));
        for slow in &slows {
            if let Some(Lookup { misses: [unknown, other], popped }) = slow.lookup {
                let commit = |e: &mut Emitter| e.lea(STACK_POINTER, At::Base(STACK_POINTER, popped));
                self.land(other);
                let other = emit_second_way(&mut self.e, commit);
                self.e.land(other);
                self.land(unknown);
                self.e.store_immediate(true, context(field::LINK), 0);
                self.e.call(self.stubs.refetch);
                self.e.registers(true, opcode::TEST, RAX, RAX);
                let unknown = self.e.branch_if(condition::EQUAL);
                commit(&mut self.e);
                // jmp rax
                self.e.raw(&[0xff, 0xe0]);
                self.e.land(unknown);
            }
            for branch in self.landings.iter().skip(slow.branches.0).take(slow.branches.1) {
                self.cold.land_at(*branch, self.e.address_here());
            }
            if let Some(origin) = &slow.entry {
                origin.emit(&mut self.e);
                emit_save_flags(&mut self.e);
            }
            self.vectors = slow.vectors;
            self.write_back_vectors();
            self.part = slow.part;
            self.emit_call(slow.ops, slow.sync);
            match slow.back {
                Back::Resume { at, flags } => {
                    if let Some((held, step)) = &slow.holding {
                        self.look_up_again(held, *step);
                    }
                    self.reload_vectors(slow.vectors);
                    if flags {
                        emit_load_flags(&mut self.e);
                    }
                    self.e.jump(self.cold.address + at as u64);
                }
                Back::End => {
                    self.give_back();
                    self.e.jump(self.stubs.after[self.user]);
                }
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
                    if link & 1 == 0 {
                        self.e.store_immediate(false, context(field::OFFSET), offset);
                        self.e.jump(self.stubs.find);
                    } else {
                        self.e.load(RAX, context(field::PAGE));
                        self.e.lea(RAX, At::Base(RAX, offset));
                        self.e.store(RAX, context(field::TARGET));
                        self.e.jump(self.stubs.refind[self.user]);
                    }
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
