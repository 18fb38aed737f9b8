//! What differs between host architectures.
#![allow(unsafe_code)] // 16-byte atomics have no stable safe form

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::compare_exchange_u128;

#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::compare_exchange_u128;

/// Random bits of the host; `None` if it has none now.
pub(crate) fn random_u64() -> Option<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    Some(u64::from_ne_bytes(bytes))
}
