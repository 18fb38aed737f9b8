//! From guest instructions to Cranelift's form.
//!
//! A region is one function. Guest registers are SSA variables within it; they are in the CPU wherever it is left and
//! wherever the interpreter is called. Arithmetic flags are what computed them, until somebody asks.

mod access;
mod branches;
mod flags;
mod integer;
mod operands;
mod shifts;
mod vectors;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, InstBuilder, MemFlags, Value};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, Variable};
use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, OpAccess};

use super::compile::Compiler;
use super::context::{Place, exit, field, kind, packed, state};
use super::source::{Part, Source, Step};
use super::stubs::signature;
use flags::Flags;

/// The instruction, or this form of it, is the interpreter's.
struct Unsupported;
type Lowered = Result<(), Unsupported>;

/// Accesses to the engine's own memory.
const OWN: MemFlags = MemFlags::trusted();

/// What is known at a point of the code.
#[derive(Clone, Copy)]
struct Known {
    flags: Flags,
    /// Registers whose variables may differ from the CPU.
    dirty: u16,
    /// SSE instructions can run.
    vectors: bool,
}

/// A region being compiled.
struct Lower<'a, 'b> {
    b: &'a mut FunctionBuilder<'b>,
    source: &'a Source,
    weakly_ordered: bool,
    host: CallConv,
    context: Value,
    cpu: Value,
    /// Linear address of the region's page.
    page: Value,
    regs: [Variable; 16],
    budget: Variable,
    tlb: Variable,
    /// The flags where they are not known: see [`kind`].
    flag_word: [Variable; 3],
    known: Known,
    /// Registers that anything in the region writes.
    written: u16,
    /// Code of the parts, and what is known at their start where one edge leads there.
    heads: Vec<Block>,
    inherited: Vec<Option<Known>>,
    single: Vec<bool>,
    /// Position of each part in the order of emission.
    order: Vec<usize>,
    /// The part, instruction and its step at hand.
    part: usize,
    index: usize,
    step: Step,
    /// The block has ended.
    ended: bool,
    failed: bool,
}

/// Compiles a region.
pub(super) fn compile(compiler: &mut Compiler, source: &Source) -> Option<Vec<u8>> {
    let (weakly_ordered, host) = (compiler.weakly_ordered(), compiler.host_convention());
    let mut failed = false;
    let code = compiler.function(signature(CallConv::Tail, 2, true), |b, parameters| {
        let &[context, cpu] = parameters else { return };
        failed = region(b, source, weakly_ordered, host, context, cpu);
    })?;
    (!failed).then_some(code)
}

fn region(
    b: &mut FunctionBuilder<'_>,
    source: &Source,
    weakly_ordered: bool,
    host: CallConv,
    context: Value,
    cpu: Value,
) -> bool {
    let regs = [(); 16].map(|()| b.declare_var(I64));
    let flag_word = [(); 3].map(|()| b.declare_var(I64));
    let (budget, tlb) = (b.declare_var(I64), b.declare_var(I64));
    for (number, variable) in regs.iter().enumerate() {
        let value = b.ins().load(I64, OWN, cpu, state::REGS + 8 * number as i32);
        b.def_var(*variable, value);
    }
    for (number, variable) in flag_word.iter().enumerate() {
        let value = b.ins().load(I64, OWN, context, field::FLAGS + 8 * number as i32);
        b.def_var(*variable, value);
    }
    for (variable, offset) in [(budget, field::BUDGET), (tlb, field::TLB)] {
        let value = b.ins().load(I64, OWN, context, offset);
        b.def_var(variable, value);
    }
    let page = b.ins().load(I64, OWN, context, field::PAGE);
    let count = source.parts.len();
    let heads: Vec<Block> = (0..count).map(|_| b.create_block()).collect();
    let mut edges = vec![0_u32; count];
    for next in source.parts.iter().flat_map(|part| part.next).flatten() {
        if let Some(edge) = edges.get_mut(next) {
            *edge += 1;
        }
    }
    if let Some(root) = edges.first_mut() {
        *root += 1;
    }
    let sequence = sequence(source);
    let mut order = vec![usize::MAX; count];
    for (position, part) in sequence.iter().enumerate() {
        if let Some(place) = order.get_mut(*part) {
            *place = position;
        }
    }
    if let Some(root) = heads.first() {
        b.ins().jump(*root, &[]);
    }
    let written = written(source);
    let mut lower = Lower {
        b,
        source,
        weakly_ordered,
        host,
        context,
        cpu,
        page,
        regs,
        budget,
        tlb,
        flag_word,
        known: Known { flags: Flags::Unknown, dirty: 0, vectors: false },
        written,
        heads,
        inherited: vec![None; count],
        single: edges.iter().map(|edges| *edges == 1).collect(),
        order,
        part: 0,
        index: 0,
        step: Step { ops: 0, count: 0, start: 0, len: 0, stack: false },
        ended: false,
        failed: false,
    };
    for part in sequence {
        lower.part(part);
    }
    lower.failed
}

