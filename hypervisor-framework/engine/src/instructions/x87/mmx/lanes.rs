//! Operations on the lanes of 64 bits.

/// An integer that 64 bits hold several of.
pub(super) trait Lane: Copy {
    const BITS: u32;
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

macro_rules! lanes {
    ($($t:ty as $unsigned:ty),*) => {$(
        impl Lane for $t {
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn of(bits: u64) -> Self {
                bits as $t
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                u64::from(self as $unsigned)
            }
        }
    )*};
}
lanes!(u8 as u8, i8 as u8, u16 as u16, i16 as u16, u32 as u32, i32 as u32);

/// Lane `i`.
#[inline(always)]
pub(super) fn lane<T: Lane>(value: u64, i: u32) -> T {
    T::of(value >> (i * T::BITS))
}

/// 64 bits of the lanes `f(i)`.
#[inline(always)]
pub(super) fn build<T: Lane>(f: impl Fn(u32) -> T) -> u64 {
    (0..64 / T::BITS).fold(0, |value, i| value | f(i).bits() << (i * T::BITS))
}

/// Lane by lane.
#[inline(always)]
pub(super) fn map<T: Lane>(a: u64, b: u64, f: impl Fn(T, T) -> T) -> u64 {
    build(|i| f(lane(a, i), lane(b, i)))
}

/// Pairs of neighbouring lanes, those of `a` first.
#[inline(always)]
pub(super) fn pairs<T: Lane>(a: u64, b: u64, f: impl Fn(T, T) -> T) -> u64 {
    let half = 32 / T::BITS;
    build(|i| {
        let (from, i) = if i < half { (a, i) } else { (b, i - half) };
        f(lane(from, 2 * i), lane(from, 2 * i + 1))
    })
}

/// The lanes of `a`, then of `b`, each narrowed.
#[inline(always)]
pub(super) fn pack<W: Lane, N: Lane>(a: u64, b: u64, narrow: impl Fn(W) -> N) -> u64 {
    let half = 64 / W::BITS;
    build(|i| narrow(if i < half { lane(a, i) } else { lane(b, i - half) }))
}

/// Lanes of `a` and `b` by turns, from lane `first` on.
#[inline(always)]
pub(super) fn interleave<T: Lane>(a: u64, b: u64, first: u32) -> u64 {
    build(|i| lane::<T>(if i & 1 == 0 { a } else { b }, first + i / 2))
}

/// The lane with its sign taken from `sign`, as PSIGN has it.
macro_rules! with_sign {
    ($value:expr, $sign:expr) => {
        match $sign.signum() {
            0 => 0,
            1 => $value,
            _ => $value.wrapping_neg(),
        }
    };
}
pub(super) use with_sign;
