//! Values of flags.

use std::path::PathBuf;
use std::time::Duration;

use vmm::config::{SerialBackend, VirtioTransport, check_cpus, check_memory, parse_duration, parse_size};
use vmm::console::ExpectPattern;
use vmm::engine::EngineOptions;

use crate::args::{UnpackCache, Virtio};

/// What is wrong with a value, without the flag's name.
type Parsed<T> = Result<T, String>;

/// Guest memory in bytes.
pub(crate) fn memory(text: &str) -> Parsed<u64> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    check_memory(bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A number of bytes.
pub(crate) fn size(text: &str) -> Parsed<u64> {
    parse_size(text).map_err(|error| error.to_string())
}

/// Where virtio devices are, and their rings.
pub(crate) fn virtio(text: &str) -> Parsed<Virtio> {
    let mut virtio = Virtio { transport: None, packed_rings: None };
    for part in text.split(',') {
        match part {
            "pci" => virtio.transport = Some(VirtioTransport::Pci),
            "mmio" => virtio.transport = Some(VirtioTransport::Mmio),
            "mmio-cmdline" => virtio.transport = Some(VirtioTransport::MmioCmdline),
            "packed=on" => virtio.packed_rings = Some(true),
            "packed=off" => virtio.packed_rings = Some(false),
            _ => return Err(format!("{part}: not one of pci, mmio, mmio-cmdline, packed=on|off")),
        }
    }
    Ok(virtio)
}

/// What an engine's cache of host code may take.
const CACHE_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

/// The software engine's options.
pub(crate) fn engine_options(text: &str) -> Parsed<EngineOptions> {
    let mut options = EngineOptions::default();
    let (mut counted, mut seed) = (false, None);
    let mut threshold = None;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("jit", "on")) => options.jit = true,
            Some(("jit", "off")) => options.jit = false,
            Some(("jit", "portable")) if EngineOptions::has_portable() => options = options.with_portable(),
            Some(("jit", "portable")) => {
                return Err("jit=portable: not built in (cargo feature `portable`)".into());
            }
            Some(("threshold", count)) => {
                threshold = Some(count.parse().map_err(|_| format!("threshold={count}: not a number"))?);
            }
            Some(("cache", bytes)) => {
                let bytes = parse_size(bytes).map_err(|error| format!("{part}: {error}"))?;
                if !CACHE_BYTES.contains(&bytes) {
                    return Err(format!("{part}: must be 1M to 1G"));
                }
                options.cache_bytes = bytes as usize;
            }
            Some(("clock", "host")) => counted = false,
            Some(("clock", "virtual")) => counted = true,
            Some(("seed", number)) => {
                seed = Some(number.parse().map_err(|_| format!("seed={number}: not a number"))?);
            }
            Some(("check", count)) => {
                let every = count.parse().map_err(|_| format!("check={count}: not a number"))?;
                options.check = Some(every);
            }
            _ => {
                let known =
                    "jit=on|off|portable, threshold=N, cache=SIZE, clock=host|virtual, seed=N, check=N";
                return Err(format!("{part}: not one of {known}"));
            }
        }
    }
    for (name, given) in [("seed", seed.is_some()), ("check", options.check.is_some())] {
        if given && !counted {
            return Err(format!("{name}: needs clock=virtual"));
        }
    }
    options.seed = counted.then(|| seed.unwrap_or(0));
    options.threshold = threshold.unwrap_or(options.threshold);
    Ok(options)
}

/// Number of vCPUs.
pub(crate) fn cpus(text: &str) -> Parsed<u32> {
    let cpus = text.parse().map_err(|_| "not a number".to_owned())?;
    check_cpus(cpus).map_err(|error| error.to_string())?;
    Ok(cpus)
}

/// A length of time.
pub(crate) fn duration(text: &str) -> Parsed<Duration> {
    parse_duration(text).map_err(|error| error.to_string())
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

#[cfg(test)]
#[path = "values_test.rs"]
mod values_test;
