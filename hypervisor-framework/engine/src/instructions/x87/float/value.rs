//! The 80-bit format and its classes.

/// A value in double extended-precision format (SDM vol. 1, 4.2.2), every encoding allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct F80 {
    /// With its explicit integer bit, bit 63.
    pub(crate) significand: u64,
    /// Sign in bit 15, biased exponent below.
    pub(crate) sign_exponent: u16,
}

/// What an encoding stands for (SDM vol. 1, tables 4-3 and 8-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Zero,
    /// Denormal, or pseudo-denormal: exponent 0 with the integer bit set.
    Denormal,
    Normal,
    Infinity,
    Quiet,
    Signaling,
    /// Unnormals, pseudo-infinities and pseudo-NaNs.
    Unsupported,
}

/// The exponent field of infinities and NaNs.
pub(super) const SPECIAL: i32 = 0x7fff;
/// Exponent bias.
pub(super) const BIAS: i32 = 0x3fff;
/// The explicit integer bit.
pub(super) const INTEGER_BIT: u64 = 1 << 63;
/// The bit that tells quiet from signaling NaNs.
pub(super) const QUIET_BIT: u64 = 1 << 62;

impl F80 {
    pub(crate) const ZERO: Self = Self::new(false, 0, 0);
    pub(crate) const ONE: Self = Self::new(false, BIAS, INTEGER_BIT);
    /// The default NaN, "real indefinite".
    pub(crate) const INDEFINITE: Self = Self::new(true, SPECIAL, INTEGER_BIT | QUIET_BIT);

    pub(crate) const fn new(negative: bool, exponent: i32, significand: u64) -> Self {
        Self { significand, sign_exponent: (negative as u16) << 15 | (exponent as u16 & 0x7fff) }
    }

    pub(crate) const fn infinity(negative: bool) -> Self {
        Self::new(negative, SPECIAL, INTEGER_BIT)
    }

    pub(crate) const fn zero(negative: bool) -> Self {
        Self::new(negative, 0, 0)
    }

    #[inline(always)]
    pub(crate) const fn negative(self) -> bool {
        self.sign_exponent >> 15 != 0
    }

    /// The biased exponent field.
    #[inline(always)]
    pub(crate) const fn exponent(self) -> i32 {
        (self.sign_exponent & 0x7fff) as i32
    }

    pub(crate) const fn negate(self) -> Self {
        Self { sign_exponent: self.sign_exponent ^ 0x8000, ..self }
    }

    pub(crate) const fn absolute(self) -> Self {
        Self { sign_exponent: self.sign_exponent & 0x7fff, ..self }
    }

    /// A NaN made quiet.
    pub(crate) const fn quieted(self) -> Self {
        Self { significand: self.significand | QUIET_BIT, ..self }
    }

    #[inline]
    pub(crate) const fn class(self) -> Class {
        match self.exponent() {
            0 if self.significand == 0 => Class::Zero,
            0 => Class::Denormal,
            _ if self.significand & INTEGER_BIT == 0 => Class::Unsupported,
            SPECIAL if self.significand == INTEGER_BIT => Class::Infinity,
            SPECIAL if self.significand & QUIET_BIT != 0 => Class::Quiet,
            SPECIAL => Class::Signaling,
            _ => Class::Normal,
        }
    }

    /// The ten bytes, little-endian, in the low bits.
    pub(crate) const fn bits(self) -> u128 {
        self.significand as u128 | (self.sign_exponent as u128) << 64
    }

    /// From ten bytes, little-endian, in the low bits.
    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self { significand: bits as u64, sign_exponent: (bits >> 64) as u16 }
    }

    /// Biased exponent and normalised significand of a finite value that is not 0. Denormals get exponents below 1.
    #[inline]
    pub(super) const fn normalised(self) -> (i32, u64) {
        let shift = self.significand.leading_zeros();
        let exponent = self.exponent();
        let exponent = if exponent == 0 { 1 } else { exponent };
        (exponent - shift as i32, self.significand << (shift & 63))
    }
}

impl Class {
    pub(crate) const fn is_nan(self) -> bool {
        matches!(self, Self::Quiet | Self::Signaling)
    }
}
