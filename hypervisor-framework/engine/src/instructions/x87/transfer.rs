//! Loads, stores, exchanges, conditional moves and constants (SDM vol. 1, 8.3.3 and 8.3.4).

use iced_x86::{Code, Mnemonic};

use super::float::{self, F80, Outcome, Rounding, flag};
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
        Mnemonic::Fld => exec!(load_register),
        Mnemonic::Fst => exec!(store_register::<false>),
        Mnemonic::Fstp => exec!(store_register::<true>),
        Mnemonic::Fstpnce => exec!(store_register_unchecked),
        Mnemonic::Fxch => exec!(exchange),
        Mnemonic::Fcmovb => exec!(conditional::<2>),
        Mnemonic::Fcmovnb => exec!(conditional::<3>),
        Mnemonic::Fcmove => exec!(conditional::<4>),
        Mnemonic::Fcmovne => exec!(conditional::<5>),
        Mnemonic::Fcmovbe => exec!(conditional::<6>),
        Mnemonic::Fcmovnbe => exec!(conditional::<7>),
        Mnemonic::Fcmovu => exec!(conditional::<10>),
        Mnemonic::Fcmovnu => exec!(conditional::<11>),
        mnemonic => return constant(t, mnemonic),
    };
    let mut op = t.op(exec);
    // The register that is not ST(0); the destination is operand 0 except in FLD, where it is implied.
    op.dst = t.register(0);
    op.src = if t.insn.op_count() > 1 { t.register(1) } else { op.dst };
    t.push(op);
    true
}

fn memory_form(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Fld_m32fp => exec!(load::<M32>),
        Code::Fld_m64fp => exec!(load::<M64>),
        Code::Fld_m80fp => exec!(load_extended),
        Code::Fild_m16int => exec!(load::<I16>),
        Code::Fild_m32int => exec!(load::<I32>),
        Code::Fild_m64int => exec!(load::<I64>),
        Code::Fbld_m80bcd => exec!(load_decimal),
        Code::Fst_m32fp => exec!(store_single::<false>),
        Code::Fstp_m32fp => exec!(store_single::<true>),
        Code::Fst_m64fp => exec!(store_double::<false>),
        Code::Fstp_m64fp => exec!(store_double::<true>),
        Code::Fstp_m80fp => exec!(store_extended),
        Code::Fist_m16int => exec!(store_i16::<false, false>),
        Code::Fistp_m16int => exec!(store_i16::<true, false>),
        Code::Fisttp_m16int => exec!(store_i16::<true, true>),
        Code::Fist_m32int => exec!(store_i32::<false, false>),
        Code::Fistp_m32int => exec!(store_i32::<true, false>),
        Code::Fisttp_m32int => exec!(store_i32::<true, true>),
        Code::Fistp_m64int => exec!(store_i64::<false>),
        Code::Fisttp_m64int => exec!(store_i64::<true>),
        Code::Fbstp_m80bcd => exec!(store_decimal),
        _ => return None,
    })
}

/// A memory operand that becomes an extended-precision value exactly.
pub(super) trait Operand {
    /// The value, and DE if it was denormal.
    fn load(cpu: &mut Cpu, address: u64) -> Result<Outcome, Trap>;
}

macro_rules! operand {
    ($($name:ident: $load:ty => $convert:expr;)*) => {$(
        pub(super) struct $name;
        impl Operand for $name {
            #[inline(always)]
            fn load(cpu: &mut Cpu, address: u64) -> Result<Outcome, Trap> {
                Ok($convert(cpu.load::<$load>(address)?))
            }
        }
    )*};
}
operand! {
    M32: u32 => float::from_f32;
    M64: u64 => float::from_f64;
    I16: u16 => |value| Outcome::exact(float::from_i64(i64::from(value as i16)));
    I32: u32 => |value| Outcome::exact(float::from_i64(i64::from(value as i32)));
    I64: u64 => |value| Outcome::exact(float::from_i64(value as i64));
}

fn load<T: Operand>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let outcome = T::load(cpu, address)?;
    pointers::note_memory(cpu, op, address);
    let outcome = if outcome.value.class() == float::Class::Signaling {
        Outcome { value: outcome.value.quieted(), flags: flag::IE }
    } else {
        outcome
    };
    cpu.fpu.push_converted(outcome);
    pointers::note_exception(cpu, op);
    Ok(())
}

