//! A case: what runs, and what it starts from.

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, OpAccess, RflagsBits};

use crate::catalogue::Catalogue;
use crate::encode::{Encoded, LONGEST, encode};
use crate::known;
use crate::place::Placer;
use crate::random::Random;
use crate::registers;
use crate::state::{CODE, End, Mode, Outcome, Program, State, flag};

/// Instructions of a sequence, at most.
const LONGEST_SEQUENCE: u64 = 8;
/// Attempts at an operand placement.
const ATTEMPTS: usize = 64;

/// What cases are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One instruction.
    Single,
    /// 2 to 8 instructions in a row.
    Sequence,
}

/// One test.
pub(crate) struct Case {
    pub(crate) program: Program,
    pub(crate) state: State,
    /// Bytes of the window, by offset.
    pub(crate) patches: Vec<(usize, Vec<u8>)>,
    pub(crate) instructions: Vec<Instruction>,
    /// Flags that are undefined after each instruction.
    pub(crate) undefined: Vec<u64>,
    /// There is a LOCK prefix in front that makes all of it undefined.
    pub(crate) locked: bool,
}

/// A direct branch of a sequence.
struct Branch {
    /// Offset of its distance in the program's bytes.
    immediate: usize,
    size: usize,
}

impl Branch {
    /// Half of the conditional ones, at random.
    fn of(encoded: &Encoded, offset: usize) -> Option<Self> {
        let conditional = encoded.insn.flow_control() == FlowControl::ConditionalBranch;
        let chosen = (encoded.bytes.len() + offset).is_multiple_of(2);
        let immediate = offset + encoded.offsets.immediate_offset();
        (conditional && chosen).then_some(Self { immediate, size: encoded.offsets.immediate_size() })
    }
}

impl Case {
    /// The case of this number; `None` where the attempts at it failed.
    pub(crate) fn generate(shape: Shape, codes: &Catalogue, seed: u64, number: u64) -> Option<Self> {
        let mut random = Random::for_case(seed, number);
        let start = start(&mut random);
        let mut case = Self {
            program: Program { mode: codes.mode, start, bytes: Vec::new(), landings: Vec::new() },
            state: State::new(),
            patches: Vec::new(),
            instructions: Vec::new(),
            undefined: Vec::new(),
            locked: false,
        };
        case.state.rip = start;
        let (wanted, first) = match shape {
            Shape::Single => (1, codes.all[(number % codes.all.len() as u64) as usize]),
            Shape::Sequence => (2 + random.below(LONGEST_SEQUENCE - 1), random.pick(&codes.all)),
        };
        registers::fill(&mut case.state, first, &mut random);
        let mut placer = Placer::new(codes.mode, &mut random, shape == Shape::Single, start);
        let mut factory = InstructionInfoFactory::new();
        let mut skip: Option<Branch> = None;
        for _ in 0..ATTEMPTS {
            let code = match shape {
                Shape::Single => first,
                Shape::Sequence if codes.common.is_empty() || placer.random.one_in(2) => {
                    placer.random.pick(&codes.all)
                }
                Shape::Sequence => placer.random.pick(&codes.common),
            };
            if shape == Shape::Sequence && !known::follows(code) {
                continue;
            }
            let at = case.program.end();
            let mut encoded = encode(codes.mode, code, at, placer.random)?;
            let undefined = case.undefined.last().copied().unwrap_or(0);
            if (flags(encoded.insn.rflags_read()) | known::read_flags(&encoded.insn)) & undefined != 0 {
                continue;
            }
            let before = placer.mark(&case.state, &case.patches);
            if placer.place(&mut encoded, &mut case.state, &mut case.patches).is_none() {
                placer.forget(before, &mut case.state, &mut case.patches);
                continue;
            }
            if known::may_wait(&encoded.insn) {
                registers::settle_x87(&mut case.state.image);
            }
            if known::checks_alignment(code) {
                case.state.rflags &= !flag::AC;
            }
            case.undefined.push(undefined_after(&encoded.insn, undefined));
            placer.executed(&mut factory, &encoded.insn);
            let offset = case.program.bytes.len();
            case.program.bytes.extend(&encoded.bytes);
            case.instructions.push(encoded.insn);
            if let Some(branch) = skip.take() {
                case.skip(branch);
            }
            skip = (shape == Shape::Sequence).then(|| Branch::of(&encoded, offset)).flatten();
            if case.instructions.len() as u64 == wanted {
                break;
            }
        }
        case.program.landings = placer.landings();
        if codes.mode == Mode::Compatibility {
            case.state.gpr[..8].iter_mut().for_each(|gpr| *gpr &= u64::from(u32::MAX));
            case.state.gpr[8..].fill(0);
        }
        if shape == Shape::Single && placer.random.one_in(64) {
            case.lock();
        }
        (!case.instructions.is_empty()).then_some(case)
    }

