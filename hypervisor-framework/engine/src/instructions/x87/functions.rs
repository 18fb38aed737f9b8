//! Functions of one or two registers: roots, remainders, rounding, scaling, transcendentals.

use iced_x86::Mnemonic;

use super::float::{self, Control, F80, Outcome, Quotient, flag};
use super::state::status;
use super::{pointers, ready};
use crate::block::{Op, Translator, exec};
use crate::cpu::{Cpu, Trap};

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec = match t.insn.mnemonic() {
        Mnemonic::Fabs => exec!(sign::<Absolute>),
        Mnemonic::Fchs => exec!(sign::<Negate>),
        Mnemonic::Fsqrt => exec!(unary::<SquareRoot>),
        Mnemonic::Frndint => exec!(unary::<RoundToInteger>),
        Mnemonic::F2xm1 => exec!(unary::<Exponential>),
        Mnemonic::Fscale => exec!(binary::<Scale, false>),
        Mnemonic::Fyl2x => exec!(binary::<Logarithm, true>),
        Mnemonic::Fyl2xp1 => exec!(binary::<LogarithmPlus1, true>),
        Mnemonic::Fpatan => exec!(binary::<Arctangent, true>),
        Mnemonic::Fprem => exec!(remainder::<false>),
        Mnemonic::Fprem1 => exec!(remainder::<true>),
        Mnemonic::Fxtract => exec!(extract),
        Mnemonic::Fsin => exec!(circular::<Sine>),
        Mnemonic::Fcos => exec!(circular::<Cosine>),
        Mnemonic::Fptan => exec!(tangent),
        Mnemonic::Fsincos => exec!(sine_and_cosine),
        _ => return false,
    };
    let op = t.op(exec);
    t.push(op);
    true
}

trait Sign {
    fn apply(value: F80) -> F80;
}
struct Absolute;
impl Sign for Absolute {
    fn apply(value: F80) -> F80 {
        value.absolute()
    }
}
struct Negate;
impl Sign for Negate {
    fn apply(value: F80) -> F80 {
        value.negate()
    }
}

/// FABS and FCHS work on any encoding.
fn sign<S: Sign>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let outcome = cpu.fpu.get(0).map_or(Outcome::STACK_UNDERFLOW, |value| Outcome::exact(S::apply(value)));
    cpu.fpu.deliver(0, outcome);
    pointers::note_exception(cpu, op);
    Ok(())
}

/// A function of ST(0).
trait Unary {
    fn compute(value: F80, control: Control) -> Outcome;
}
/// A function of ST(0) and ST(1).
trait Binary {
    fn compute(st0: F80, st1: F80, control: Control) -> Outcome;
}
/// A function of an angle, which may be out of range.
trait Circular {
    fn compute(value: F80, control: Control) -> Option<Outcome>;
}

macro_rules! functions {
    ($($name:ident: $kind:ident($($argument:ident),*) -> $result:ty = $function:ident;)*) => {$(
        struct $name;
        impl $kind for $name {
            fn compute($($argument: F80),*, control: Control) -> $result {
                float::$function($($argument),*, control)
            }
        }
    )*};
}
functions! {
    SquareRoot: Unary(value) -> Outcome = square_root;
    RoundToInteger: Unary(value) -> Outcome = round_to_integer;
    Exponential: Unary(value) -> Outcome = exponential;
    Scale: Binary(st0, st1) -> Outcome = scale;
    Logarithm: Binary(st0, st1) -> Outcome = logarithm;
    LogarithmPlus1: Binary(st0, st1) -> Outcome = logarithm_plus_1;
    Arctangent: Binary(st0, st1) -> Outcome = arctangent;
    Sine: Circular(value) -> Option<Outcome> = sine;
    Cosine: Circular(value) -> Option<Outcome> = cosine;
}

fn unary<F: Unary>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let control = cpu.fpu.control;
    let outcome = cpu.fpu.get(0).map_or(Outcome::STACK_UNDERFLOW, |value| F::compute(value, control));
    cpu.fpu.deliver(0, outcome);
    pointers::note_exception(cpu, op);
    Ok(())
}