/// Ten bytes.
fn load_80_bits(cpu: &mut Cpu, address: u64) -> Result<u128, Trap> {
    let low = cpu.load::<u64>(address)?;
    let high = cpu.load::<u16>(cpu.wrap(address.wrapping_add(8)))?;
    Ok(u128::from(low) | u128::from(high) << 64)
}

/// Stores ten bytes, all or nothing.
fn store_80_bits(cpu: &mut Cpu, address: u64, bits: u128) -> Result<(), Trap> {
    if address & 0xfff > 0xff6 {
        cpu.probe_write(address, 10)?;
    }
    cpu.store(address, bits as u64)?;
    cpu.store(cpu.wrap(address.wrapping_add(8)), (bits >> 64) as u16)
}

/// No exception but a full stack: the bits are what they are.
fn load_extended(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    load_bits(cpu, op, F80::from_bits)
}

fn load_decimal(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    load_bits(cpu, op, float::from_decimal)
}

fn load_bits(cpu: &mut Cpu, op: &Op, convert: fn(u128) -> F80) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let bits = load_80_bits(cpu, address)?;
    pointers::note_memory(cpu, op, address);
    cpu.fpu.push(Outcome::exact(convert(bits)));
    pointers::note_exception(cpu, op);
    Ok(())
}

/// Stores ST(0) as `SIZE` bytes: `convert` gives the bits and flags, `write` puts them to memory.
#[inline(always)]
fn store<const POP: bool, const SIZE: usize, T: Copy>(
    cpu: &mut Cpu,
    op: &Op,
    convert: impl FnOnce(&Cpu, F80) -> (T, u16),
    indefinite: T,
    write: impl FnOnce(&mut Cpu, u64, T) -> Result<(), Trap>,
) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let (bits, flags) = match cpu.fpu.get(0) {
        Some(value) => convert(cpu, value),
        None => (indefinite, flag::IE | flag::SF),
    };
    let stopped = cpu.fpu.stops_store(flags);
    if stopped {
        // Nothing is written, but the operand is looked up.
        cpu.check_alignment(address, SIZE.min(8))?;
        cpu.probe_write(address, SIZE)?;
    } else {
        write(cpu, address, bits)?;
    }
    pointers::note_memory(cpu, op, address);
    if stopped {
        // Nothing was rounded.
        cpu.fpu.raise(flags & !(flag::PE | flag::C1));
    } else {
        cpu.fpu.raise(flags);
        if POP {
            cpu.fpu.pop();
        }
    }
    pointers::note_exception(cpu, op);
    Ok(())
}

fn store_single<const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let convert = |cpu: &Cpu, value| float::to_f32(value, cpu.fpu.control);
    store::<POP, 4, u32>(cpu, op, convert, 0xffc0_0000, Cpu::store)
}

fn store_double<const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let convert = |cpu: &Cpu, value| float::to_f64(value, cpu.fpu.control);
    store::<POP, 8, u64>(cpu, op, convert, 0xfff8_0000_0000_0000, Cpu::store)
}

fn store_extended(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let convert = |_: &Cpu, value: F80| (value.bits(), 0);
    store::<true, 10, u128>(cpu, op, convert, F80::INDEFINITE.bits(), store_80_bits)
}

fn store_decimal(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let convert = |cpu: &Cpu, value| float::to_decimal(value, cpu.fpu.control);
    store::<true, 10, u128>(cpu, op, convert, float::DECIMAL_INDEFINITE, store_80_bits)
}

/// The conversion of FIST and FISTP, and of FISTTP, which truncates.
fn integer<const BITS: u32, const TRUNCATE: bool>(cpu: &Cpu, value: F80) -> (i64, u16) {
    let rounding = if TRUNCATE { Rounding::Zero } else { cpu.fpu.control.rounding() };
    float::to_integer(value, BITS, rounding)
}

fn store_i16<const POP: bool, const TRUNCATE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let write = |cpu: &mut Cpu, address, value: i64| cpu.store(address, value as u16);
    store::<POP, 2, i64>(cpu, op, integer::<16, TRUNCATE>, i64::from(i16::MIN), write)
}

fn store_i32<const POP: bool, const TRUNCATE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let write = |cpu: &mut Cpu, address, value: i64| cpu.store(address, value as u32);
    store::<POP, 4, i64>(cpu, op, integer::<32, TRUNCATE>, i64::from(i32::MIN), write)
}

