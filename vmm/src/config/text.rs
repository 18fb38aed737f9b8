//! Sizes and times as people write them: on the command line and in files.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// Text that is no size or no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not a size.
    #[error("not a size; write for example 512M or 2G")]
    NotASize,
    /// More bytes than 64 bits count.
    #[error("too large")]
    TooLarge,
    /// Not a time.
    #[error("not a time; write for example 30s or 2m")]
    NotATime,
    /// No time at all.
    #[error("must be more than zero")]
    Zero,
    /// More milliseconds than 64 bits count.
    #[error("too long")]
    TooLong,
}

/// A size in bytes: digits with K, M, G or T (also as KiB or KB, upper or lower case); MiB without.
///
/// # Errors
/// [`TextError::NotASize`], [`TextError::TooLarge`].
pub fn parse_size(text: &str) -> Result<u64, TextError> {
    let (digits, unit) = split(text).ok_or(TextError::NotASize)?;
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "k" => 10,
        "m" | "" if unit != "b" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(TextError::NotASize),
    };
    digits.checked_mul(1 << shift).ok_or(TextError::TooLarge)
}

/// A length of time: digits with ms, s, m or h; seconds without. More than none.
///
/// # Errors
/// [`TextError::NotATime`], [`TextError::Zero`], [`TextError::TooLong`].
pub fn parse_duration(text: &str) -> Result<Duration, TextError> {
    let (digits, unit) = split(text).ok_or(TextError::NotATime)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(TextError::NotATime),
    };
    match digits.checked_mul(milliseconds) {
        Some(0) => Err(TextError::Zero),
        Some(total) => Ok(Duration::from_millis(total)),
        None => Err(TextError::TooLong),
    }
}

/// Digits and what follows them.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit))
}

/// Bytes as text, in the largest unit that divides them. For `serde(with)`.
pub(super) mod size {
    use super::{Deserialize, Deserializer, Serializer, de, parse_size};

    pub(crate) fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        let unit = units.into_iter().find(|(shift, _)| *bytes != 0 && bytes.trailing_zeros() >= *shift);
        match unit {
            Some((shift, unit)) => serializer.collect_str(&format_args!("{}{unit}", bytes >> shift)),
            None => serializer.collect_str(&format_args!("{}K", bytes >> 10)),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_size(&text).map_err(|error| de::Error::custom(format_args!("{text:?} is {error}")))
    }
}

/// A time as text. For `serde(with)`.
pub(super) mod time {
    use super::{Deserialize, Deserializer, Duration, Serializer, de, parse_duration};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        match time.subsec_millis() {
            0 => serializer.collect_str(&format_args!("{}s", time.as_secs())),
            _ => serializer.collect_str(&format_args!("{}ms", time.as_millis())),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map_err(|error| de::Error::custom(format_args!("{text:?} is {error}")))
    }
}

/// A time that may be missing, as text. For `serde(with)`.
pub(super) mod optional_time {
    use super::{Deserializer, Duration, Serializer, time};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => time::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        time::deserialize(deserializer).map(Some)
    }
}

/// Bytes that may be missing, as text. For `serde(with)`.
pub(super) mod optional_size {
    use super::{Deserializer, Serializer, size};

    pub(crate) fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => size::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        size::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
#[path = "text_test.rs"]
mod text_test;
