//! CRC32: the Castagnoli polynomial, bits reflected.

use iced_x86::Code;

use crate::block::{Exec, Mem, Op, Reg, Source, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::memory::Scalar;

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[n][byte]`: the remainder of `byte` followed by `n` zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0_u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1 ^ if remainder & 1 != 0 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[n - 1][byte];
            tables[n][byte] = shorter >> 8 ^ tables[0][(shorter & 0xff) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let memory = t.is_memory(1);
    macro_rules! either {
        ($t:ty) => {
            if memory { exec!(crc32::<Mem, $t>) } else { exec!(crc32::<Reg, $t>) }
        };
    }
    let exec: Exec = match t.insn.code() {
        Code::Crc32_r32_rm8 | Code::Crc32_r64_rm8 => either!(u8),
        Code::Crc32_r32_rm16 => either!(u16),
        Code::Crc32_r32_rm32 => either!(u32),
        Code::Crc32_r64_rm64 => either!(u64),
        _ => return false,
    };
    let mut op = t.op(exec);
    op.dst = t.register(0);
    if memory {
        t.memory(&mut op);
    } else {
        op.src = t.register(1);
    }
    t.push(op);
    true
}

fn crc32<S: Source, T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let value = S::get::<T>(cpu, op)?.widen();
    let remainder = update(cpu.reg::<u32>(op.dst), value, T::SIZE);
    cpu.set_reg::<u32>(op.dst, remainder);
    Ok(())
}

/// The remainder after `size` more bytes, lowest first.
fn update(remainder: u32, value: u64, size: usize) -> u32 {
    let bytes = (value ^ u64::from(remainder)).to_le_bytes();
    let rest = u64::from(remainder).checked_shr(8 * size as u32).unwrap_or(0) as u32;
    (0..size).fold(rest, |sum, i| sum ^ TABLES[(size - 1 - i) & 7][usize::from(bytes[i])])
}
