//! Look-ups that serve several accesses: where a path uses one base register again and again, the host address of all
//! that lies near it is looked up once and held in the context, until the register changes.
//!
//! What the TLB allowed stays allowed for as long as the path runs: flushes and messages wait for its end. If the look-up
//! fails, the interpreter executes the one instruction; if it fails again then, as at a page border, the path is left.

use iced_x86::{Instruction, Mnemonic, Register};

use super::context::field;
use super::emitter::host::RAX;
use super::emitter::{At, condition, group};
use super::memory::{Need, is_wide};
use super::native::{Shape, memory_operand, shape};
use super::registers::{Home, home, spilled};
use super::stubs::context;
use super::unit::{Builder, Unsupported};

/// Most bytes that a look-up spans: the more, the more often a page border lies between.
const MAX_SPAN: i32 = 128;
/// A path is made anew, holding nothing, when look-ups have failed so often: at a page border they do for ever.
const FUSE: i32 = 64;
/// Places in the context.
pub(super) const PLACES: usize = 4;

/// Bytes near a base register, and where their host address is held.
#[derive(Clone, Copy)]
pub(super) struct Held {
    base: Register,
    low: i32,
    high: i32,
    write: bool,
    place: usize,
    /// Accesses that it may serve.
    uses: u32,
}

/// What is held now, and the place to be used next.
#[derive(Clone, Copy, Default)]
pub(super) struct Holds {
    held: [Option<Held>; PLACES],
    next: usize,
}

impl Holds {
    fn find(&self, access: &Access) -> Option<Held> {
        let serves = |held: &&Held| {
            held.base == access.base
                && held.low <= access.low
                && access.high <= held.high
                && (held.write || !access.write)
        };
        self.held.iter().flatten().find(serves).copied()
    }

    /// Forgets what depends on the registers of these numbers.
    pub(super) fn forget(&mut self, written: u16) {
        for held in &mut self.held {
            if held.is_some_and(|held| number(held.base).is_some_and(|bit| written >> bit & 1 != 0)) {
                *held = None;
            }
        }
    }
}

/// A base's number; RIP has none, and does not change within a page.
fn number(base: Register) -> Option<usize> {
    base.is_gpr64().then(|| base.number() & 15)
}

/// An access at a base and a displacement.
struct Access {
    base: Register,
    low: i32,
    high: i32,
    write: bool,
}

/// The access of an instruction, if it is one that needs no more than a base register.
fn access(insn: &Instruction, write: bool, size: u32) -> Option<Access> {
    let base = insn.memory_base();
    let based = matches!(insn.memory_segment(), Register::FS | Register::GS);
    if !(base.is_gpr64() || base == Register::RIP)
        || insn.memory_index() != Register::None
        || based
        || !is_wide(insn)
    {
        return None;
    }
    let low = i32::try_from(insn.memory_displacement64() as i64).ok()?;
    Some(Access { base, low, high: low.checked_add(size as i32)?, write })
}

/// What an instruction further on will access, for all that can be foreseen.
fn foreseen(insn: &Instruction) -> Option<Access> {
    use Mnemonic as M;
    let operand = memory_operand(insn)?;
    let size = insn.memory_size().size() as u32;
    let write = match shape(insn) {
        Some(_) if insn.has_lock_prefix() || matches!(insn.mnemonic(), M::Xchg | M::Cmpxchg16b) => {
            return None;
        }
        Some(shape) => operand == 0 && shape != Shape::Reads && !matches!(insn.mnemonic(), M::Mul | M::Imul),
        None if matches!(
            insn.mnemonic(),
            M::Movdqu | M::Movups | M::Vmovdqu | M::Vmovups | M::Movq | M::Movd
        ) =>
        {
            operand == 0
        }
        None => return None,
    };
    access(insn, write, size).filter(|_| matches!(size, 1 | 2 | 4 | 8 | 16 | 32))
}

