//! Flags. Each is validated here, and acted on where the machine is built.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vmm::config::{
    BootConfig, DEFAULT_CMDLINE, EngineChoice, MachineConfig, OnReboot, SerialBackend, UnpackBy,
    VirtioTransport,
};
use vmm::engine::EngineOptions;

use crate::disk::DiskCommand;
use crate::{cache_folder, exit_code, values};

/// Boots Linux guests on Hypervisor.framework, or on rvmm's own CPU engine.
#[derive(Debug, Parser)]
#[command(name = "rvmm", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Log more to standard error; twice for details.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What rvmm can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot a Linux kernel.
    Boot(Box<BootArgs>),
    /// Make, look at, resize, compact and convert disk images.
    Disk {
        /// What to do with one.
        #[command(subcommand)]
        command: DiskCommand,
    },
    /// Tell what this host can run, and how to fix what it cannot.
    Doctor,
    /// Ask an engine how it behaves where documentation is silent; on a Mac, send the output to the project.
    Probe {
        /// Whom to ask.
        #[arg(long, value_enum, default_value_t = Engine::Auto)]
        engine: Engine,
    },
}

/// Flags of `rvmm boot`.
#[derive(Debug, Args)]
#[command(after_help = exit_code::TABLE)]
pub(crate) struct BootArgs {
    /// Kernel file: a bzImage or an ELF vmlinux.
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: PathBuf,

    /// Initramfs file: a cpio archive, raw or compressed.
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,

    /// Kernel command line; replaces the default.
    #[arg(long, value_name = "TEXT", default_value = DEFAULT_CMDLINE, allow_hyphen_values = true)]
    pub(crate) cmdline: String,

    /// Added to the command line, default or not. May be repeated.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) append: Vec<String>,

    /// Guest memory: a number with K, M, G or T; a bare number is MiB.
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = values::memory)]
    pub(crate) memory: u64,

    /// Number of vCPUs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::cpus)]
    pub(crate) cpus: u32,

    /// Where the guest's serial port (ttyS0) goes: stdio, pty, file=PATH, socket=PATH or null.
    ///
    /// On a terminal, Ctrl-A x quits and Ctrl-A h lists the keys. socket=PATH listens and serves one client at a time.
    #[arg(long, value_name = "WHERE", default_value = "stdio", value_parser = values::serial)]
    pub(crate) serial: SerialBackend,

    /// How the guest finds its virtio devices: on PCI, or in windows of memory that ACPI or the command line tells of.
    #[arg(long, value_enum, default_value_t = Virtio::Pci)]
    pub(crate) virtio: Virtio,

    /// Give the guest a virtio entropy device.
    #[arg(long)]
    pub(crate) rng: bool,

    /// What runs the guest's CPUs. A forced engine that is missing is an error, never replaced by the other.
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    pub(crate) engine: Engine,

    /// How the software engine executes code: jit=on|off, threshold=N, cache=SIZE, separated by commas.
    ///
    /// A block of guest code becomes host code when it was interpreted threshold times; cache bounds that code for
    /// each vCPU.
    #[arg(long, value_name = "OPTIONS", default_value = "", hide_default_value = true, value_parser = values::engine_options)]
    pub(crate) engine_opts: EngineOptions,

    /// What happens when the guest reboots: boot again, or exit.
    ///
    /// After a kernel panic the guest is never booted again.
    #[arg(long, value_enum, default_value_t = Reboot::Reset)]
    pub(crate) on_reboot: Reboot,

    /// End after this time: a number with ms, s, m or h; a bare number is seconds.
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) timeout: Option<Duration>,

    /// How long the guest may take to power off after SIGTERM, which presses its power button. A second SIGTERM ends it at once.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    pub(crate) shutdown_timeout: Duration,

    /// Succeed as soon as the console shows this regular expression, and fail if the guest ends first.
    ///
    /// `^` and `$` match at lines. A match spans at most 16 KiB.
    #[arg(long, value_name = "REGEX", value_parser = values::pattern)]
    pub(crate) expect: Option<String>,

    /// Print a report to standard error at the end; json is one line.
    #[arg(long, value_enum)]
    pub(crate) report: Option<ReportStyle>,

    /// Who unpacks kernel and initramfs: rvmm (fast), or the guest as on hardware.
    #[arg(long, value_enum, default_value_t = Unpack::Host)]
    pub(crate) unpack: Unpack,

    /// Where unpacked kernels and initramfs are kept for the next run: a folder, or off.
    ///
    /// Without this flag, a folder rvmm among the user's caches. What cannot be kept is unpacked anew; -v tells why.
    #[arg(long, value_name = "DIR|off", value_parser = values::unpack_cache)]
    pub(crate) unpack_cache: Option<UnpackCache>,

    /// An I/O port whose writes end the run; for guest test programs (the usual one is 0xf4).
    #[arg(long, value_name = "PORT", value_parser = values::port)]
    pub(crate) debug_exit_port: Option<u16>,
}

/// `--engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Hypervisor.framework where it works, else the software engine
    Auto,
    /// Hypervisor.framework
    Hvf,
    /// The software engine
    Soft,
}

/// `--virtio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Virtio {
    /// PCI functions with MSI-X
    Pci,
    /// Windows of memory, in the ACPI tables
    Mmio,
    /// Windows of memory, on the kernel's command line
    MmioCmdline,
}

/// `--on-reboot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reboot {
    /// Reset in place and boot again
    Reset,
    /// End
    Exit,
}

/// `--report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportStyle {
    /// For programs
    Json,
    /// For people
    Text,
}

/// `--unpack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unpack {
    /// rvmm
    Host,
    /// The guest
    Guest,
}

/// `--unpack-cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnpackCache {
    /// Nothing is kept.
    Off,
    /// It is kept there.
    Folder(PathBuf),
}

impl BootArgs {
    /// The machine these flags describe.
    pub(crate) fn config(&self) -> MachineConfig {
        let cmdline: Vec<&str> = std::iter::once(&self.cmdline)
            .chain(&self.append)
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .collect();
        let boot = BootConfig {
            kernel: self.kernel.clone(),
            initrd: self.initrd.clone(),
            cmdline: cmdline.join(" "),
            unpack: match self.unpack {
                Unpack::Host => UnpackBy::Host,
                Unpack::Guest => UnpackBy::Guest,
            },
            unpack_cache: match &self.unpack_cache {
                None => cache_folder::of_user(),
                Some(UnpackCache::Off) => None,
                Some(UnpackCache::Folder(path)) => Some(path.clone()),
            },
        };
        MachineConfig {
            cpus: self.cpus,
            serial: self.serial.clone(),
            virtio: match self.virtio {
                Virtio::Pci => VirtioTransport::Pci,
                Virtio::Mmio => VirtioTransport::Mmio,
                Virtio::MmioCmdline => VirtioTransport::MmioCmdline,
            },
            rng: self.rng,
            on_reboot: match self.on_reboot {
                Reboot::Reset => OnReboot::Reset,
                Reboot::Exit => OnReboot::Exit,
            },
            timeout: self.timeout,
            shutdown_timeout: self.shutdown_timeout,
            expect: self.expect.clone(),
            debug_exit_port: self.debug_exit_port,
            ..MachineConfig::new(self.memory, boot)
        }
    }
}

impl From<Engine> for EngineChoice {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Auto => Self::Auto,
            Engine::Hvf => Self::Hvf,
            Engine::Soft => Self::Soft,
        }
    }
}

#[cfg(test)]
#[path = "args_test.rs"]
mod args_test;
