//! Lane arithmetic, comparisons, logic and shifts.

use iced_x86::Code;

use super::lanes::{lane, map, pack, pairs, with_sign};
use super::{Immediate, Memory, Register, binary, operands};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::Cpu;

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    if let Some(exec) = shift_by_immediate(t.insn.code()) {
        let mut op = t.op(exec);
        op.dst = t.register(0);
        op.imm = t.immediate(1) & 0xff;
        t.push(op);
        return true;
    }
    let memory = t.is_memory(1);
    let code = t.insn.code();
    let Some(exec) = (match memory {
        false => usual::<Register>(code),
        true => usual::<Memory>(code),
    }) else {
        return false;
    };
    let mut op = t.op(exec);
    operands(t, &mut op);
    t.push(op);
    true
}

/// An executor of `dst = compute(dst, source)`.
macro_rules! op {
    ($compute:expr) => {
        exec!(|cpu: &mut Cpu, op: &Op| binary::<S>(cpu, op, $compute))
    };
}

/// An executor of `compute` on lanes of a type.
macro_rules! lanes {
    ($t:ty, $compute:expr) => {
        op!(|a, b| map::<$t>(a, b, $compute))
    };
}

/// All ones where it holds.
macro_rules! mask {
    ($t:ty, $compare:tt) => {
        lanes!($t, |a, b| if a $compare b { <$t>::MAX } else { 0 })
    };
}

/// As `mask`, for signed lanes, whose ones are −1.
macro_rules! signed_mask {
    ($t:ty, $compare:tt) => {
        lanes!($t, |a, b| if a $compare b { -1 } else { 0 })
    };
}

fn usual<S: super::Source + 'static>(code: Code) -> Option<Exec> {
    sums::<S>(code).or_else(|| products::<S>(code)).or_else(|| logic::<S>(code))
}

fn sums<S: super::Source + 'static>(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Paddb_mm_mmm64 => lanes!(u8, u8::wrapping_add),
        Code::Paddw_mm_mmm64 => lanes!(u16, u16::wrapping_add),
        Code::Paddd_mm_mmm64 => lanes!(u32, u32::wrapping_add),
        Code::Paddq_mm_mmm64 => op!(u64::wrapping_add),
        Code::Paddsb_mm_mmm64 => lanes!(i8, i8::saturating_add),
        Code::Paddsw_mm_mmm64 => lanes!(i16, i16::saturating_add),
        Code::Paddusb_mm_mmm64 => lanes!(u8, u8::saturating_add),
        Code::Paddusw_mm_mmm64 => lanes!(u16, u16::saturating_add),
        Code::Psubb_mm_mmm64 => lanes!(u8, u8::wrapping_sub),
        Code::Psubw_mm_mmm64 => lanes!(u16, u16::wrapping_sub),
        Code::Psubd_mm_mmm64 => lanes!(u32, u32::wrapping_sub),
        Code::Psubq_mm_mmm64 => op!(u64::wrapping_sub),
        Code::Psubsb_mm_mmm64 => lanes!(i8, i8::saturating_sub),
        Code::Psubsw_mm_mmm64 => lanes!(i16, i16::saturating_sub),
        Code::Psubusb_mm_mmm64 => lanes!(u8, u8::saturating_sub),
        Code::Psubusw_mm_mmm64 => lanes!(u16, u16::saturating_sub),
        Code::Pavgb_mm_mmm64 => lanes!(u8, |a, b| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8),
        Code::Pavgw_mm_mmm64 => lanes!(u16, |a, b| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16),
        Code::Pmaxub_mm_mmm64 => lanes!(u8, Ord::max),
        Code::Pminub_mm_mmm64 => lanes!(u8, Ord::min),
        Code::Pmaxsw_mm_mmm64 => lanes!(i16, Ord::max),
        Code::Pminsw_mm_mmm64 => lanes!(i16, Ord::min),
        Code::Pabsb_mm_mmm64 => lanes!(i8, |_, b| b.wrapping_abs()),
        Code::Pabsw_mm_mmm64 => lanes!(i16, |_, b| b.wrapping_abs()),
        Code::Pabsd_mm_mmm64 => lanes!(i32, |_, b| b.wrapping_abs()),
        Code::Psignb_mm_mmm64 => lanes!(i8, |a, b| with_sign!(a, b)),
        Code::Psignw_mm_mmm64 => lanes!(i16, |a, b| with_sign!(a, b)),
        Code::Psignd_mm_mmm64 => lanes!(i32, |a, b| with_sign!(a, b)),
        Code::Phaddw_mm_mmm64 => op!(|a, b| pairs::<u16>(a, b, u16::wrapping_add)),
        Code::Phaddd_mm_mmm64 => op!(|a, b| pairs::<u32>(a, b, u32::wrapping_add)),
        Code::Phaddsw_mm_mmm64 => op!(|a, b| pairs::<i16>(a, b, i16::saturating_add)),
        Code::Phsubw_mm_mmm64 => op!(|a, b| pairs::<u16>(a, b, u16::wrapping_sub)),
        Code::Phsubd_mm_mmm64 => op!(|a, b| pairs::<u32>(a, b, u32::wrapping_sub)),
        Code::Phsubsw_mm_mmm64 => op!(|a, b| pairs::<i16>(a, b, i16::saturating_sub)),
        Code::Psadbw_mm_mmm64 => op!(absolute_differences),
        _ => return None,
    })
}

fn absolute_differences(a: u64, b: u64) -> u64 {
    (0..8).map(|i| u64::from(lane::<u8>(a, i).abs_diff(lane(b, i)))).sum()
}

