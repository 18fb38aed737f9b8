//! What a machine is made of: plain data, the same for the command line, a file and an embedding program.

mod share;
mod text;

use std::path::PathBuf;
use std::time::Duration;

pub use devices::disk::DiskConfig;
pub use devices::net::{BackendConfig, Forward, NetConfig};
pub use devices::virtio::vsock::VsockConfig;
use serde::{Deserialize, Serialize};

pub use self::share::{ShareConfig, ShareIds, ShareTextError};
pub use self::text::{TextError, parse_duration, parse_size};

/// The smallest guest memory, bytes. No kernel runs in less; boot-time structures need about 1 MiB of it.
pub const MIN_MEMORY_BYTES: u64 = 2 << 20;

/// The largest guest memory, bytes: keeps every guest-physical address within the 39 bits that each CPU with EPT has.
pub const MAX_MEMORY_BYTES: u64 = 256 << 30;

/// Guest memory is a multiple of this many bytes: the largest host page (16 KiB) fits, and a page-table entry of the guest.
pub const MEMORY_STEP_BYTES: u64 = 1 << 20;

/// Guest memory where nobody says how much, bytes.
pub const DEFAULT_MEMORY_BYTES: u64 = 512 << 20;

/// The largest number of vCPUs: what xAPIC identifiers address, 0xff being the broadcast.
pub const MAX_CPUS: u32 = 64;

/// The command line a guest gets when none is given: console on COM1, and a reboot at once after a panic, so that the
/// panic ends the run (see [`crate::StopReason::Panic`]) instead of hanging it.
pub const DEFAULT_CMDLINE: &str = "console=ttyS0 panic=-1";

/// A whole machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineConfig {
    /// Guest memory in bytes, a multiple of 1 MiB; a text such as `512M` in a file.
    #[serde(rename = "memory", default = "default_memory", with = "text::size")]
    pub memory_bytes: u64,
    /// Number of vCPUs, 1–64.
    #[serde(default = "one")]
    pub cpus: u32,
    /// The instructions the guest is told of; [`crate::engine::select_with`] takes it, as engines differ in what they can.
    #[serde(default)]
    pub cpu: CpuLevel,
    /// What COM1 is connected to.
    #[serde(default)]
    pub serial: SerialBackend,
    /// A virtio console (`hvc0`), and what it is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<SerialBackend>,
    /// How the guest finds its virtio devices.
    #[serde(default)]
    pub virtio: VirtioTransport,
    /// Virtio devices offer packed rings beside split ones (virtio 1.2, section 2.8).
    #[serde(default)]
    pub packed_rings: bool,
    /// A virtio entropy device.
    #[serde(default)]
    pub rng: bool,
    /// A virtio balloon: memory that the guest frees goes back to the host.
    #[serde(default)]
    pub balloon: bool,
    /// What the balloon is to hold from the start, bytes; the guest has so much less until it runs out of memory.
    #[serde(default, with = "text::optional_size", skip_serializing_if = "Option::is_none")]
    pub balloon_target: Option<u64>,
    /// What happens when the guest resets itself.
    #[serde(default)]
    pub on_reboot: OnReboot,
    /// The run ends with [`crate::StopReason::Timeout`] after this long, counted from the start of the run.
    #[serde(default, with = "text::optional_time", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long a guest may take to power off when the process is asked to end.
    #[serde(default = "shutdown_timeout", with = "text::time")]
    pub shutdown_timeout: Duration,
    /// The run ends with [`crate::StopReason::ExpectMatched`] when the console shows this regular expression.
    ///
    /// Syntax of the regex crate, matched on bytes; `^` and `$` match at lines. A match spans at most 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// An I/O port whose writes end the run with [`crate::StopReason::DebugExit`]; for guest test programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_exit_port: Option<u16>,
    /// What to boot.
    #[serde(default)]
    pub boot: BootConfig,
    /// Disks, in the order the guest finds them.
    #[serde(default, rename = "disk", skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskConfig>,
    /// Network cards.
    #[serde(default, rename = "net", skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<NetConfig>,
    /// Shared folders.
    #[serde(default, rename = "share", skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<ShareConfig>,
    /// Sockets between host and guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vsock: Option<VsockConfig>,
}

