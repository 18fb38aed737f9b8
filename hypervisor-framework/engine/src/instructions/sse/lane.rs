//! XMM registers as vectors of integers.

/// An integer that divides an XMM register into lanes, lane 0 lowest.
pub(in crate::instructions) trait Lane: Copy {
    /// An array of all lanes.
    type All: Copy + AsRef<[Self]> + AsMut<[Self]>;
    /// All ones.
    const ONES: Self;
    const ZERO: Self;
    fn split(value: u128) -> Self::All;
    fn join(lanes: Self::All) -> u128;
}

macro_rules! lane {
    ($($t:ty),*) => {$(
        impl Lane for $t {
            type All = [$t; 16 / size_of::<$t>()];
            const ONES: Self = !0;
            const ZERO: Self = 0;

            #[inline(always)]
            fn split(value: u128) -> Self::All {
                const SIZE: usize = size_of::<$t>();
                let bytes = value.to_le_bytes();
                std::array::from_fn(|i| <$t>::from_le_bytes(std::array::from_fn(|j| bytes[i * SIZE + j])))
            }

            #[inline(always)]
            fn join(lanes: Self::All) -> u128 {
                const SIZE: usize = size_of::<$t>();
                let mut bytes = [0; 16];
                for (i, lane) in lanes.iter().enumerate() {
                    bytes[i * SIZE..][..SIZE].copy_from_slice(&lane.to_le_bytes());
                }
                u128::from_le_bytes(bytes)
            }
        }
    )*};
}
lane!(u8, i8, u16, i16, u32, i32, u64, i64);

/// Applies `f` to each lane.
#[inline(always)]
pub(in crate::instructions) fn map<T: Lane>(value: u128, mut f: impl FnMut(T) -> T) -> u128 {
    let mut lanes = T::split(value);
    for lane in lanes.as_mut() {
        *lane = f(*lane);
    }
    T::join(lanes)
}

/// Applies `f` to corresponding lanes.
#[inline(always)]
pub(in crate::instructions) fn zip<T: Lane>(a: u128, b: u128, mut f: impl FnMut(T, T) -> T) -> u128 {
    let mut lanes = T::split(a);
    for (a, b) in lanes.as_mut().iter_mut().zip(T::split(b).as_ref()) {
        *a = f(*a, *b);
    }
    T::join(lanes)
}

/// Builds a vector from the lanes `f(0)`, `f(1)`, …
#[inline(always)]
pub(in crate::instructions) fn build<T: Lane>(mut f: impl FnMut(usize) -> T) -> u128 {
    let mut lanes = T::split(0);
    for (i, lane) in lanes.as_mut().iter_mut().enumerate() {
        *lane = f(i);
    }
    T::join(lanes)
}

/// All ones for true.
#[inline(always)]
pub(in crate::instructions) fn truth<T: Lane>(value: bool) -> T {
    if value { T::ONES } else { T::ZERO }
}

/// The low 64 bits.
pub(in crate::instructions) const LOW: u128 = u64::MAX as u128;
/// The low 32 bits.
pub(in crate::instructions) const LOW32: u128 = u32::MAX as u128;

/// The bits of `b` where `mask` is set, of `a` elsewhere.
#[inline(always)]
pub(in crate::instructions) fn select(mask: u128, a: u128, b: u128) -> u128 {
    a & !mask | b & mask
}
