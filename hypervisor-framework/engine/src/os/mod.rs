//! What differs between host architectures.
#![allow(unsafe_code)] // 16-byte atomics have no stable safe form

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{after_load, before_store, compare_exchange_u128};

#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::{after_load, before_store, compare_exchange_u128};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "../translator/mod.rs"]
mod translator;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use translator::{Code, Left, Translator};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use translator::host_level;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) use untranslated::host_level;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod untranslated;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) use untranslated::{Code, Left, Translator};

#[cfg(any(feature = "portable", not(all(target_arch = "x86_64", target_os = "linux"))))]
#[path = "../portable/mod.rs"]
mod compiled;
#[cfg(any(feature = "portable", not(all(target_arch = "x86_64", target_os = "linux"))))]
pub(crate) use compiled::{Compiled, Exited, Portable};

#[cfg(not(any(feature = "portable", not(all(target_arch = "x86_64", target_os = "linux")))))]
mod uncompiled;
#[cfg(not(any(feature = "portable", not(all(target_arch = "x86_64", target_os = "linux")))))]
pub(crate) use uncompiled::{Compiled, Exited, Portable};

/// The host has a translator.
pub(crate) const TRANSLATES: bool = cfg!(all(target_arch = "x86_64", target_os = "linux"));
/// The portable tier is built in.
pub(crate) const COMPILES: bool =
    cfg!(any(feature = "portable", not(all(target_arch = "x86_64", target_os = "linux"))));

/// Random bits of the host; `None` if it has none now.
pub(crate) fn random_u64() -> Option<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    Some(u64::from_ne_bytes(bytes))
}
