//! Sizes of disks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SECTOR_BYTES;

/// The largest disk, bytes: what a file offset can say, in whole sectors.
const MAX_BYTES: u64 = (1 << 63) - SECTOR_BYTES;

/// Units and their powers of two, the largest first.
const UNITS: [(char, u32); 5] = [('T', 40), ('G', 30), ('M', 20), ('K', 10), ('B', 0)];

/// The size of a disk in bytes: whole sectors, more than none.
///
/// As text a number with B, K, M, G or T (also as KiB or KB, upper or lower case; powers of 1024): `20G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DiskSize(u64);

/// Text or a number that is no [`DiskSize`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSizeError {
    /// Not a number with a unit.
    #[error("{text:?} is not a size: write a number with a unit, for example 512M or 20G")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// More than a file can hold.
    #[error("{text} is too large for a disk")]
    TooLarge {
        /// What was given.
        text: String,
    },
    /// No sectors, or not whole ones.
    #[error(
        "{bytes} bytes is not a size for a disk: it takes at least one sector of 512 bytes, and whole ones"
    )]
    NotSectors {
        /// Bytes asked for.
        bytes: u64,
    },
}

impl DiskSize {
    /// A size in bytes.
    ///
    /// # Errors
    /// None at all, not whole sectors, or more than a file can hold.
    pub fn new(bytes: u64) -> Result<Self, ParseSizeError> {
        if bytes == 0 || !bytes.is_multiple_of(SECTOR_BYTES) {
            return Err(ParseSizeError::NotSectors { bytes });
        }
        if bytes > MAX_BYTES {
            return Err(ParseSizeError::TooLarge { text: format!("{bytes} bytes") });
        }
        Ok(Self(bytes))
    }

    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for DiskSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let malformed = || ParseSizeError::Malformed { text: text.to_owned() };
        let end = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(malformed)?;
        let (digits, unit) = text.split_at(end);
        let unit = unit.to_ascii_uppercase();
        let letter = match unit.as_str() {
            "B" => "B",
            unit => unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(unit),
        };
        let mut letters = letter.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else { return Err(malformed()) };
        let (_, shift) = UNITS.iter().find(|(name, _)| *name == letter).ok_or_else(malformed)?;
        if digits.is_empty() {
            return Err(malformed());
        }
        let too_large = || ParseSizeError::TooLarge { text: text.to_owned() };
        let number: u64 = digits.parse().map_err(|_| too_large())?;
        Self::new(number.checked_mul(1 << shift).ok_or_else(too_large)?)
    }
}

/// With the largest unit that leaves a whole number.
impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, shift)| self.0.trailing_zeros() >= *shift);
        let (name, shift) = whole.unwrap_or(&('B', 0));
        write!(f, "{}{name}", self.0 >> shift)
    }
}

impl TryFrom<String> for DiskSize {
    type Error = ParseSizeError;

    fn try_from(text: String) -> Result<Self, ParseSizeError> {
        text.parse()
    }
}

impl From<DiskSize> for String {
    fn from(size: DiskSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
#[path = "size_test.rs"]
mod size_test;
