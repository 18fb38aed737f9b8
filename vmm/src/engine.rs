//! Which provider of virtual CPUs runs, and why.

use std::sync::Arc;

use hypervisor_framework::ReturnCode;
use hypervisor_framework::native;
pub use hypervisor_framework::native::Unavailable;
use hypervisor_framework::soft::Soft;
pub use hypervisor_framework::soft::{EngineOptions, Level};
use hypervisor_framework::x86_64::{Hypervisor, VmOptions};

use crate::config::{CpuLevel, EngineChoice};
use crate::os;
use crate::x86_64::cpuid::{HostCpuid, host_level};

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
    /// The guest's time is the count of its instructions, and what is random follows from this number.
    pub seed: Option<u64>,
    /// The instructions guests are told of; `None` is all that the host's processor has.
    pub level: Option<Level>,
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
    /// Counted time was asked for, and an engine that cannot count.
    #[error("clock=virtual needs the software engine: hvf does not count instructions")]
    CannotCount,
    /// A level was asked for that the host's processor lacks.
    #[error(
        "cpu v3 needs a host processor with AVX2, BMI2 and FMA for engine hvf; engine soft has them everywhere"
    )]
    NoLevel,
}

/// Chooses a provider with the software engine's defaults; see [`select_with`].
///
/// # Errors
/// [`EngineError`] says why there is none.
pub fn select(choice: EngineChoice) -> Result<Engine, EngineError> {
    select_with(choice, EngineOptions::default(), CpuLevel::default())
}

/// Chooses a provider. What is asked for by name is never replaced by another.
///
/// # Errors
/// [`EngineError`] says why there is none.
pub fn select_with(
    choice: EngineChoice,
    options: EngineOptions,
    cpu: CpuLevel,
) -> Result<Engine, EngineError> {
    let seed = options.seed;
    let soft = |why: String| {
        let level = match cpu {
            CpuLevel::V2 => Level::V2,
            CpuLevel::V3 => Level::V3,
            // A boot that repeats exactly does so on other hosts.
            CpuLevel::HostSafe if seed.is_some() => Level::V2,
            CpuLevel::HostSafe => options.host_level(),
        };
        let hypervisor = Arc::new(Soft::default().with_engine(EngineOptions { level, ..options }));
        Engine { hypervisor, name: SOFT, why, seed, level: Some(level) }
    };
    let native = |hypervisor, why: &str| {
        let level = native_level(cpu, os::host_cpuid().as_deref())?;
        Ok(Engine { hypervisor, name: HVF, why: why.to_owned(), seed: None, level })
    };
    match choice {
        EngineChoice::Soft => Ok(soft("asked for".to_owned())),
        EngineChoice::Hvf if seed.is_some() => Err(EngineError::CannotCount),
        EngineChoice::Auto if seed.is_some() => Ok(soft("clock=virtual counts instructions".to_owned())),
        EngineChoice::Hvf => native(native::x86_64_hypervisor()?, "asked for"),
        EngineChoice::Auto => match native::x86_64_hypervisor() {
            Ok(hypervisor) => native(hypervisor, "Hypervisor.framework runs x86_64 guests on this host"),
            Err(reason) => Ok(soft(reason.to_string())),
        },
    }
}

/// What guests are told of where they run on the host's processor.
fn native_level(cpu: CpuLevel, host: Option<&dyn HostCpuid>) -> Result<Option<Level>, EngineError> {
    match cpu {
        CpuLevel::V2 => Ok(Some(Level::V2)),
        CpuLevel::V3 if host.is_some_and(|host| host_level(host) >= Level::V3) => Ok(Some(Level::V3)),
        CpuLevel::V3 => Err(EngineError::NoLevel),
        CpuLevel::HostSafe => Ok(None),
    }
}

/// Asks an engine the open questions about the framework's behaviour; the answers, for people, ending in a line end.
pub fn probe(engine: &Engine) -> String {
    let report = hypervisor_framework::probe::run(&*engine.hypervisor).to_string();
    if report.ends_with('\n') { report } else { report + "\n" }
}

/// What a host offers, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// macOS' version; `None` on other systems.
    pub macos_version: Option<String>,
    /// The Mac's model.
    pub model: Option<String>,
    /// sysctl `kern.hv_support`; `None` where there is none.
    pub hv_support: Option<bool>,
    /// Whether Hypervisor.framework runs x86_64 guests for this process.
    pub framework: Framework,
}

/// The state of Hypervisor.framework on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framework {
    /// A virtual machine could be made.
    Works,
    /// There is none for x86_64 guests.
    Absent(Unavailable),
    /// It is there, and this program lacks the entitlement `com.apple.security.hypervisor`.
    NotEntitled,
    /// It is there, and fails.
    Fails(hypervisor_framework::Error),
}

/// Looks at the host. Makes a virtual machine for a moment: only trying tells whether this program may.
pub fn inspect_host() -> HostReport {
    let facts = native::host_facts();
    let framework = match native::x86_64_hypervisor() {
        Err(reason) => Framework::Absent(reason),
        Ok(hypervisor) => match hypervisor.create_vm(VmOptions::empty()) {
            Err(error) if error.code == ReturnCode::DENIED => Framework::NotEntitled,
            // Another virtual machine of this very process is alive: so it may.
            Err(error) if error.code != ReturnCode::BUSY => Framework::Fails(error),
            _ => Framework::Works,
        },
    };
    HostReport {
        macos_version: facts.macos_version,
        model: facts.model,
        hv_support: facts.hv_support,
        framework,
    }
}