fn products<S: super::Source + 'static>(code: Code) -> Option<Exec> {
    fn wide(a: i16, b: i16) -> i32 {
        i32::from(a) * i32::from(b)
    }
    /// The sum of the products of two neighbouring lanes.
    fn dot(a: u64, b: u64) -> u64 {
        let product = |i| wide(lane(a, i), lane(b, i));
        super::lanes::build(|i| product(2 * i).wrapping_add(product(2 * i + 1)))
    }
    /// Unsigned bytes of `a` by signed bytes of `b`.
    fn dot_bytes(a: u64, b: u64) -> u64 {
        let product = |i| i32::from(lane::<u8>(a, i)) * i32::from(lane::<i8>(b, i));
        super::lanes::build(|i| saturated(product(2 * i) + product(2 * i + 1)))
    }
    Some(match code {
        Code::Pmullw_mm_mmm64 => lanes!(u16, u16::wrapping_mul),
        Code::Pmulhw_mm_mmm64 => lanes!(i16, |a, b| (wide(a, b) >> 16) as i16),
        Code::Pmulhuw_mm_mmm64 => lanes!(u16, |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16),
        Code::Pmulhrsw_mm_mmm64 => lanes!(i16, |a, b| (((wide(a, b) >> 14) + 1) >> 1) as i16),
        Code::Pmuludq_mm_mmm64 => op!(|a, b| (a & 0xffff_ffff) * (b & 0xffff_ffff)),
        Code::Pmaddwd_mm_mmm64 => op!(dot),
        Code::Pmaddubsw_mm_mmm64 => op!(dot_bytes),
        _ => return None,
    })
}

fn saturated(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

fn logic<S: super::Source + 'static>(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Pand_mm_mmm64 => op!(|a, b| a & b),
        Code::Pandn_mm_mmm64 => op!(|a, b| !a & b),
        Code::Por_mm_mmm64 => op!(|a, b| a | b),
        Code::Pxor_mm_mmm64 => op!(|a, b| a ^ b),
        Code::Pcmpeqb_mm_mmm64 => mask!(u8, ==),
        Code::Pcmpeqw_mm_mmm64 => mask!(u16, ==),
        Code::Pcmpeqd_mm_mmm64 => mask!(u32, ==),
        Code::Pcmpgtb_mm_mmm64 => signed_mask!(i8, >),
        Code::Pcmpgtw_mm_mmm64 => signed_mask!(i16, >),
        Code::Pcmpgtd_mm_mmm64 => signed_mask!(i32, >),
        Code::Packsswb_mm_mmm64 => {
            op!(|a, b| pack::<i16, i8>(a, b, |v| v.clamp(i8::MIN.into(), i8::MAX.into()) as i8))
        }
        Code::Packssdw_mm_mmm64 => op!(|a, b| pack::<i32, i16>(a, b, saturated)),
        Code::Packuswb_mm_mmm64 => op!(|a, b| pack::<i16, u8>(a, b, |v| v.clamp(0, 255) as u8)),
        Code::Psllw_mm_mmm64 => op!(left::<u16>),
        Code::Pslld_mm_mmm64 => op!(left::<u32>),
        Code::Psllq_mm_mmm64 => op!(|a, n| if n < 64 { a << n } else { 0 }),
        Code::Psrlw_mm_mmm64 => op!(right::<u16>),
        Code::Psrld_mm_mmm64 => op!(right::<u32>),
        Code::Psrlq_mm_mmm64 => op!(|a, n| if n < 64 { a >> n } else { 0 }),
        Code::Psraw_mm_mmm64 => op!(arithmetic_right_16),
        Code::Psrad_mm_mmm64 => op!(arithmetic_right_32),
        _ => return None,
    })
}

fn shift_by_immediate(code: Code) -> Option<Exec> {
    // The same with the count from elsewhere.
    let code = match code {
        Code::Psllw_mm_imm8 => Code::Psllw_mm_mmm64,
        Code::Pslld_mm_imm8 => Code::Pslld_mm_mmm64,
        Code::Psllq_mm_imm8 => Code::Psllq_mm_mmm64,
        Code::Psrlw_mm_imm8 => Code::Psrlw_mm_mmm64,
        Code::Psrld_mm_imm8 => Code::Psrld_mm_mmm64,
        Code::Psrlq_mm_imm8 => Code::Psrlq_mm_mmm64,
        Code::Psraw_mm_imm8 => Code::Psraw_mm_mmm64,
        Code::Psrad_mm_imm8 => Code::Psrad_mm_mmm64,
        _ => return None,
    };
    logic::<Immediate>(code)
}

/// Shifts lanes left; all 64 bits of the count matter.
fn left<T: super::lanes::Lane>(value: u64, count: u64) -> u64 {
    if count >= u64::from(T::BITS) {
        return 0;
    }
    super::lanes::build(|i| T::of(lane::<T>(value, i).bits() << count))
}

fn right<T: super::lanes::Lane>(value: u64, count: u64) -> u64 {
    if count >= u64::from(T::BITS) {
        return 0;
    }
    super::lanes::build(|i| T::of(lane::<T>(value, i).bits() >> count))
}

fn arithmetic_right_16(value: u64, count: u64) -> u64 {
    super::lanes::build(|i| lane::<i16>(value, i) >> count.min(15))
}

fn arithmetic_right_32(value: u64, count: u64) -> u64 {
    super::lanes::build(|i| lane::<i32>(value, i) >> count.min(31))
}
