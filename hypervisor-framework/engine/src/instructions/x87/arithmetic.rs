//! Sums, differences, products and quotients (SDM vol. 1, 8.3.5).

use iced_x86::{Code, Mnemonic};

use super::float::{self, Control, F80, Outcome};
use super::transfer::{I16, I32, M32, M64, Operand};
use super::{pointers, ready};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::{Cpu, Trap};

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    if let Some(exec) = memory_form(t.insn.code()) {
        let mut op = t.op(exec);
        pointers::memory(t, &mut op);
        t.push(op);
        return true;
    }
    let exec = match t.insn.mnemonic() {
        Mnemonic::Fadd => exec!(register::<Add, false>),
        Mnemonic::Faddp => exec!(register::<Add, true>),
        Mnemonic::Fsub => exec!(register::<Subtract, false>),
        Mnemonic::Fsubp => exec!(register::<Subtract, true>),
        Mnemonic::Fsubr => exec!(register::<SubtractFrom, false>),
        Mnemonic::Fsubrp => exec!(register::<SubtractFrom, true>),
        Mnemonic::Fmul => exec!(register::<Multiply, false>),
        Mnemonic::Fmulp => exec!(register::<Multiply, true>),
        Mnemonic::Fdiv => exec!(register::<Divide, false>),
        Mnemonic::Fdivp => exec!(register::<Divide, true>),
        Mnemonic::Fdivr => exec!(register::<DivideInto, false>),
        Mnemonic::Fdivrp => exec!(register::<DivideInto, true>),
        _ => return false,
    };
    let mut op = t.op(exec);
    op.dst = t.register(0);
    op.src = t.register(1);
    t.push(op);
    true
}

fn memory_form(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Fadd_m32fp => exec!(memory::<Add, M32>),
        Code::Fadd_m64fp => exec!(memory::<Add, M64>),
        Code::Fiadd_m16int => exec!(memory::<Add, I16>),
        Code::Fiadd_m32int => exec!(memory::<Add, I32>),
        Code::Fsub_m32fp => exec!(memory::<Subtract, M32>),
        Code::Fsub_m64fp => exec!(memory::<Subtract, M64>),
        Code::Fisub_m16int => exec!(memory::<Subtract, I16>),
        Code::Fisub_m32int => exec!(memory::<Subtract, I32>),
        Code::Fsubr_m32fp => exec!(memory::<SubtractFrom, M32>),
        Code::Fsubr_m64fp => exec!(memory::<SubtractFrom, M64>),
        Code::Fisubr_m16int => exec!(memory::<SubtractFrom, I16>),
        Code::Fisubr_m32int => exec!(memory::<SubtractFrom, I32>),
        Code::Fmul_m32fp => exec!(memory::<Multiply, M32>),
        Code::Fmul_m64fp => exec!(memory::<Multiply, M64>),
        Code::Fimul_m16int => exec!(memory::<Multiply, I16>),
        Code::Fimul_m32int => exec!(memory::<Multiply, I32>),
        Code::Fdiv_m32fp => exec!(memory::<Divide, M32>),
        Code::Fdiv_m64fp => exec!(memory::<Divide, M64>),
        Code::Fidiv_m16int => exec!(memory::<Divide, I16>),
        Code::Fidiv_m32int => exec!(memory::<Divide, I32>),
        Code::Fdivr_m32fp => exec!(memory::<DivideInto, M32>),
        Code::Fdivr_m64fp => exec!(memory::<DivideInto, M64>),
        Code::Fidivr_m16int => exec!(memory::<DivideInto, I16>),
        Code::Fidivr_m32int => exec!(memory::<DivideInto, I32>),
        _ => return None,
    })
}

/// An operation on destination and source. `extra` is DE if the source was denormal in memory.
trait Binary {
    fn compute(destination: F80, source: F80, extra: u16, control: Control) -> Outcome;
}

macro_rules! binary {
    ($($name:ident($a:ident, $b:ident) = $function:ident($($argument:ident),*);)*) => {$(
        struct $name;
        impl Binary for $name {
            #[inline(always)]
            fn compute($a: F80, $b: F80, extra: u16, control: Control) -> Outcome {
                float::$function($($argument),*, extra, control)
            }
        }
    )*};
}
binary! {
    Add(a, b) = add(a, b);
    Subtract(a, b) = subtract(a, b);
    SubtractFrom(a, b) = subtract(b, a);
    Multiply(a, b) = multiply(a, b);
    Divide(a, b) = divide(a, b);
    DivideInto(a, b) = divide(b, a);
}

fn register<B: Binary, const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let fpu = &mut cpu.fpu;
    let outcome = match (fpu.get(op.dst), fpu.get(op.src)) {
        (Some(a), Some(b)) => B::compute(a, b, 0, fpu.control),
        _ => Outcome::STACK_UNDERFLOW,
    };
    if fpu.deliver(op.dst, outcome) && POP {
        fpu.pop();
    }
    pointers::note_exception(cpu, op);
    Ok(())
}

fn memory<B: Binary, T: Operand>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let source = T::load(cpu, address)?;
    pointers::note_memory(cpu, op, address);
    let fpu = &mut cpu.fpu;
    let outcome = match fpu.get(0) {
        Some(a) => B::compute(a, source.value, source.flags, fpu.control),
        None => Outcome::STACK_UNDERFLOW,
    };
    fpu.deliver(0, outcome);
    pointers::note_exception(cpu, op);
    Ok(())
}
