//! Which provider of virtual CPUs runs, and why.

use std::sync::Arc;

use hypervisor_framework::native::{self, Unavailable};
use hypervisor_framework::soft::Soft;
use hypervisor_framework::x86_64::Hypervisor;

use crate::config::EngineChoice;
use crate::os;
use crate::x86_64::cpuid::HostCpuid;

/// Names of the engines.
const HVF: &str = "hvf";
const SOFT: &str = "soft";

/// A provider, chosen.
#[derive(Clone)]
pub struct Engine {
    /// The provider.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// `hvf` or `soft`.
    pub name: &'static str,
    /// Why this one, for people.
    pub why: String,
}

impl Engine {
    /// The host's CPUID, where the guest's instructions run on the host's processor.
    pub(crate) fn host_cpuid(&self) -> Option<Box<dyn HostCpuid>> {
        if self.name == HVF { os::host_cpuid() } else { None }
    }
}

/// The engine asked for is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// `hvf` was asked for.
    #[error("engine hvf is not available: {0}")]
    NoFramework(#[from] Unavailable),
}

/// Chooses a provider. What is asked for by name is never replaced by another.
///
/// # Errors
/// [`EngineError`] says why there is none.
pub fn select(choice: EngineChoice) -> Result<Engine, EngineError> {
    let soft = |why: String| Engine { hypervisor: Arc::new(Soft::default()), name: SOFT, why };
    let native = |hypervisor, why: &str| Engine { hypervisor, name: HVF, why: why.to_owned() };
    match choice {
        EngineChoice::Soft => Ok(soft("asked for".to_owned())),
        EngineChoice::Hvf => Ok(native(native::x86_64_hypervisor()?, "asked for")),
        EngineChoice::Auto => Ok(match native::x86_64_hypervisor() {
            Ok(hypervisor) => native(hypervisor, "Hypervisor.framework runs x86_64 guests on this host"),
            Err(reason) => soft(reason.to_string()),
        }),
    }
}
