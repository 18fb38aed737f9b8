//! Single and double precision as bit patterns (IEEE 754; SDM vol. 1, 4.2.2 and 4.8.3).

use std::ops::{Add, Div, Mul, Sub};

use crate::instructions::sse::lane::Lane;

/// A floating-point format, implemented by the integer that holds its bits.
pub(in crate::instructions) trait Format: Lane + PartialEq {
    /// Stored bits of the significand.
    const FRACTION: u32;
    /// Exponent field of infinities and NaNs.
    const SPECIAL: u64;
    /// Exponent field of 1.0.
    const BIAS: i32;

    /// Zero-extended.
    fn bits(self) -> u64;
    /// Truncated.
    fn from_bits(bits: u64) -> Self;

    /// Position of the sign bit.
    const SIGN: u32;
    /// All bits of the fraction.
    const FRACTION_MASK: u64 = (1 << Self::FRACTION) - 1;
    /// All bits but the sign.
    const MAGNITUDE_MASK: u64 = (1 << Self::SIGN) - 1;
    /// The top bit of the fraction: set in quiet NaNs.
    const QUIET: u64 = 1 << (Self::FRACTION - 1);
    const INFINITY: u64 = Self::SPECIAL << Self::FRACTION;

    #[inline(always)]
    fn magnitude(self) -> u64 {
        self.bits() & Self::MAGNITUDE_MASK
    }

    #[inline(always)]
    fn exponent(self) -> u64 {
        self.magnitude() >> Self::FRACTION
    }

    #[inline(always)]
    fn negative(self) -> bool {
        self.bits() >> Self::SIGN & 1 != 0
    }

    #[inline(always)]
    fn is_nan(self) -> bool {
        self.magnitude() > Self::INFINITY
    }

    #[inline(always)]
    fn is_signaling(self) -> bool {
        self.is_nan() && self.bits() & Self::QUIET == 0
    }

    #[inline(always)]
    fn is_infinite(self) -> bool {
        self.magnitude() == Self::INFINITY
    }

    #[inline(always)]
    fn is_zero(self) -> bool {
        self.magnitude() == 0
    }

    #[inline(always)]
    fn is_denormal(self) -> bool {
        let magnitude = self.magnitude();
        magnitude != 0 && magnitude <= Self::FRACTION_MASK
    }

    fn quiet(self) -> Self {
        Self::from_bits(self.bits() | Self::QUIET)
    }

    /// A value of the given sign and magnitude.
    #[inline(always)]
    fn signed(negative: bool, magnitude: u64) -> Self {
        Self::from_bits(magnitude | u64::from(negative) << Self::SIGN)
    }

    #[inline(always)]
    fn zero(negative: bool) -> Self {
        Self::signed(negative, 0)
    }

    fn infinity(negative: bool) -> Self {
        Self::signed(negative, Self::INFINITY)
    }

    /// The NaN that invalid operations give.
    fn indefinite() -> Self {
        Self::signed(true, Self::INFINITY | Self::QUIET)
    }

    /// The same with the sign inverted, NaNs too.
    #[inline(always)]
    fn negated(self) -> Self {
        Self::from_bits(self.bits() ^ 1 << Self::SIGN)
    }
}

/// A format that hosts have.
pub(in crate::instructions) trait Hosted: Format {
    /// The host's type of the same format.
    type Host: Copy
        + PartialOrd
        + Into<f64>
        + Default
        + Add<Output = Self::Host>
        + Sub<Output = Self::Host>
        + Mul<Output = Self::Host>
        + Div<Output = Self::Host>;
    fn host(self) -> Self::Host;
    fn from_host(value: Self::Host) -> Self;
    fn host_sqrt(value: Self::Host) -> Self::Host;
    /// The integer, rounded.
    fn host_integer(value: i64) -> Self::Host;
    /// `x * y + z`, rounded once.
    fn host_fused(x: Self::Host, y: Self::Host, z: Self::Host) -> Self::Host;
}

impl Format for u32 {
    const FRACTION: u32 = 23;
    const SPECIAL: u64 = 0xff;
    const BIAS: i32 = 127;
    const SIGN: u32 = 31;

    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self)
    }

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits as u32
    }
}

impl Hosted for u32 {
    type Host = f32;

    #[inline(always)]
    fn host(self) -> f32 {
        f32::from_bits(self)
    }

    #[inline(always)]
    fn from_host(value: f32) -> Self {
        value.to_bits()
    }

    #[inline(always)]
    fn host_sqrt(value: f32) -> f32 {
        value.sqrt()
    }

    #[inline(always)]
    fn host_integer(value: i64) -> f32 {
        value as f32
    }

    #[inline(always)]
    fn host_fused(x: f32, y: f32, z: f32) -> f32 {
        x.mul_add(y, z)
    }
}

impl Format for u64 {
    const FRACTION: u32 = 52;
    const SPECIAL: u64 = 0x7ff;
    const BIAS: i32 = 1023;
    const SIGN: u32 = 63;

    #[inline(always)]
    fn bits(self) -> u64 {
        self
    }

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits
    }
}

impl Hosted for u64 {
    type Host = f64;

    #[inline(always)]
    fn host(self) -> f64 {
        f64::from_bits(self)
    }

    #[inline(always)]
    fn from_host(value: f64) -> Self {
        value.to_bits()
    }

    #[inline(always)]
    fn host_sqrt(value: f64) -> f64 {
        value.sqrt()
    }

    #[inline(always)]
    fn host_integer(value: i64) -> f64 {
        value as f64
    }

    #[inline(always)]
    fn host_fused(x: f64, y: f64, z: f64) -> f64 {
        x.mul_add(y, z)
    }
}

/// Half precision, which hosts lack.
impl Format for u16 {
    const FRACTION: u32 = 10;
    const SPECIAL: u64 = 0x1f;
    const BIAS: i32 = 15;
    const SIGN: u32 = 15;

    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self)
    }

    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits as u16
    }
}
