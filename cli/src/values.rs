//! Values of flags.

use std::path::PathBuf;
use std::time::Duration;

use vmm::config::{SerialBackend, check_cpus, check_memory};
use vmm::console::ExpectPattern;
use vmm::engine::EngineOptions;

use crate::args::UnpackCache;

/// What is wrong with a value, without the flag's name.
type Parsed<T> = Result<T, String>;

/// Guest memory in bytes.
pub(crate) fn memory(text: &str) -> Parsed<u64> {
    let bytes = size(text)?;
    check_memory(bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A size in bytes: digits with K, M, G or T (also as KiB or KB, upper or lower case); MiB without.
fn size(text: &str) -> Parsed<u64> {
    let bad = || "not a size; write for example 512M or 2G".to_owned();
    let (digits, unit) = split(text).ok_or_else(bad)?;
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "k" => 10,
        "m" | "" if unit != "b" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(bad()),
    };
    digits.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

/// What an engine's cache of host code may take.
const CACHE_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

/// The software engine's options.
pub(crate) fn engine_options(text: &str) -> Parsed<EngineOptions> {
    let mut options = EngineOptions::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("jit", "on")) => options.jit = true,
            Some(("jit", "off")) => options.jit = false,
            Some(("threshold", count)) => {
                options.threshold = count.parse().map_err(|_| format!("threshold={count}: not a number"))?;
            }
            Some(("cache", bytes)) => {
                let bytes = size(bytes).map_err(|error| format!("{part}: {error}"))?;
                if !CACHE_BYTES.contains(&bytes) {
                    return Err(format!("{part}: must be 1M to 1G"));
                }
                options.cache_bytes = bytes as usize;
            }
            _ => return Err(format!("{part}: not one of jit=on|off, threshold=N, cache=SIZE")),
        }
    }
    Ok(options)
}

/// Number of vCPUs.
pub(crate) fn cpus(text: &str) -> Parsed<u32> {
    let cpus = text.parse().map_err(|_| "not a number".to_owned())?;
    check_cpus(cpus).map_err(|error| error.to_string())?;
    Ok(cpus)
}

/// A length of time: digits with ms, s, m or h; seconds without. More than none.
pub(crate) fn duration(text: &str) -> Parsed<Duration> {
    let bad = || "not a time; write for example 30s or 2m".to_owned();
    let (digits, unit) = split(text).ok_or_else(bad)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad()),
    };
    match digits.checked_mul(milliseconds) {
        Some(0) => Err("must be more than zero".to_owned()),
        Some(total) => Ok(Duration::from_millis(total)),
        None => Err("too long".to_owned()),
    }
}

/// A serial back end.
pub(crate) fn serial(text: &str) -> Parsed<SerialBackend> {
    let path = |path: &str| match path {
        "" => Err("the path is empty".to_owned()),
        path => Ok(PathBuf::from(path)),
    };
    match text.split_once('=') {
        Some(("file", name)) => Ok(SerialBackend::File(path(name)?)),
        Some(("socket", name)) => Ok(SerialBackend::Socket(path(name)?)),
        None if text == "stdio" => Ok(SerialBackend::Stdio),
        None if text == "pty" => Ok(SerialBackend::Pty),
        None if text == "null" => Ok(SerialBackend::Null),
        _ => Err("must be stdio, pty, file=PATH, socket=PATH or null".to_owned()),
    }
}

/// Where unpacked files are kept.
pub(crate) fn unpack_cache(text: &str) -> Parsed<UnpackCache> {
    match text {
        "" => Err("the path is empty".to_owned()),
        "off" => Ok(UnpackCache::Off),
        path => Ok(UnpackCache::Folder(PathBuf::from(path))),
    }
}

/// A regular expression; kept as text.
pub(crate) fn pattern(text: &str) -> Parsed<String> {
    ExpectPattern::new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// An I/O port, decimal or with 0x.
pub(crate) fn port(text: &str) -> Parsed<u16> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "not a port; write for example 0xf4".to_owned())
}

/// Digits and what follows them.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit))
}

#[cfg(test)]
#[path = "values_test.rs"]
mod values_test;
