//! Runs of accesses near one base register: one look-up serves them all.
//!
//! What pushes, pops or uses a structure goes through one page nearly always. The look-up is for all bytes from the first
//! to the last; if it fails, the interpreter executes the whole run.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::emitter::At;
use super::emitter::host::{RAX, RBP};
use super::flags::Flags;
use super::lazy::{Effect, Origin};
use super::memory::{Need, is_wide};
use super::native::{Shape, general_form, is_move, memory_operand, read_spilled, replace_memory, shape};
use super::registers::{Home, STACK_POINTER, home, spilled};
use super::slow::Back;
use super::unit::{Builder, Emitted, Step, Unsupported};

/// Most bytes that a run spans: the more, the more often a page border lies between.
const MAX_SPAN: i32 = 128;

/// What a member of a run does.
#[derive(Clone, Copy)]
enum Member {
    /// PUSH of a register or immediate.
    Push,
    /// POP of a register.
    Pop,
    /// An access at base + displacement.
    Access { displacement: i32, size: u32, write: bool },
    /// ADD or SUB of an immediate to RSP.
    Adjust(i32),
    /// Something else that touches no memory.
    Register,
}

/// A run: its steps, and what it accesses, by offsets from the base's value before it.
struct Run {
    base: Register,
    /// Index of its last step.
    last: usize,
    low: i32,
    high: i32,
    write: bool,
    /// It writes flags.
    flags: bool,
    accesses: u32,
    /// It moves RSP.
    moves: bool,
}

fn uses(insn: &Instruction, register: Register) -> bool {
    (0..insn.op_count())
        .any(|i| insn.op_kind(i) == OpKind::Register && insn.op_register(i).full_register() == register)
        || insn.mnemonic() == Mnemonic::Lea
            && (insn.memory_base() == register || insn.memory_index() == register)
}

/// Does it write the register, its first operand?
fn writes(insn: &Instruction, register: Register) -> bool {
    !matches!(insn.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push)
        && insn.op0_kind() == OpKind::Register
        && insn.op0_register().full_register() == register
}

fn in_host(register: Register) -> bool {
    register == Register::None || matches!(home(register), Some(Home::Host(_)))
}

/// The base register that a run may begin with here.
fn base_of(insn: &Instruction) -> Option<Register> {
    match insn.code() {
        Code::Push_r64 | Code::Pushq_imm8 | Code::Pushq_imm32 | Code::Pop_r64 => Some(Register::RSP),
        _ => memory_operand(insn).map(|_| insn.memory_base()).filter(|base| base.is_gpr64()),
    }
}

/// What a step would be in a run over this base; `None` if it cannot be in one.
fn member(step: &Step, base: Register) -> Option<Member> {
    use Mnemonic as M;
    let insn = &step.insn;
    let stack = base == Register::RSP;
    match insn.code() {
        Code::Push_r64 if stack && insn.op0_register() != Register::RSP => return Some(Member::Push),
        Code::Pushq_imm8 | Code::Pushq_imm32 if stack => return Some(Member::Push),
        Code::Pop_r64 if stack && insn.op0_register() != Register::RSP => return Some(Member::Pop),
        _ => {}
    }
    if step.effect != Effect::Other {
        if writes(insn, base) {
            let immediate = insn.op_count() == 2 && insn.op1_kind() == OpKind::Immediate8to64;
            let amount = || i32::from(insn.immediate8to64() as i8);
            return match insn.mnemonic() {
                M::Add if stack && immediate => Some(Member::Adjust(amount())),
                M::Sub if stack && immediate => Some(Member::Adjust(-amount())),
                _ => None,
            };
        }
        let address = insn.op0_register().size() == 8
            && in_host(insn.op0_register())
            && in_host(insn.memory_base())
            && in_host(insn.memory_index());
        return (insn.mnemonic() != M::Lea || address).then_some(Member::Register);
    }
    let operand = memory_operand(insn)?;
    let simple = matches!(
        insn.mnemonic(),
        M::Mov
            | M::Movzx
            | M::Movsx
            | M::Movsxd
            | M::Add
            | M::Or
            | M::And
            | M::Sub
            | M::Xor
            | M::Cmp
            | M::Test
    );
    let registers = (0..insn.op_count())
        .all(|i| insn.op_kind(i) != OpKind::Register || home(insn.op_register(i)).is_some());
    let based = matches!(insn.memory_segment(), Register::FS | Register::GS);
    if !simple
        || !registers
        || based
        || insn.has_lock_prefix()
        || !is_wide(insn)
        || insn.memory_base() != base
        || insn.memory_index() != Register::None
        || stack && writes(insn, base)
    {
        return None;
    }
    let size = insn.memory_size().size() as u32;
    let displacement = i32::try_from(insn.memory_displacement64() as i64).ok()?;
    let write = operand == 0 && shape(insn) == Some(Shape::Writes);
    matches!(size, 1 | 2 | 4 | 8).then_some(Member::Access { displacement, size, write })
}

