//! Flags. Each is validated here, and acted on where the machine is built.
#![allow(rustdoc::broken_intra_doc_links)] // the help's brackets say what is optional

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vmm::config::{
    CpuLevel, DiskConfig, EngineChoice, Forward, NetConfig, SerialBackend, ShareConfig, VirtioTransport,
    VsockConfig,
};
use vmm::engine::EngineOptions;

use crate::disk::DiskCommand;
use crate::{exit_code, values};

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
    /// A machine in a file, as --print-config prints it. Flags change what it says; disks, networks and shares are added.
    ///
    /// Relative paths in it start at the current folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print the machine that the flags and --config describe, as TOML, and end.
    #[arg(long)]
    pub(crate) print_config: bool,

    /// Kernel file: a bzImage or an ELF vmlinux.
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pub(crate) kernel: Option<PathBuf>,

    /// Initramfs file: a cpio archive, raw or compressed.
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,

    /// Kernel command line; replaces the default, "console=ttyS0 panic=-1".
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) cmdline: Option<String>,

    /// Added to the command line, default or not. May be repeated.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) append: Vec<String>,

    /// Guest memory: a number with K, M, G or T; a bare number is MiB [default: 512M].
    #[arg(long, value_name = "SIZE", value_parser = values::memory)]
    pub(crate) memory: Option<u64>,

    /// Number of vCPUs [default: 1].
    #[arg(long, value_name = "N", value_parser = values::cpus)]
    pub(crate) cpus: Option<u32>,

    /// The instructions the guest's CPUs have: v2, v3 or host-safe [default: host-safe].
    ///
    /// v2 and v3 are levels of x86-64. The software engine has both on every host; where the host's processor lacks AVX2 or the
    /// like, they are interpreted. host-safe is what runs at full speed here: with the software engine v3 on hosts that have it,
    /// else (and where time is counted) v2; with Hypervisor.framework all that the host has and guests may see.
    #[arg(long, value_enum)]
    pub(crate) cpu: Option<Cpu>,

    /// Where the guest's serial port (ttyS0) goes: stdio, pty, file=PATH, socket=PATH or null [default: stdio].
    ///
    /// On a terminal, Ctrl-A x quits and Ctrl-A h lists the keys. socket=PATH listens and serves one client at a time.
    #[arg(long, value_name = "WHERE", value_parser = values::serial)]
    pub(crate) serial: Option<SerialBackend>,

    /// A virtio console (hvc0), and where it goes: as --serial.
    ///
    /// console=hvc0 is added to the default command line. With stdio the serial port is connected to nothing, unless --serial
    /// says otherwise.
    #[arg(long, value_name = "WHERE", value_parser = values::serial)]
    pub(crate) console: Option<SerialBackend>,

    /// A disk: PATH[,size=20G][,format=raw|qcow2][,ro][,serial=TEXT][,flush=none|os|drive][,overlay=tmp][,backing].
    ///
    /// With size=, a missing file becomes a sparse image of that size. The format is never guessed: raw unless stated. A flush by
    /// the guest reaches the drive's medium unless flush= says less. overlay=tmp throws all writes away at the end. May be
    /// repeated: /dev/vda, /dev/vdb, ...
    #[arg(long, value_name = "DISK")]
    pub(crate) disk: Vec<DiskConfig>,

    /// A network card: user (NAT inside of rvmm, no privileges), socket,stream=PATH, socket,datagram=PATH, tap,name=NAME (Linux) or
    /// vmnet,mode=shared|host|bridged (macOS); each with [,mac=MAC][,mtu=N][,pcap=FILE]. May be repeated.
    #[arg(long, value_name = "NET")]
    pub(crate) net: Vec<NetConfig>,

    /// A way from the host into the guest over the user network, which it implies: tcp:[ADDRESS:]PORT=PORT, udp:[ADDRESS:]PORT=PORT
    /// or unix:PATH=PORT. May be repeated.
    #[arg(long, value_name = "FORWARD")]
    pub(crate) forward: Vec<Forward>,

    /// A folder of the host for the guest, over 9p: PATH[,tag=TAG][,mount=PATH|off][,ro][,ids=passthrough|mapped|squash].
    ///
    /// The guest is asked to mount it at the host's path, or at mount=: rvmm.share=TAG:PATH is added to its command line. Each of
    /// squash's uid=N and gid=N is the host user's unless given. May be repeated.
    #[arg(long, value_name = "SHARE")]
    pub(crate) share: Vec<ShareConfig>,

    /// Sockets between host and guest: [cid=N,]path=PATH.
    ///
    /// A client of the Unix socket PATH says CONNECT and a port; connections of the guest to the host's port N go to PATH_N.
    #[arg(long, value_name = "VSOCK")]
    pub(crate) vsock: Option<VsockConfig>,

    /// How the guest finds its virtio devices: pci, mmio or mmio-cmdline [,packed=on|off] [default: pci].
    ///
    /// On PCI, or in windows of memory that ACPI (mmio) or the kernel's command line (mmio-cmdline) tells of. packed=on offers packed
    /// rings beside split ones.
    #[arg(long, value_name = "HOW", value_parser = values::virtio)]
    pub(crate) virtio: Option<Virtio>,

    /// Give the guest a virtio entropy device.
    #[arg(long)]
    pub(crate) rng: bool,

    /// Give the guest a virtio balloon: memory that the guest frees goes back to the host.
    #[arg(long)]
    pub(crate) balloon: bool,

    /// Give the guest a balloon that holds SIZE from the start. A guest that runs out of memory takes it back.
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) balloon_target: Option<u64>,

    /// What runs the guest's CPUs. A forced engine that is missing is an error, never replaced by the other.
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    pub(crate) engine: Engine,

    /// How the software engine executes code: jit=on|off|portable, threshold=N, cache=SIZE, clock=virtual, seed=N, check=N, separated by commas.
    ///
    /// A block of guest code becomes host code when it was interpreted threshold times; cache bounds that code for
    /// each vCPU. With clock=virtual the guest's time is the count of its instructions and a boot repeats exactly; what is
    /// random follows from the seed; check=N compares with an interpreter every N instructions.
    #[arg(long, value_name = "OPTIONS", default_value = "", hide_default_value = true, value_parser = values::engine_options)]
    pub(crate) engine_opts: EngineOptions,

    /// What happens when the guest reboots: boot again, or exit [default: reset].
    ///
    /// After a kernel panic the guest is never booted again.
    #[arg(long, value_enum)]
    pub(crate) on_reboot: Option<Reboot>,

    /// End after this time: a number with ms, s, m or h; a bare number is seconds.
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) timeout: Option<Duration>,

    /// How long the guest may take to power off after SIGTERM, which presses its power button. A second SIGTERM ends it at once
    /// [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) shutdown_timeout: Option<Duration>,

    /// Succeed as soon as the console shows this regular expression, and fail if the guest ends first.
    ///
    /// `^` and `$` match at lines. A match spans at most 16 KiB.
    #[arg(long, value_name = "REGEX", value_parser = values::pattern)]
    pub(crate) expect: Option<String>,

    /// Print a report to standard error at the end; json is one line.
    #[arg(long, value_enum)]
    pub(crate) report: Option<ReportStyle>,

    /// Who unpacks kernel and initramfs: rvmm (fast), or the guest as on hardware [default: host].
    #[arg(long, value_enum)]
    pub(crate) unpack: Option<Unpack>,

    /// Where unpacked kernels and initramfs are kept for the next run: a folder, or off.
    ///
    /// Without this flag, a folder rvmm among the user's caches. What cannot be kept is unpacked anew; -v tells why.
    #[arg(long, value_name = "DIR|off", value_parser = values::unpack_cache)]
    pub(crate) unpack_cache: Option<UnpackCache>,

    /// An I/O port whose writes end the run; for guest test programs (the usual one is 0xf4).
    #[arg(long, value_name = "PORT", value_parser = values::port)]
    pub(crate) debug_exit_port: Option<u16>,
}

/// `--cpu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cpu {
    /// x86-64-v2: SSE4.2, no AVX
    V2,
    /// x86-64-v3: AVX2, BMI2, FMA
    V3,
    /// What runs at full speed on this host
    HostSafe,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Virtio {
    /// Where devices are.
    pub(crate) transport: Option<VirtioTransport>,
    /// Whether packed rings are offered.
    pub(crate) packed_rings: Option<bool>,
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

impl From<Cpu> for CpuLevel {
    fn from(cpu: Cpu) -> Self {
        match cpu {
            Cpu::V2 => Self::V2,
            Cpu::V3 => Self::V3,
            Cpu::HostSafe => Self::HostSafe,
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
