//! What depends on the host's system and processor.

#[cfg(target_arch = "x86_64")]
mod cpuid;

use crate::x86_64::cpuid::HostCpuid;

/// The host's CPUID instruction, on hosts that have one.
#[cfg(target_arch = "x86_64")]
pub(crate) fn host_cpuid() -> Option<Box<dyn HostCpuid>> {
    Some(Box::new(cpuid::Instruction))
}

/// The host's CPUID instruction, on hosts that have one.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn host_cpuid() -> Option<Box<dyn HostCpuid>> {
    None
}