/// With `POP` the result replaces ST(1) and becomes the top.
fn binary<F: Binary, const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let fpu = &mut cpu.fpu;
    let outcome = match (fpu.get(0), fpu.get(1)) {
        (Some(st0), Some(st1)) => F::compute(st0, st1, fpu.control),
        _ => Outcome::STACK_UNDERFLOW,
    };
    if fpu.deliver(u8::from(POP), outcome) && POP {
        fpu.pop();
    }
    pointers::note_exception(cpu, op);
    Ok(())
}

fn remainder<const NEAREST: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let kind = if NEAREST { Quotient::Nearest } else { Quotient::Truncated };
    let fpu = &mut cpu.fpu;
    match (fpu.get(0), fpu.get(1)) {
        (Some(st0), Some(st1)) => {
            let found = float::partial_remainder(st0, st1, kind, fpu.control);
            let done = fpu.deliver(0, found.outcome);
            fpu.status &= !status::C2;
            if done && !found.complete {
                fpu.set_conditions(status::C2);
            }
            if done && let Some(quotient) = found.quotient {
                let bit = |i: u32, condition: u16| if quotient >> i & 1 != 0 { condition } else { 0 };
                fpu.set_conditions(bit(0, status::C1) | bit(1, status::C3) | bit(2, status::C0));
            }
        }
        _ => {
            fpu.status &= !status::C2;
            fpu.deliver(0, Outcome::STACK_UNDERFLOW);
        }
    }
    pointers::note_exception(cpu, op);
    Ok(())
}

/// Replaces ST(0) by `below` and pushes `top`, with the flags of both; a full stack is a fault.
fn deliver_two(cpu: &mut Cpu, compute: impl FnOnce(F80, Control) -> (F80, F80, u16)) {
    let fpu = &mut cpu.fpu;
    let (below, top, flags) = match fpu.get(0) {
        None => (F80::INDEFINITE, F80::INDEFINITE, flag::IE | flag::SF),
        Some(_) if fpu.get(7).is_some() => (F80::INDEFINITE, F80::INDEFINITE, flag::IE | flag::SF | flag::C1),
        Some(value) => compute(value, fpu.control),
    };
    if fpu.raise(flags) {
        fpu.set(0, below);
        fpu.top = fpu.top.wrapping_sub(1) & 7;
        fpu.set(0, top);
    }
}

fn extract(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    deliver_two(cpu, |value, _| float::extract(value));
    pointers::note_exception(cpu, op);
    Ok(())
}

fn circular<F: Circular>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let fpu = &mut cpu.fpu;
    let outcome = match fpu.get(0) {
        None => Outcome::STACK_UNDERFLOW,
        Some(value) => match F::compute(value, fpu.control) {
            Some(outcome) => outcome,
            None => return out_of_range(cpu),
        },
    };
    fpu.status &= !status::C2;
    fpu.deliver(0, outcome);
    pointers::note_exception(cpu, op);
    Ok(())
}

/// C2 tells that the operand is unchanged.
fn out_of_range(cpu: &mut Cpu) -> Result<(), Trap> {
    cpu.fpu.raise(0);
    cpu.fpu.status |= status::C2;
    Ok(())
}

/// Is ST(0) beyond the range of the circular functions of two results? A stack fault comes first.
fn beyond(cpu: &Cpu) -> bool {
    cpu.fpu.get(7).is_none() && cpu.fpu.get(0).is_some_and(float::beyond_circular)
}

fn tangent(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    if beyond(cpu) {
        return out_of_range(cpu);
    }
    cpu.fpu.status &= !status::C2;
    deliver_two(cpu, |value, control| match float::tangent(value, control) {
        Some(Outcome { value, flags }) if value.class().is_nan() => (value, value, flags),
        Some(Outcome { value, flags }) => (value, F80::ONE, flags),
        None => (value, F80::ONE, 0),
    });
    pointers::note_exception(cpu, op);
    Ok(())
}

fn sine_and_cosine(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    if beyond(cpu) {
        return out_of_range(cpu);
    }
    cpu.fpu.status &= !status::C2;
    deliver_two(cpu, |value, control| match (float::sine(value, control), float::cosine(value, control)) {
        (Some(sine), Some(cosine)) => (sine.value, cosine.value, sine.flags | cosine.flags),
        _ => (value, F80::ONE, 0),
    });
    pointers::note_exception(cpu, op);
    Ok(())
}