impl Builder<'_> {
    /// The run that begins at a step, if there is one.
    fn find_run(&self, first: usize) -> Option<Run> {
        let Step { insn, part, .. } = *self.steps.get(first)?;
        let base = base_of(&insn)?;
        let mut run = Run {
            base,
            last: first,
            low: i32::MAX,
            high: i32::MIN,
            write: false,
            flags: false,
            accesses: 0,
            moves: false,
        };
        let (mut moved, mut flags) = (0_i32, false);
        for (at, step) in self.steps.iter().enumerate().skip(first) {
            let Some(member) = member(step, base).filter(|_| step.part == part) else { break };
            let (offset, size, write) = match member {
                Member::Push => (moved - 8, 8, true),
                Member::Pop => (moved, 8, false),
                Member::Access { displacement, size, write } => {
                    let Some(offset) = moved.checked_add(displacement) else { break };
                    (offset, size, write)
                }
                Member::Adjust(by) => {
                    moved += by;
                    flags = true;
                    continue;
                }
                Member::Register => {
                    flags |= step.effect == Effect::Writer;
                    continue;
                }
            };
            let Some(end) = offset.checked_add(size as i32) else { break };
            let (low, high) = (run.low.min(offset), run.high.max(end));
            if high.checked_sub(low).is_none_or(|span| span > MAX_SPAN) {
                break;
            }
            moved += match member {
                Member::Push => -8,
                Member::Pop => 8,
                _ => 0,
            };
            flags |= !matches!(member, Member::Push | Member::Pop) && !is_move(&step.insn);
            (run.last, run.low, run.high) = (at, low, high);
            run.write |= write;
            run.flags = flags;
            run.accesses += 1;
            run.moves |= moved != 0;
            if writes(&step.insn, base) {
                break;
            }
        }
        (run.accesses > 1).then_some(run)
    }

    /// Emits the run that begins at a step; answers the step behind it.
    pub(super) fn try_run(&mut self, first: usize) -> Option<usize> {
        if first < self.no_run_before {
            return None;
        }
        let run = self.find_run(first)?;
        if !run.moves && self.prefers_to_hold(first, run.accesses) {
            return None;
        }
        let saved = self.save_state();
        self.flush_deferred();
        self.branches.clear();
        if self.emit_run(first, &run).is_ok() {
            return Some(run.last + 1);
        }
        self.restore_state(&saved);
        self.no_run_before = run.last + 1;
        None
    }

    fn emit_run(&mut self, first: usize, run: &Run) -> Emitted {
        self.at = first;
        self.entry = None;
        // Whoever looks up must keep the flags; behind a writer in the run they are others.
        let lazy = matches!(self.flags, Flags::Host | Flags::Lazy)
            && self.origin.is_some()
            && (run.flags || self.may_be_lazy(run.last));
        self.forget_host_flags(lazy);
        let base = match home(run.base).ok_or(Unsupported)? {
            Home::Host(host) => host,
            Home::Spilled(index) => {
                self.e.load(RAX, spilled(index));
                RAX
            }
        };
        self.e.lea(RAX, At::Base(base, run.low));
        let size = (run.high - run.low) as u32;
        self.translate_address(Need { write: run.write, size, aligned: false });
        let entry = self.entry;
        let mut ops = (0, 0);
        // How far RSP has moved, and what of that its register does not show yet.
        let (mut moved, mut owed) = (0, 0);
        for at in first..=run.last {
            let Some(step) = self.steps.get(at) else { return Err(Unsupported) };
            let (insn, member) = (step.insn, member(step, run.base).ok_or(Unsupported)?);
            ops = if at == first { step.ops } else { (ops.0, ops.1 + step.ops.1) };
            self.at = at;
            match member {
                Member::Push => {
                    moved -= 8;
                    owed -= 8;
                    self.push_at(&insn, moved - run.low)?;
                }
                Member::Pop => {
                    self.pop_at(&insn, moved - run.low)?;
                    moved += 8;
                    owed += 8;
                }
                Member::Access { displacement, .. } => {
                    if uses(&insn, Register::RSP) {
                        self.pay(&mut owed);
                    }
                    self.rewrite_at(&insn, moved + displacement - run.low)?;
                }
                Member::Adjust(by) => {
                    self.pay(&mut owed);
                    self.rewrite_at(&insn, 0)?;
                    moved += by;
                }
                Member::Register => {
                    if uses(&insn, Register::RSP) {
                        self.pay(&mut owed);
                    }
                    if insn.mnemonic() == Mnemonic::Lea {
                        self.native(&insn)?;
                    } else if step_is_something(&insn) {
                        self.rewrite_at(&insn, 0)?;
                    }
                }
            }
            self.behind_step();
        }
        self.pay(&mut owed);
        self.ops = ops;
        self.entry = entry;
        let back = Back::Resume { at: self.e.here(), flags: self.flags == Flags::Host };
        self.end_slow(self.vectors, back, run.flags);
        Ok(())
    }

    /// Lets the register show how far RSP has moved.
    fn pay(&mut self, owed: &mut i32) {
        if *owed != 0 {
            self.e.lea(STACK_POINTER, At::Base(STACK_POINTER, *owed));
            *owed = 0;
        }
    }

    fn push_at(&mut self, insn: &Instruction, offset: i32) -> Emitted {
        let to = At::Base(RAX, offset);
        if insn.op0_kind() != OpKind::Register {
            self.e.store_immediate(true, to, insn.immediate(0) as i32);
            return Ok(());
        }
        match home(insn.op0_register()).ok_or(Unsupported)? {
            Home::Host(host) => self.e.store(host, to),
            Home::Spilled(index) => {
                self.e.load(RBP, spilled(index));
                self.e.store(RBP, to);
            }
        }
        Ok(())
    }

    fn pop_at(&mut self, insn: &Instruction, offset: i32) -> Emitted {
        let from = At::Base(RAX, offset);
        match home(insn.op0_register()).ok_or(Unsupported)? {
            Home::Host(host) => self.e.load(host, from),
            Home::Spilled(index) => {
                self.e.load(RBP, from);
                self.e.store(RBP, spilled(index));
            }
        }
        Ok(())
    }

    /// Emits an instruction with its memory operand, if it has one, at `offset` from the address in RAX.
    fn rewrite_at(&mut self, insn: &Instruction, offset: i32) -> Emitted {
        let shape = shape(insn).ok_or(Unsupported)?;
        let mut out = *insn;
        out.set_code(general_form(insn.code()).ok_or(Unsupported)?);
        read_spilled(&mut out);
        let mut free = [None, Some(RBP)];
        let mut kept = [None; 2];
        for i in 0..insn.op_count() {
            match insn.op_kind(i) {
                OpKind::Register => self.place_register(&mut out, i, shape, &mut free, &mut kept)?,
                OpKind::Memory => {
                    replace_memory(&mut out, RAX, offset);
                }
                _ => {}
            }
        }
        self.encode(&out)?;
        for (scratch, index) in kept.into_iter().flatten() {
            self.e.store(scratch, spilled(index));
        }
        if !is_move(insn) {
            self.set_host_flags(Origin::of(insn));
        }
        Ok(())
    }
}

fn step_is_something(insn: &Instruction) -> bool {
    !matches!(insn.mnemonic(), Mnemonic::Nop | Mnemonic::Endbr64)
}