/// The instructions the guest's CPUs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuLevel {
    /// x86-64-v2: SSE4.2, no AVX. What a guest stores in vector registers has 128 bits on every host.
    V2,
    /// x86-64-v3: with AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT and MOVBE. The software engine has them on every host;
    /// Hypervisor.framework has them if the host's processor does.
    V3,
    /// What runs at full speed here: with the software engine v3 where the host's processor has all of it and guest code
    /// becomes host code, else (and where time is counted, so that a boot repeats on other hosts) v2; with
    /// Hypervisor.framework all that the host's processor has and guests may see.
    #[default]
    HostSafe,
}

/// How the guest finds its virtio devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VirtioTransport {
    /// On PCI, with MSI-X.
    #[default]
    Pci,
    /// In windows of memory, told by ACPI.
    Mmio,
    /// In windows of memory, told by the kernel's command line (`virtio_mmio.device=`).
    MmioCmdline,
}

/// Kernel, initramfs and command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootConfig {
    /// Kernel file: a bzImage or an ELF vmlinux. A file may leave it to the flags; a machine has one.
    #[serde(default)]
    pub kernel: PathBuf,
    /// Initramfs file: a cpio archive, raw or compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    #[serde(default = "default_cmdline")]
    pub cmdline: String,
    /// Who unpacks compressed payloads.
    #[serde(default)]
    pub unpack: UnpackBy,
    /// A folder in which what the VMM unpacked is kept for the next run, up to 512 MiB; made if it is not there.
    ///
    /// It must be the user's own, and not writable for others; else nothing is kept, as with `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpack_cache: Option<PathBuf>,
}

impl Default for BootConfig {
    /// Without a kernel yet.
    fn default() -> Self {
        Self {
            kernel: PathBuf::new(),
            initrd: None,
            cmdline: default_cmdline(),
            unpack: UnpackBy::default(),
            unpack_cache: None,
        }
    }
}

/// Who unpacks the kernel's payload and the initramfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnpackBy {
    /// The VMM, natively, before the first guest instruction.
    #[default]
    Host,
    /// The guest's own code, as on hardware.
    Guest,
}

/// What a serial port or a console is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SerialBackend {
    /// Standard input and output of the process. A terminal is put into raw mode meanwhile.
    #[default]
    Stdio,
    /// A pseudo-terminal; its path is told with [`crate::Event::PtyReady`].
    Pty,
    /// Output goes to a file, created or truncated; there is no input.
    File(PathBuf),
    /// A listening Unix socket; one client at a time, output without a client is dropped.
    Socket(PathBuf),
    /// Output is dropped, there is no input.
    Null,
}

/// What happens when the guest resets itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnReboot {
    /// The machine is reset in place and boots again.
    #[default]
    Reset,
    /// The run ends with [`crate::StopReason::Reset`].
    Exit,
}

/// Which provider of virtual CPUs to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The host's Hypervisor.framework where it works, else the software engine.
    #[default]
    Auto,
    /// Hypervisor.framework or nothing.
    Hvf,
    /// The software engine.
    Soft,
}

/// A [`MachineConfig`] that describes no machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Too little or too much memory.
    #[error("memory: {bytes} bytes is outside {} MiB..={} GiB", MIN_MEMORY_BYTES >> 20, MAX_MEMORY_BYTES >> 30)]
    MemorySize {
        /// Bytes asked for.
        bytes: u64,
    },
    /// Memory that is no multiple of [`MEMORY_STEP_BYTES`].
    #[error("memory: {bytes} bytes is not a multiple of 1 MiB")]
    MemoryStep {
        /// Bytes asked for.
        bytes: u64,
    },
    /// Too few or too many vCPUs.
    #[error("cpus: {cpus} is outside 1..={MAX_CPUS}")]
    Cpus {
        /// vCPUs asked for.
        cpus: u32,
    },
    /// A share that cannot be.
    #[error("share {path}: {source}", path = .path.display())]
    Share {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: ShareTextError,
    },
    /// Nothing to boot.
    #[error("boot: no kernel")]
    NoKernel,
    /// Standard input and output cannot be shared.
    #[error("serial and console: only one of them can be stdio")]
    TwoStdio,
    /// A size for a balloon that is not there, or that is larger than the guest.
    #[error("balloon_target: {0}")]
    BalloonTarget(&'static str),
    /// Two shares of one name.
    #[error("share: two have the tag {tag:?}")]
    Tag {
        /// The name.
        tag: String,
    },
    /// The pattern does not parse.
    #[error("expect: {reason}")]
    Expect {
        /// The regex parser's words, on one line.
        reason: String,
    },
}

