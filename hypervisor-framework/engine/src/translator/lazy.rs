//! Flags that nobody has stored: they are worked out again from the registers they came from, if anyone asks.

use iced_x86::{
    Instruction, InstructionInfoFactory, InstructionInfoOptions, Mnemonic, OpAccess, OpKind, Register,
};

use super::emitter::host::RAX;
use super::emitter::{Emitter, group, opcode};
use super::flags::Flags;
use super::memory::is_wide;
use super::native::may_be_zero;
use super::registers::{Home, home, spilled};
use super::unit::Builder;

/// What an instruction is for those who look ahead. What is named here is always emitted as host code, and touches no
/// memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Writes all arithmetic flags and reads none.
    Writer,
    /// Neither reads nor writes any.
    Neutral,
    Other,
}

/// A general register's number; parts at bit 8 have none.
fn general(register: Register) -> Option<u16> {
    home(register).map(|_| register.full_register().number() as u16)
}

fn is_immediate(kind: OpKind) -> bool {
    use OpKind as K;
    matches!(
        kind,
        K::Immediate8
            | K::Immediate32
            | K::Immediate64
            | K::Immediate8to32
            | K::Immediate8to64
            | K::Immediate32to64
    )
}

/// Operands are general registers, the first of 32 or 64 bits, and immediates.
fn is_plain(insn: &Instruction) -> bool {
    let operand = |i| match insn.op_kind(i) {
        OpKind::Register => {
            general(insn.op_register(i)).is_some() && (i != 0 || insn.op_register(0).size() >= 4)
        }
        kind => i != 0 && is_immediate(kind),
    };
    (0..insn.op_count()).all(operand)
}

pub(super) fn effect(insn: &Instruction) -> Effect {
    use Mnemonic as M;
    match insn.mnemonic() {
        M::Nop | M::Endbr64 => Effect::Neutral,
        M::Lea => {
            let near = i32::try_from(insn.memory_displacement64() as i64).is_ok();
            let simple = is_wide(insn) && near && insn.memory_base() != Register::RIP;
            if simple && insn.op0_register().size() >= 4 { Effect::Neutral } else { Effect::Other }
        }
        _ if !is_plain(insn) => Effect::Other,
        M::Mov | M::Movzx | M::Movsx | M::Movsxd => Effect::Neutral,
        M::Add | M::Sub | M::And | M::Or | M::Xor | M::Cmp | M::Test | M::Neg => Effect::Writer,
        M::Shl | M::Sal | M::Shr | M::Sar if !may_be_zero(insn, 1) => Effect::Writer,
        _ => Effect::Other,
    }
}

/// The general registers that an instruction may write, bits by number.
pub(super) fn writes(info: &mut InstructionInfoFactory, insn: &Instruction, effect: Effect) -> u16 {
    if effect != Effect::Other {
        let reads = matches!(insn.mnemonic(), Mnemonic::Cmp | Mnemonic::Test);
        let written = if reads { None } else { general(insn.op0_register()) };
        return written.map_or(0, |number| 1 << number);
    }
    let used = info.info_options(insn, InstructionInfoOptions::NO_MEMORY_USAGE).used_registers();
    let written = used.iter().filter(|used| {
        let writes = matches!(
            used.access(),
            OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
        );
        writes && used.register().full_register().is_gpr64()
    });
    written.fold(0, |all, used| all | 1 << (used.register().full_register().number() & 15))
}

#[derive(Clone, Copy)]
enum Operation {
    Test,
    Compare,
    Add,
    Subtract,
}

#[derive(Clone, Copy)]
enum Value {
    Register(Home),
    Immediate(i32),
}

/// An instruction whose flags follow from what its registers hold behind it.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    operation: Operation,
    /// 64 bits, not 32.
    wide: bool,
    first: Home,
    second: Value,
    /// The registers, bits by number.
    registers: u16,
}

