//! The native provider: Apple's Hypervisor.framework, reached by our own declarations.
//!
//! This folder is the only place of the crate that asks for the host's system or architecture. On every other host
//! [`x86_64_hypervisor`] says why there is no framework. Symbols of macOS 10.10–11 are linked; newer ones are looked
//! up at run time, so that one binary starts on every release from 11 on.

#[cfg(any(test, all(target_os = "macos", target_arch = "x86_64")))]
mod backing;
#[cfg(target_os = "macos")]
mod sysctl;
#[cfg(all(target_os = "macos", target_arch = "x86_64"))]
mod x86_64;

use std::sync::Arc;

/// Why the host offers no native hypervisor for a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The host's system is not macOS.
    #[error("Hypervisor.framework exists on macOS only")]
    NotMacOs,
    /// An Apple silicon Mac virtualizes arm64 guests; x86_64 guests need the software engine.
    #[error(
        "this Mac is Apple silicon: its hypervisor runs arm64 guests only; x86_64 guests run with the soft engine"
    )]
    OtherArchitecture,
    /// sysctl `kern.hv_support` is 0 or absent: an old CPU, or a virtual machine without nested virtualization.
    #[error("this Mac's CPU or host does not offer virtualization (sysctl kern.hv_support is {support})")]
    NoHardware {
        /// The value read; `-1` when the sysctl does not exist.
        support: i64,
    },
}

/// What `rvmm doctor` shows of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// sysctl `kern.osproductversion`, for example `14.5`; `None` off macOS.
    pub macos_version: Option<String>,
    /// sysctl `kern.hv_support`; `None` when it does not exist.
    pub hv_support: Option<bool>,
    /// sysctl `hw.model`, for example `MacBookPro15,1`.
    pub model: Option<String>,
}

/// The framework for x86_64 guests.
///
/// # Errors
/// [`Unavailable`] says why this host has none. A missing entitlement shows later, as
/// [`crate::ReturnCode::DENIED`] from `hv_vm_create`.
pub fn x86_64_hypervisor() -> Result<Arc<dyn crate::x86_64::Hypervisor>, Unavailable> {
    host::x86_64_hypervisor()
}

/// Facts of the host, for people.
pub fn host_facts() -> HostFacts {
    host::facts()
}

#[cfg(not(target_os = "macos"))]
mod host {
    use super::{Arc, HostFacts, Unavailable};

    pub(super) fn x86_64_hypervisor() -> Result<Arc<dyn crate::x86_64::Hypervisor>, Unavailable> {
        Err(Unavailable::NotMacOs)
    }

    pub(super) fn facts() -> HostFacts {
        HostFacts { macos_version: None, hv_support: None, model: None }
    }
}

#[cfg(target_os = "macos")]
mod host {
    use super::{Arc, HostFacts, Unavailable, sysctl};

    #[cfg(target_arch = "x86_64")]
    pub(super) fn x86_64_hypervisor() -> Result<Arc<dyn crate::x86_64::Hypervisor>, Unavailable> {
        match sysctl::integer(c"kern.hv_support") {
            Some(support) if support != 0 => Ok(Arc::new(super::x86_64::Framework::new())),
            support => Err(Unavailable::NoHardware { support: support.unwrap_or(-1) }),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn x86_64_hypervisor() -> Result<Arc<dyn crate::x86_64::Hypervisor>, Unavailable> {
        Err(Unavailable::OtherArchitecture)
    }

    pub(super) fn facts() -> HostFacts {
        HostFacts {
            macos_version: sysctl::string(c"kern.osproductversion"),
            hv_support: sysctl::integer(c"kern.hv_support").map(|value| value != 0),
            model: sysctl::string(c"hw.model"),
        }
    }
}