impl MachineConfig {
    /// A machine with one vCPU that boots `boot`, its console on standard input and output.
    pub fn new(memory_bytes: u64, boot: BootConfig) -> Self {
        Self {
            memory_bytes,
            cpus: one(),
            cpu: CpuLevel::default(),
            boot,
            serial: SerialBackend::default(),
            console: None,
            virtio: VirtioTransport::default(),
            packed_rings: false,
            rng: false,
            balloon: false,
            balloon_target: None,
            on_reboot: OnReboot::default(),
            timeout: None,
            shutdown_timeout: shutdown_timeout(),
            expect: None,
            debug_exit_port: None,
            disks: Vec::new(),
            nets: Vec::new(),
            shares: Vec::new(),
            vsock: None,
        }
    }

    /// Checks what can be checked without touching a file.
    ///
    /// # Errors
    /// Names the field and the value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_memory(self.memory_bytes)?;
        check_cpus(self.cpus)?;
        if self.boot.kernel.as_os_str().is_empty() {
            return Err(ConfigError::NoKernel);
        }
        if self.serial == SerialBackend::Stdio && self.console == Some(SerialBackend::Stdio) {
            return Err(ConfigError::TwoStdio);
        }
        match self.balloon_target {
            Some(_) if !self.balloon => return Err(ConfigError::BalloonTarget("there is no balloon")),
            Some(bytes) if bytes > self.memory_bytes => {
                return Err(ConfigError::BalloonTarget("more than the guest's memory"));
            }
            _ => {}
        }
        let mut tags = Vec::new();
        for (index, share) in self.shares.iter().enumerate() {
            share.validate().map_err(|source| ConfigError::Share { path: share.path.clone(), source })?;
            let tag = share.tag(index);
            if tags.contains(&tag) {
                return Err(ConfigError::Tag { tag });
            }
            tags.push(tag);
        }
        self.expect.as_deref().map_or(Ok(()), |pattern| crate::console::ExpectPattern::new(pattern).map(drop))
    }
}

/// Is this a size guest memory can have?
///
/// # Errors
/// [`ConfigError::MemorySize`] or [`ConfigError::MemoryStep`].
pub fn check_memory(bytes: u64) -> Result<(), ConfigError> {
    if !(MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES).contains(&bytes) {
        return Err(ConfigError::MemorySize { bytes });
    }
    if !bytes.is_multiple_of(MEMORY_STEP_BYTES) {
        return Err(ConfigError::MemoryStep { bytes });
    }
    Ok(())
}

/// Is this a number of vCPUs a machine can have?
///
/// # Errors
/// [`ConfigError::Cpus`].
pub fn check_cpus(cpus: u32) -> Result<(), ConfigError> {
    if (1..=MAX_CPUS).contains(&cpus) { Ok(()) } else { Err(ConfigError::Cpus { cpus }) }
}

/// Stopping a few containers takes dockerd ten seconds and more.
fn shutdown_timeout() -> Duration {
    Duration::from_secs(60)
}

fn one() -> u32 {
    1
}

fn default_memory() -> u64 {
    DEFAULT_MEMORY_BYTES
}

fn default_cmdline() -> String {
    DEFAULT_CMDLINE.to_owned()
}

#[cfg(test)]
#[path = "config_test.rs"]
mod config_test;