impl Builder<'_> {
    /// Puts the host address for the memory operand into RAX but for the offset that it answers, or branches to the slow
    /// path; RBP may be lost. Flags are kept, or forgotten as [`Builder::clobber_flags`] does.
    pub(super) fn locate(&mut self, insn: &Instruction, need: Need) -> Result<i32, Unsupported> {
        if let Some(access) = access(insn, need.write, need.size).filter(|_| !need.aligned || need.size == 1)
        {
            if let Some(held) = self.holds.find(&access) {
                self.e.load(RAX, place(held.place));
                return Ok(access.low - held.low);
            }
            if let Some(held) = self.reach(self.at, &access).filter(|_| self.source.holds) {
                self.clobber_flags();
                self.look_up(&held)?;
                self.e.store(RAX, place(held.place));
                self.holds.next = (held.place + 1) % PLACES;
                if let Some(place) = self.holds.held.get_mut(held.place) {
                    *place = Some(held);
                }
                self.holding = Some(held);
                return Ok(access.low - held.low);
            }
        }
        self.clobber_flags();
        self.linear(insn)?;
        self.translate_address(need);
        Ok(0)
    }

    /// What is to be held from the access of a step on; `None` if no other access gains.
    fn reach(&self, at: usize, first: &Access) -> Option<Held> {
        let part = self.steps.get(at)?.part;
        let bit = number(first.base);
        let changes = |written: u16| bit.is_some_and(|bit| written >> bit & 1 != 0);
        let place = self.holds.next;
        let Access { base, low, high, write } = *first;
        let mut held = Held { base, low, high, write, place, uses: 1 };
        for (number, step) in self.steps.iter().enumerate().skip(at) {
            if number != at
                && let Some(next) = foreseen(&step.insn).filter(|next| next.base == base)
                // A page that may only be read, as yet, is not written to unless it is certain.
                && (!next.write || held.write || step.part == part)
            {
                let (low, high) = (held.low.min(next.low), held.high.max(next.high));
                if high.checked_sub(low).is_some_and(|span| span <= MAX_SPAN) {
                    (held.low, held.high) = (low, high);
                    held.write |= next.write;
                    held.uses += 1;
                }
            }
            if changes(step.writes) {
                break;
            }
        }
        (held.uses > 1).then_some(held)
    }

    /// Does the access of a step go with more others than those `accesses` of a run, or with a look-up there has been?
    pub(super) fn prefers_to_hold(&self, at: usize, accesses: u32) -> bool {
        let Some(first) = self.steps.get(at).and_then(|step| foreseen(&step.insn)) else { return false };
        if !self.source.holds {
            return false;
        }
        self.holds.find(&first).is_some() || self.reach(at, &first).is_some_and(|held| held.uses > accesses)
    }

    /// Puts the host address of the lowest byte into RAX, or branches to the slow path; flags and RBP are lost.
    fn look_up(&mut self, held: &Held) -> Result<(), Unsupported> {
        let low = match held.base {
            Register::RIP => {
                self.e.load(RAX, context(field::PAGE));
                At::Base(RAX, held.low.checked_add(i32::from(self.source.offset)).ok_or(Unsupported)?)
            }
            base => match home(base).ok_or(Unsupported)? {
                Home::Host(host) => At::Base(host, held.low),
                Home::Spilled(index) => {
                    self.e.load(RAX, spilled(index));
                    At::Base(RAX, held.low)
                }
            },
        };
        self.e.lea(RAX, low);
        let size = (held.high - held.low) as u32;
        self.translate_address(Need { write: held.write, size, aligned: false });
        Ok(())
    }

    /// The slot that counts how often the path is yet left before it is made anew.
    fn fuse(&mut self) -> u64 {
        if let Some(fuse) = self.fuse {
            return fuse;
        }
        let fuse = self.take_slots(1);
        self.slots.push((fuse, FUSE as u64));
        self.fuse = Some(fuse);
        fuse
    }

    /// Out of line, behind the interpreter's execution of step `at`, the first to use what is held: looks up again, or
    /// leaves the path.
    pub(super) fn look_up_again(&mut self, held: &Held, at: usize) {
        self.branches.clear();
        if self.look_up(held).is_err() {
            return;
        }
        self.e.store(RAX, place(held.place));
        let found = self.e.branch_always();
        for branch in self.branches.drain(..) {
            self.e.land(branch);
        }
        let left = self.steps.len().saturating_sub(at + 1);
        if left != 0 {
            self.e.memory_immediate(false, group::ADD, context(field::BUDGET), left as i8);
        }
        let next = self.steps.get(at).map_or(0, |step| step.insn.next_ip());
        self.e.load(RAX, context(field::PAGE));
        self.e.lea(RAX, At::Base(RAX, i32::from(self.source.offset).wrapping_add(next as i32)));
        // sub dword [fuse], 1
        let fuse = self.fuse();
        self.e.memory_immediate(false, group::SUB, At::Near(fuse), 1);
        self.e.jump_if(condition::NOT_EQUAL, self.stubs.lookup[self.user]);
        self.e.store_immediate(false, At::Near(fuse), FUSE);
        self.e.store(RAX, context(field::TARGET));
        self.e.store_immediate(true, context(field::LINK), 0);
        self.e.store_immediate(false, context(field::OFFSET), i32::from(self.source.offset));
        self.e.jump(self.stubs.vain);
        self.e.land(found);
    }
}

fn place(number: usize) -> At {
    context(field::HELD + 8 * number as i32)
}