/// The parts in reverse post-order, so that a part with one predecessor comes after it.
fn sequence(source: &Source) -> Vec<usize> {
    let mut seen = vec![false; source.parts.len()];
    let mut post = Vec::new();
    let mut stack = vec![(0_usize, 0_usize)];
    if let Some(root) = seen.first_mut() {
        *root = true;
    }
    while let Some((part, edge)) = stack.pop() {
        let Some(next) = source.parts.get(part).and_then(|part| part.next.get(1_usize.wrapping_sub(edge)))
        else {
            post.push(part);
            continue;
        };
        stack.push((part, edge + 1));
        if let Some(next) = *next
            && let Some(seen) = seen.get_mut(next)
            && !std::mem::replace(seen, true)
        {
            stack.push((next, 0));
        }
    }
    post.reverse();
    post
}

/// The general registers that anything in the region writes.
fn written(source: &Source) -> u16 {
    let mut factory = InstructionInfoFactory::new();
    let mut mask = 0;
    for part in &source.parts {
        for insn in decoder(part) {
            mask |= writes(&mut factory, &insn);
        }
    }
    mask
}

/// The general registers that an instruction writes.
fn writes(factory: &mut InstructionInfoFactory, insn: &Instruction) -> u16 {
    let used = factory.info(insn).used_registers().iter();
    used.filter(|used| {
        used.register().is_gpr()
            && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
    })
    .fold(0, |mask, used| mask | 1 << (used.register().full_register().number() & 15))
}

fn decoder(part: &Part) -> impl Iterator<Item = Instruction> {
    Decoder::with_ip(64, &part.bytes, 0, DecoderOptions::NONE).into_iter().take(part.steps.len())
}

impl Lower<'_, '_> {
    /// Compiles one part.
    fn part(&mut self, number: usize) {
        let source = self.source;
        let (Some(part), Some(head)) = (source.parts.get(number), self.heads.get(number)) else { return };
        self.b.switch_to_block(*head);
        self.part = number;
        self.ended = false;
        self.known = self.inherited.get(number).copied().flatten().unwrap_or(Known {
            flags: Flags::Unknown,
            // At the entry nothing differs; what comes back to it may.
            dirty: if number == 0 && self.single.first() == Some(&true) { 0 } else { self.written },
            vectors: false,
        });
        self.spend(part);
        let mut factory = InstructionInfoFactory::new();
        for (index, insn) in decoder(part).enumerate() {
            let Some(step) = part.steps.get(index) else { break };
            (self.index, self.step) = (index, *step);
            let last = index + 1 == part.steps.len();
            if self.instruction(&insn).is_err() {
                let writes = writes(&mut factory, &insn);
                self.interpret(writes, flags::touches(&insn), last && part.ends);
            }
        }
        if !self.ended {
            let end = part.steps.last().map_or(0, |step| i64::from(step.start) + i64::from(step.len));
            self.edge(0, end);
        }
    }