    /// Makes a branch skip the instruction behind it, which is the last so far.
    fn skip(&mut self, branch: Branch) {
        let target = self.program.end();
        let Some(index) = self.instructions.len().checked_sub(2) else { return };
        let distance = target.wrapping_sub(self.instructions[index].next_ip()).to_le_bytes();
        let place = branch.immediate..branch.immediate + branch.size;
        self.program.bytes[place].copy_from_slice(&distance[..branch.size]);
        match self.program.mode {
            Mode::Long => self.instructions[index].set_near_branch64(target),
            Mode::Compatibility => self.instructions[index].set_near_branch32(target as u32),
        }
        self.undefined[index + 1] |= self.undefined[index];
    }

    /// Adds a LOCK prefix that is not allowed.
    fn lock(&mut self) {
        let [insn] = self.instructions[..] else { return };
        let lockable = insn.code().op_code().can_use_lock_prefix();
        if !lockable && self.program.bytes.len() < LONGEST {
            self.program.bytes.insert(0, 0xf0);
            self.locked = true;
        }
    }

    /// Flags that are undefined where the case ended.
    pub(crate) fn undefined_at(&self, outcome: &Outcome) -> u64 {
        let rip = outcome.state.rip;
        let at = self.instructions.iter().position(|insn| insn.ip() == rip);
        match (&outcome.end, at) {
            // A repeated string instruction may have written some before.
            (End::Fault(_), Some(at)) if self.instructions[at].is_string_instruction() => self.undefined[at],
            (End::Fault(_), Some(at)) => at.checked_sub(1).map_or(0, |before| self.undefined[before]),
            _ if rip == self.program.end() => self.undefined.last().copied().unwrap_or(0),
            // Behind one of the branches.
            _ => self.undefined.iter().fold(0, |all, some| all | some),
        }
    }

    /// What values the case is about.
    pub(crate) fn disassembly(&self) -> Vec<String> {
        let lock = if self.locked { "(lock) " } else { "" };
        self.instructions.iter().map(|insn| format!("{:x}  {lock}{insn}", insn.ip())).collect()
    }
}

/// Mostly within a page, at times across the end of the first.
fn start(random: &mut Random) -> u64 {
    if random.one_in(16) { CODE + 0x1000 - random.below(12) - 1 } else { CODE + 0x800 + random.below(64) }
}

/// Flags in place, of iced's flags.
fn flags(bits: u32) -> u64 {
    let pairs = [
        (RflagsBits::CF, flag::CF),
        (RflagsBits::PF, flag::PF),
        (RflagsBits::AF, flag::AF),
        (RflagsBits::ZF, flag::ZF),
        (RflagsBits::SF, flag::SF),
        (RflagsBits::OF, flag::OF),
    ];
    pairs.iter().filter(|(theirs, _)| bits & theirs != 0).map(|(_, ours)| ours).sum()
}

/// The flags that are undefined after an instruction, when some were before.
fn undefined_after(insn: &Instruction, before: u64) -> u64 {
    let written = insn.rflags_written() | insn.rflags_cleared() | insn.rflags_set();
    let certain = if known::may_leave_flags(insn) { 0 } else { flags(written) };
    let undefined = flags(insn.rflags_undefined());
    before & !certain | undefined
}

/// Is this register written?
pub(crate) fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}
