//! `hv_return_t`: what every call of the framework answers (hv_error.h).

/// The result of a framework call.
pub type Result<T> = std::result::Result<T, Error>;

/// A framework call that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {code}")]
pub struct Error {
    /// The C name of the call, for example `hv_vm_map`.
    pub call: &'static str,
    /// What it returned.
    pub code: ReturnCode,
}

/// `hv_return_t`, a `mach_error_t`: any 32-bit value may come back, so this is no enum.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ReturnCode(pub i32);

impl ReturnCode {
    /// The call did what it says.
    pub const SUCCESS: Self = Self(0);
    /// Unspecified failure; after a run: VM entry failed.
    pub const ERROR: Self = Self(0xfae9_4001_u32 as i32);
    /// The resource is in use (a second VM in one process).
    pub const BUSY: Self = Self(0xfae9_4002_u32 as i32);
    /// An argument is invalid or misaligned.
    pub const BAD_ARGUMENT: Self = Self(0xfae9_4003_u32 as i32);
    /// Illegal guest state (arm64).
    pub const ILLEGAL_GUEST_STATE: Self = Self(0xfae9_4004_u32 as i32);
    /// Out of resources.
    pub const NO_RESOURCES: Self = Self(0xfae9_4005_u32 as i32);
    /// No VM, no vCPU, or a CPU without virtualization.
    pub const NO_DEVICE: Self = Self(0xfae9_4006_u32 as i32);
    /// The process lacks the entitlement `com.apple.security.hypervisor`.
    pub const DENIED: Self = Self(0xfae9_4007_u32 as i32);
    /// Fault (x86_64); on arm64 the same number means "exists".
    pub const FAULT: Self = Self(0xfae9_4008_u32 as i32);
    /// The host or the release does not offer the call.
    pub const UNSUPPORTED: Self = Self(0xfae9_400f_u32 as i32);

    /// `Ok` for [`Self::SUCCESS`], else an [`Error`] that names the call.
    pub fn check(self, call: &'static str) -> Result<()> {
        if self == Self::SUCCESS { Ok(()) } else { Err(Error { call, code: self }) }
    }

    /// What a person can do about it, for the codes `hv_vm_create` answers.
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::DENIED => {
                "the program is not signed with the entitlement com.apple.security.hypervisor; \
                 sign it: codesign --force --sign - --entitlements <plist> <program>"
            }
            Self::BUSY => "this process already has a virtual machine; the framework allows one per process",
            Self::NO_DEVICE => "this CPU cannot virtualize",
            Self::UNSUPPORTED => "this host does not offer virtualization, as inside most virtual machines",
            Self::NO_RESOURCES => "the host is out of memory or virtual machines",
            _ => return None,
        })
    }

    /// The constant's name in hv_error.h, if it is one of them.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::SUCCESS => "HV_SUCCESS",
            Self::ERROR => "HV_ERROR",
            Self::BUSY => "HV_BUSY",
            Self::BAD_ARGUMENT => "HV_BAD_ARGUMENT",
            Self::ILLEGAL_GUEST_STATE => "HV_ILLEGAL_GUEST_STATE",
            Self::NO_RESOURCES => "HV_NO_RESOURCES",
            Self::NO_DEVICE => "HV_NO_DEVICE",
            Self::DENIED => "HV_DENIED",
            Self::FAULT => "HV_FAULT",
            Self::UNSUPPORTED => "HV_UNSUPPORTED",
            _ => return None,
        })
    }
}

impl std::fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#010x}", self.0 as u32),
        }
    }
}

impl std::fmt::Debug for ReturnCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