    /// Counts the part's instructions, and leaves if they are too many.
    fn spend(&mut self, part: &Part) {
        let before = self.b.use_var(self.budget);
        let left = self.b.ins().iadd_imm(before, -(part.steps.len() as i64));
        let negative = self.b.ins().icmp_imm(IntCC::SignedLessThan, left, 0);
        let (go, spent) = (self.b.create_block(), self.cold());
        self.b.ins().brif(negative, spent, &[], go, &[]);
        self.b.switch_to_block(spent);
        let rip = self.b.ins().iadd_imm(self.page, i64::from(part.offset));
        self.leave(rip, 0);
        self.b.switch_to_block(go);
        self.b.def_var(self.budget, left);
    }

    fn instruction(&mut self, insn: &Instruction) -> Lowered {
        if insn.has_lock_prefix() {
            return Err(Unsupported);
        }
        let tries: [fn(&mut Self, &Instruction) -> Lowered; 4] =
            [Self::integer, Self::shift, Self::branch, Self::vector];
        for family in tries {
            if family(self, insn).is_ok() {
                return Ok(());
            }
        }
        Err(Unsupported)
    }

    /// A block that is not expected to run.
    fn cold(&mut self) -> Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        block
    }

    /// The part at hand.
    fn offset(&self) -> u16 {
        self.source.parts.get(self.part).map_or(0, |part| part.offset)
    }

    /// Instructions of the part from the one at hand on: counted, but not executed if it traps.
    fn unexecuted(&self) -> i64 {
        self.source.parts.get(self.part).map_or(0, |part| part.steps.len().saturating_sub(self.index) as i64)
    }

    /// Puts registers, flags and budget (with `undone` given back) where others see them. What is known does not change.
    fn save(&mut self, undone: i64) {
        for number in 0..16 {
            if self.known.dirty >> number & 1 != 0 {
                let value = self.b.use_var(self.regs[number]);
                self.b.ins().store(OWN, value, self.cpu, state::REGS + 8 * number as i32);
            }
        }
        let words = self.flag_words();
        for (number, word) in words.into_iter().enumerate() {
            self.b.ins().store(OWN, word, self.context, field::FLAGS + 8 * number as i32);
        }
        let budget = self.b.use_var(self.budget);
        let budget = if undone == 0 { budget } else { self.b.ins().iadd_imm(budget, undone) };
        self.b.ins().store(OWN, budget, self.context, field::BUDGET);
    }

    /// Leaves at an instruction border, since something wants a look.
    fn leave(&mut self, rip: Value, undone: i64) {
        self.save(undone);
        self.b.ins().store(OWN, rip, self.cpu, state::RIP);
        self.answer(exit::LOOK);
    }

    fn answer(&mut self, code: u32) {
        let code = self.b.ins().iconst(I32, i64::from(code));
        self.b.ins().return_(&[code]);
    }

    /// Leaves since the access just tried trapped.
    fn leave_trapped(&mut self) {
        let undone = self.unexecuted();
        self.save(undone);
        let Step { start, len, stack, .. } = self.step;
        let place = Place { block: self.offset(), start, len, stack };
        let place = self.b.ins().iconst(I64, place.pack() as i64);
        self.b.ins().store(OWN, place, self.context, field::PLACE);
        self.answer(exit::ACCESS);
    }

    /// Goes on at a linear address outside of the region.
    fn go(&mut self, target: Value) {
        self.save(0);
        let code = self.b.ins().load(I64, OWN, self.context, field::LOOKUP);
        let callee = self.b.import_signature(signature(CallConv::Tail, 3, true));
        self.b.ins().return_call_indirect(callee, code, &[self.context, self.cpu, target]);
    }

    /// Goes on at an offset relative to the part's start: by falling through (0) or by its branch (1).
    fn edge(&mut self, which: usize, target: i64) {
        self.ended = true;
        let offset = i64::from(self.offset()) + target;
        let source = self.source;
        let next = source.parts.get(self.part).and_then(|part| *part.next.get(which)?);
        let inside =
            next.filter(|next| source.parts.get(*next).is_some_and(|part| i64::from(part.offset) == offset));
        let Some(next) = inside else {
            let target = self.b.ins().iadd_imm(self.page, offset);
            return self.go(target);
        };
        let Some(head) = self.heads.get(next).copied() else { return };
        if self.order.get(next) <= self.order.get(self.part) {
            let word = self.b.ins().load(I64, OWN, self.context, field::PENDING);
            let word = self.b.ins().load(I32, OWN, word, 0);
            let (look, go) = (self.cold(), self.b.create_block());
            self.b.ins().brif(word, look, &[], go, &[]);
            self.b.switch_to_block(look);
            let rip = self.b.ins().iadd_imm(self.page, offset);
            self.leave(rip, 0);
            self.b.switch_to_block(go);
        }
        if self.single.get(next) == Some(&true) {
            if let Some(inherited) = self.inherited.get_mut(next) {
                *inherited = Some(self.known);
            }
        } else {
            let words = self.flag_words();
            for (variable, word) in self.flag_word.into_iter().zip(words) {
                self.b.def_var(variable, word);
            }
        }
        self.b.ins().jump(head, &[]);
    }

    /// Calls the interpreter for the instruction at hand, which writes the registers `writes`.
    fn interpret(&mut self, writes: u16, touches: bool, last: bool) {
        self.save(0);
        self.known.dirty = 0;
        self.known.vectors = false;
        let ops = self.b.ins().iconst(I64, self.step.ops as i64);
        let count = packed(usize::from(self.step.count), self.offset(), touches);
        let count = self.b.ins().iconst(I64, count as i64);
        let code = self.b.ins().load(I64, OWN, self.context, field::RUN_OPS);
        let callee = self.b.import_signature(signature(self.host, 3, true));
        let call = self.b.ins().call_indirect(callee, code, &[self.context, ops, count]);
        let Some(flow) = self.b.inst_results(call).first().copied() else { return };
        let (trapped, other) = (self.cold(), self.b.create_block());
        let trap = self.b.ins().icmp_imm(IntCC::Equal, flow, i64::from(exit::TRAP));
        if touches {
            let word = self.b.ins().iconst(I64, i64::from(kind::CPU));
            let zero = self.b.ins().iconst(I64, 0);
            self.known.flags = Flags::Words([word, zero, zero]);
        }
        if last {
            self.b.ins().brif(trap, trapped, &[], other, &[]);
            self.b.switch_to_block(other);
            let stop = self.b.ins().icmp_imm(IntCC::Equal, flow, i64::from(exit::STOP));
            let (stopped, go) = (self.cold(), self.b.create_block());
            self.b.ins().brif(stop, stopped, &[], go, &[]);
            self.b.switch_to_block(stopped);
            self.answer(exit::STOP);
            self.b.switch_to_block(go);
            let target = self.b.ins().load(I64, OWN, self.cpu, state::RIP);
            self.go(target);
            self.ended = true;
        } else {
            // In the middle of a block the interpreter would go on, too.
            self.b.ins().brif(trap, trapped, &[], other, &[]);
        }
        self.b.switch_to_block(trapped);
        let undone = self.unexecuted();
        let budget = self.b.use_var(self.budget);
        let budget = self.b.ins().iadd_imm(budget, undone);
        self.b.ins().store(OWN, budget, self.context, field::BUDGET);
        self.answer(exit::TRAP);
        if last {
            return;
        }
        self.b.switch_to_block(other);
        for number in 0..16 {
            if writes >> number & 1 != 0 {
                let value = self.b.ins().load(I64, OWN, self.cpu, state::REGS + 8 * number as i32);
                self.b.def_var(self.regs[number], value);
            }
        }
        let tlb = self.b.ins().load(I64, OWN, self.context, field::TLB);
        self.b.def_var(self.tlb, tlb);
    }
}