impl Origin {
    /// Where the flags of an instruction with a register as its first operand come from.
    pub(super) fn of(insn: &Instruction) -> Option<Self> {
        use Mnemonic as M;
        let register = insn.op0_register();
        if insn.op_count() != 2 || insn.op0_kind() != OpKind::Register || register.size() < 4 {
            return None;
        }
        let wide = register.size() == 8;
        let first = home(register)?;
        let mut registers = 1 << general(register)?;
        let operation = match insn.mnemonic() {
            M::And | M::Or | M::Xor => {
                // As those of the result.
                let second = Value::Register(first);
                return Some(Self { operation: Operation::Test, wide, first, second, registers });
            }
            M::Test => Operation::Test,
            M::Cmp => Operation::Compare,
            M::Add => Operation::Add,
            M::Sub => Operation::Subtract,
            _ => return None,
        };
        let second = match insn.op1_kind() {
            OpKind::Register => {
                let other = insn.op1_register();
                if other == register && matches!(operation, Operation::Add | Operation::Subtract) {
                    return None;
                }
                registers |= 1 << general(other)?;
                Value::Register(home(other)?)
            }
            kind if is_immediate(kind) => {
                let value = insn.immediate(1);
                Value::Immediate(if wide { i32::try_from(value as i64).ok()? } else { value as i32 })
            }
            _ => return None,
        };
        Some(Self { operation, wide, first, second, registers })
    }

    /// Sets the host's flags; RAX is lost.
    pub(super) fn emit(&self, e: &mut Emitter) {
        let undoes = matches!(self.operation, Operation::Add | Operation::Subtract);
        let first = match self.first {
            Home::Host(host) if undoes => {
                e.registers(self.wide, opcode::LOAD, RAX, host);
                RAX
            }
            Home::Host(host) => host,
            Home::Spilled(index) => {
                e.memory(self.wide, opcode::LOAD, RAX, spilled(index));
                RAX
            }
        };
        match self.operation {
            Operation::Test => self.test(e, first),
            Operation::Compare => self.arithmetic(e, group::CMP, first),
            Operation::Add => {
                self.arithmetic(e, group::SUB, first);
                self.arithmetic(e, group::ADD, first);
            }
            Operation::Subtract => {
                self.arithmetic(e, group::ADD, first);
                self.arithmetic(e, group::SUB, first);
            }
        }
    }

    fn arithmetic(&self, e: &mut Emitter, group: u8, first: u8) {
        // `op r, r/m` of the group.
        let code = [group << 3 | 3];
        match self.second {
            Value::Register(Home::Host(host)) => e.registers(self.wide, &code, first, host),
            Value::Register(Home::Spilled(index)) => e.memory(self.wide, &code, first, spilled(index)),
            Value::Immediate(value) => e.immediate(self.wide, group, first, value),
        }
    }

    fn test(&self, e: &mut Emitter, first: u8) {
        match self.second {
            Value::Register(Home::Host(host)) => e.registers(self.wide, opcode::TEST, first, host),
            Value::Register(Home::Spilled(index)) => e.memory(self.wide, opcode::TEST, first, spilled(index)),
            Value::Immediate(value) => e.test_immediate(self.wide, first, value),
        }
    }
}

impl Builder<'_> {
    /// Are the flags behind a step overwritten before anyone may look at them?
    pub(super) fn dead_behind(&self, at: usize) -> bool {
        let next = self.steps.iter().skip(at + 1).find(|step| step.effect != Effect::Neutral);
        next.is_some_and(|step| step.effect == Effect::Writer)
    }

    /// Does the step write any of the registers that the flags come from?
    fn parts(&self, at: usize, origin: &Origin) -> bool {
        self.steps.get(at).is_none_or(|step| step.writes & origin.registers != 0)
    }

    /// Before a step is emitted: flags that could not be worked out behind it are stored, if anyone may want them.
    pub(super) fn before_step(&mut self) {
        (self.entry, self.holding) = (None, None);
        let at = self.at;
        if let Some(origin) = self.origin
            && self.flags == Flags::Lazy
            && self.parts(at, &origin)
        {
            let effect = self.steps.get(at).map_or(Effect::Other, |step| step.effect);
            let dead = self.dead_behind(at);
            match effect {
                Effect::Writer => self.flags = Flags::Dead,
                Effect::Neutral if dead => self.flags = Flags::Dead,
                // It may leave while they can still be worked out.
                Effect::Other if dead => {}
                _ => self.save_flags(),
            }
        }
    }

    /// Behind a step that was emitted.
    pub(super) fn behind_step(&mut self) {
        self.holds.forget(self.steps.get(self.at).map_or(u16::MAX, |step| step.writes));
        if let Some(origin) = self.origin
            && self.origin_at != self.at
            && self.parts(self.at, &origin)
        {
            self.origin = None;
            if self.flags == Flags::Lazy {
                self.flags = Flags::Dead;
            }
        }
    }

    /// May the flags that the host has be worked out from here on, or are they dead behind the steps up to `last`?
    pub(super) fn may_be_lazy(&self, last: usize) -> bool {
        let Some(origin) = self.origin else { return false };
        self.dead_behind(last) || !(self.at..=last).any(|at| self.parts(at, &origin))
    }
}
