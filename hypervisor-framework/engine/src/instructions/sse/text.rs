//! String comparisons: PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM (SDM vol. 2, 4.1).

use iced_x86::Mnemonic;

use super::lane::{Lane, build, truth};
use super::operand::{Encoding, Legacy, Operand, Unaligned, Vex, Xmm, operands, xmm};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Trap, gpr};
use crate::memory::Scalar;

/// Where the lengths of both strings come from.
trait Lengths {
    /// The lengths of `first` and `second` in characters, at most `count`.
    fn lengths(cpu: &Cpu, first: &Text, second: &Text) -> (usize, usize);
}

/// Up to the first null character.
struct Implicit;
/// The absolute values of EAX and EDX, or of RAX and RDX.
struct Explicit<T>(std::marker::PhantomData<T>);

impl Lengths for Implicit {
    fn lengths(_cpu: &Cpu, first: &Text, second: &Text) -> (usize, usize) {
        let length = |text: &Text| {
            let null = text.characters.iter().take(text.count).position(|character| *character == 0);
            null.unwrap_or(text.count)
        };
        (length(first), length(second))
    }
}

impl<T: Scalar> Lengths for Explicit<T> {
    fn lengths(cpu: &Cpu, first: &Text, second: &Text) -> (usize, usize) {
        let unused = 64 - 8 * T::SIZE as u32;
        let length = |register, count| {
            let value = (cpu.reg::<T>(register).widen() << unused) as i64 >> unused;
            value.unsigned_abs().min(count as u64) as usize
        };
        (length(gpr::RAX, first.count), length(gpr::RDX, second.count))
    }
}

/// The characters of one operand.
struct Text {
    characters: [i32; 16],
    /// 16 bytes or 8 words.
    count: usize,
}

impl Text {
    fn new(value: u128, imm: u8) -> Self {
        let mut characters = [0; 16];
        let count = if imm & 1 == 0 { 16 } else { 8 };
        for (i, character) in characters.iter_mut().take(count).enumerate() {
            *character = match imm & 3 {
                0 => i32::from(u8::split(value)[i]),
                1 => i32::from(u16::split(value)[i]),
                2 => i32::from(i8::split(value)[i]),
                _ => i32::from(i16::split(value)[i]),
            };
        }
        Self { characters, count }
    }
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    macro_rules! either {
        ($f:ident, $e:ty, $lengths:ty) => {
            (exec!($f::<$e, Unaligned, $lengths>) as Exec, exec!($f::<$e, Xmm, $lengths>) as Exec)
        };
    }
    let (memory, register) = match t.insn.mnemonic() {
        Mnemonic::Pcmpistri => either!(index, Legacy, Implicit),
        Mnemonic::Pcmpistrm => either!(mask, Legacy, Implicit),
        Mnemonic::Pcmpestri => either!(index, Legacy, Explicit<u32>),
        Mnemonic::Pcmpestrm => either!(mask, Legacy, Explicit<u32>),
        Mnemonic::Pcmpestri64 => either!(index, Legacy, Explicit<u64>),
        Mnemonic::Pcmpestrm64 => either!(mask, Legacy, Explicit<u64>),
        Mnemonic::Vpcmpistri => either!(index, Vex, Implicit),
        Mnemonic::Vpcmpistrm => either!(mask, Vex, Implicit),
        Mnemonic::Vpcmpestri => either!(index, Vex, Explicit<u32>),
        Mnemonic::Vpcmpestrm => either!(mask, Vex, Explicit<u32>),
        Mnemonic::Vpcmpestri64 => either!(index, Vex, Explicit<u64>),
        Mnemonic::Vpcmpestrm64 => either!(mask, Vex, Explicit<u64>),
        _ => return false,
    };
    let mut op = t.op(register);
    if operands(t, &mut op) {
        op.exec = memory;
    }
    t.push(op);
    true
}

/// The index of the first or last set bit, in ECX.
fn index<E: Encoding, S: Operand, L: Lengths>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let result = compare::<E, S, L>(cpu, op)?;
    let none = if op.imm & 1 == 0 { 16 } else { 8 };
    let index = match result {
        0 => none,
        _ if op.imm & 0x40 == 0 => result.trailing_zeros(),
        _ => result.ilog2(),
    };
    cpu.set_reg::<u32>(gpr::RCX, index);
    Ok(())
}

/// The bits, or characters of ones, in XMM0.
fn mask<E: Encoding, S: Operand, L: Lengths>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let result = compare::<E, S, L>(cpu, op)?;
    let mask = match op.imm & 0x41 {
        0x40 => build::<u8>(|i| truth(result >> i & 1 != 0)),
        0x41 => build::<u16>(|i| truth(result >> i & 1 != 0)),
        _ => u128::from(result),
    };
    E::set(cpu, 0, mask);
    Ok(())
}

/// The result of the comparison, a bit per character; sets the flags.
fn compare<E: Encoding, S: Operand, L: Lengths>(cpu: &mut Cpu, op: &Op) -> Result<u32, Trap> {
    E::ready(cpu)?;
    let source = S::get(cpu, op)?;
    let imm = op.imm as u8;
    let (first, second) = (Text::new(xmm(cpu, op.dst), imm), Text::new(source, imm));
    let (first_len, second_len) = L::lengths(cpu, &first, &second);
    let count = first.count;
    let matches = aggregate(&first, first_len, &second, second_len, imm >> 2 & 3);
    let all = (1_u32 << count) - 1;
    let result = match imm >> 4 & 3 {
        1 => !matches & all,
        3 => matches ^ ((1 << second_len) - 1),
        _ => matches,
    };
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    cpu.flags.set_arithmetic(
        flag(result != 0, bit::CF)
            | flag(second_len < count, bit::ZF)
            | flag(first_len < count, bit::SF)
            | flag(result & 1 != 0, bit::OF),
    );
    Ok(result)
}

/// A bit for each character of `second` that matches `first` in the way asked for.
fn aggregate(first: &Text, first_len: usize, second: &Text, second_len: usize, how: u8) -> u32 {
    let count = first.count;
    let set = first.characters.get(..first_len).unwrap_or_default();
    let text = second.characters.get(..second_len).unwrap_or_default();
    let bits = |f: &dyn Fn(usize) -> bool| (0..count).fold(0, |all, i| all | u32::from(f(i)) << i);
    match how {
        // Equal any: one of a set.
        0 => bits(&|i| text.get(i).is_some_and(|character| set.contains(character))),
        // Ranges: within one of several, each given by its ends.
        1 => bits(&|i| {
            text.get(i).is_some_and(|character| {
                set.chunks_exact(2).any(|range| (range[0]..=range[1]).contains(character))
            })
        }),
        // Equal each: the same at the same place, or past both ends.
        2 => bits(&|i| text.get(i) == set.get(i)),
        // Equal ordered: all of `first`, as far as the register shows it, starts here.
        _ => bits(&|i| {
            (i..count).zip(0..first_len).all(|(at, j)| text.get(at).is_some_and(|found| *found == set[j]))
        }),
    }
}
