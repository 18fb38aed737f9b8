//! Access widths.

/// How many bytes one access moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// A byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
    /// Eight bytes; never on a port.
    Eight,
}

impl Width {
    /// All widths, ascending.
    pub const ALL: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];

    /// The width in bytes: 1, 2, 4 or 8.
    pub const fn bytes(self) -> u64 {
        match self {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    /// The width of `bytes` bytes, if there is one.
    pub const fn from_bytes(bytes: u64) -> Option<Width> {
        match bytes {
            1 => Some(Width::One),
            2 => Some(Width::Two),
            4 => Some(Width::Four),
            8 => Some(Width::Eight),
            _ => None,
        }
    }

    /// Ones in the bits this width moves; also what a read that nobody answers gives.
    pub const fn mask(self) -> u64 {
        match self {
            Width::One => 0xff,
            Width::Two => 0xffff,
            Width::Four => 0xffff_ffff,
            Width::Eight => u64::MAX,
        }
    }

    /// The next smaller width.
    pub const fn half(self) -> Option<Width> {
        match self {
            Width::One => None,
            Width::Two => Some(Width::One),
            Width::Four => Some(Width::Two),
            Width::Eight => Some(Width::Four),
        }
    }
}