fn store_i64<const TRUNCATE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let write = |cpu: &mut Cpu, address, value: i64| cpu.store(address, value as u64);
    store::<true, 8, i64>(cpu, op, integer::<64, TRUNCATE>, i64::MIN, write)
}

fn load_register(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    match cpu.fpu.get(op.src) {
        Some(value) => cpu.fpu.push(Outcome::exact(value)),
        None => cpu.fpu.push_unchecked(Outcome::STACK_UNDERFLOW),
    }
    pointers::note_exception(cpu, op);
    Ok(())
}

fn store_register<const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let outcome = cpu.fpu.get(0).map_or(Outcome::STACK_UNDERFLOW, Outcome::exact);
    if cpu.fpu.deliver(op.dst, outcome) && POP {
        cpu.fpu.pop();
    }
    pointers::note_exception(cpu, op);
    Ok(())
}

/// An FSTP that does not mind an empty ST(0); no manual has it, all processors do.
fn store_register_unchecked(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    cpu.fpu.raise(0);
    if let Some(value) = cpu.fpu.get(0) {
        cpu.fpu.set(op.dst, value);
    }
    cpu.fpu.pop();
    Ok(())
}

fn exchange(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let fpu = &mut cpu.fpu;
    let (first, second) = (fpu.get(0), fpu.get(op.src));
    let flags = if first.is_some() && second.is_some() { 0 } else { flag::IE | flag::SF };
    if fpu.raise(flags) {
        fpu.set(0, second.unwrap_or(F80::INDEFINITE));
        fpu.set(op.src, first.unwrap_or(F80::INDEFINITE));
    }
    pointers::note_exception(cpu, op);
    Ok(())
}

fn conditional<const CONDITION: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let holds = cpu.flags.condition(CONDITION);
    let fpu = &mut cpu.fpu;
    match (fpu.get(0), fpu.get(op.src)) {
        (Some(_), Some(value)) => {
            if holds {
                fpu.set(0, value);
            }
        }
        _ => {
            fpu.deliver(0, Outcome::STACK_UNDERFLOW);
        }
    }
    pointers::note_exception(cpu, op);
    Ok(())
}

/// Constants with 64 bits to nearest, and whether cut off they are one less, or rounded up one more.
struct Constant {
    nearest: F80,
    /// The last place for rounding down (or to zero) and up, less the nearest's.
    down: i8,
    up: i8,
}

const fn constant_of(exponent: u16, significand: u64, down: i8, up: i8) -> Constant {
    Constant { nearest: F80 { significand, sign_exponent: exponent }, down, up }
}

const CONSTANTS: [Constant; 7] = [
    constant_of(0x3fff, 0x8000_0000_0000_0000, 0, 0),
    constant_of(0x4000, 0xd49a_784b_cd1b_8afe, 0, 1),
    constant_of(0x3fff, 0xb8aa_3b29_5c17_f0bc, -1, 0),
    constant_of(0x4000, 0xc90f_daa2_2168_c235, -1, 0),
    constant_of(0x3ffd, 0x9a20_9a84_fbcf_f799, -1, 0),
    constant_of(0x3ffe, 0xb172_17f7_d1cf_79ac, -1, 0),
    constant_of(0, 0, 0, 0),
];

fn constant(t: &mut Translator<'_>, mnemonic: Mnemonic) -> bool {
    let index = match mnemonic {
        Mnemonic::Fld1 => 0,
        Mnemonic::Fldl2t => 1,
        Mnemonic::Fldl2e => 2,
        Mnemonic::Fldpi => 3,
        Mnemonic::Fldlg2 => 4,
        Mnemonic::Fldln2 => 5,
        Mnemonic::Fldz => 6,
        _ => return false,
    };
    let mut op = t.op(exec!(load_constant));
    op.src = index;
    t.push(op);
    true
}

fn load_constant(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let Constant { nearest, down, up } = CONSTANTS[(op.src as usize).min(CONSTANTS.len() - 1)];
    let step = match cpu.fpu.control.rounding() {
        Rounding::Nearest => 0,
        Rounding::Down | Rounding::Zero => down,
        Rounding::Up => up,
    };
    let significand = nearest.significand.wrapping_add_signed(i64::from(step));
    cpu.fpu.push(Outcome::exact(F80 { significand, ..nearest }));
    pointers::note_exception(cpu, op);
    Ok(())
}
