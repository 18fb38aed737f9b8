//! From flags and a file to the machine they describe.

use std::fs;
use std::io;
use std::path::PathBuf;

use vmm::config::{
    BackendConfig, BootConfig, CpuLevel, DEFAULT_CMDLINE, DEFAULT_MEMORY_BYTES, MachineConfig, NetConfig,
    OnReboot, SerialBackend, UnpackBy,
};

use crate::args::{BootArgs, Reboot, Unpack, UnpackCache};
use crate::cache_folder;
use crate::exit_code;

/// Why flags and file describe no machine. One line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFileError {
    /// The file cannot be read.
    #[error("--config {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The file is not TOML, or says what no machine has.
    #[error("--config {}: {reason}", .path.display())]
    Unusable { path: PathBuf, reason: String },
    /// Forwards need the user network.
    #[error("--forward works with --net user; the first network here is another")]
    ForwardWithoutUser,
    /// The kernel is missing.
    #[error("--kernel is missing")]
    NoKernel,
    /// It cannot be printed.
    #[error("--print-config: {0}")]
    Unprintable(String),
}

impl ConfigFileError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } => exit_code::UNREADABLE,
            _ => exit_code::USAGE,
        }
    }
}

impl BootArgs {
    /// The machine the flags describe, over that of the file.
    pub(crate) fn machine_config(&self) -> Result<MachineConfig, ConfigFileError> {
        let mut config = self.base()?;
        self.add_console(&mut config);
        self.change_boot(&mut config.boot);
        if config.boot.kernel.as_os_str().is_empty() {
            return Err(ConfigFileError::NoKernel);
        }
        set(&mut config.memory_bytes, &self.memory);
        set(&mut config.cpus, &self.cpus);
        set(&mut config.cpu, &self.cpu.map(CpuLevel::from));
        set(&mut config.serial, &self.serial);
        set(&mut config.virtio, &self.virtio.and_then(|virtio| virtio.transport));
        set(&mut config.packed_rings, &self.virtio.and_then(|virtio| virtio.packed_rings));
        set(&mut config.on_reboot, &self.on_reboot.map(OnReboot::from));
        set(&mut config.shutdown_timeout, &self.shutdown_timeout);
        config.rng |= self.rng;
        config.balloon |= self.balloon || self.balloon_target.is_some();
        config.balloon_target = self.balloon_target.or(config.balloon_target);
        config.vsock = self.vsock.clone().or(config.vsock);
        config.timeout = self.timeout.or(config.timeout);
        config.expect = self.expect.clone().or(config.expect);
        config.debug_exit_port = self.debug_exit_port.or(config.debug_exit_port);
        config.disks.extend_from_slice(&self.disk);
        config.nets.extend_from_slice(&self.net);
        config.shares.extend_from_slice(&self.share);
        self.add_forwards(&mut config.nets)?;
        Ok(config)
    }

    /// The file's machine, or a usual one.
    fn base(&self) -> Result<MachineConfig, ConfigFileError> {
        let Some(path) = &self.config else {
            let boot = BootConfig { unpack_cache: cache_folder::of_user(), ..BootConfig::default() };
            return Ok(MachineConfig::new(DEFAULT_MEMORY_BYTES, boot));
        };
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigFileError::Unreadable { path: path.clone(), source })?;
        toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            // The parser's message may have several lines.
            let words = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            ConfigFileError::Unusable { path: path.clone(), reason: format!("{place}{words}") }
        })
    }

    fn change_boot(&self, boot: &mut BootConfig) {
        set(&mut boot.kernel, &self.kernel);
        boot.initrd = self.initrd.clone().or(boot.initrd.take());
        set(&mut boot.cmdline, &self.cmdline);
        let words = std::iter::once(&boot.cmdline).chain(&self.append);
        let words: Vec<&str> = words.map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
        boot.cmdline = words.join(" ");
        if let Some(unpack) = self.unpack {
            boot.unpack = match unpack {
                Unpack::Host => UnpackBy::Host,
                Unpack::Guest => UnpackBy::Guest,
            };
        }
        match &self.unpack_cache {
            None => {}
            Some(UnpackCache::Off) => boot.unpack_cache = None,
            Some(UnpackCache::Folder(path)) => boot.unpack_cache = Some(path.clone()),
        }
    }

    /// A console that the kernel is to use, where nobody says what it is to use.
    fn add_console(&self, config: &mut MachineConfig) {
        let Some(console) = &self.console else { return };
        config.console = Some(console.clone());
        if *console == SerialBackend::Stdio && config.serial == SerialBackend::Stdio {
            config.serial = SerialBackend::Null;
        }
        if config.boot.cmdline == DEFAULT_CMDLINE {
            config.boot.cmdline = format!("{DEFAULT_CMDLINE} console=hvc0");
        }
    }

    /// Forwards go to the first network, which they bring if there is none.
    fn add_forwards(&self, nets: &mut Vec<NetConfig>) -> Result<(), ConfigFileError> {
        if self.forward.is_empty() {
            return Ok(());
        }
        if nets.is_empty() {
            nets.push(NetConfig::default());
        }
        match nets.first_mut().map(|net| &mut net.backend) {
            Some(BackendConfig::User(user)) => user.forward.extend_from_slice(&self.forward),
            _ => return Err(ConfigFileError::ForwardWithoutUser),
        }
        Ok(())
    }
}

/// `config` as TOML.
pub(crate) fn to_toml(config: &MachineConfig) -> Result<String, ConfigFileError> {
    toml::to_string(config).map_err(|error| ConfigFileError::Unprintable(error.to_string()))
}

/// A flag that was given replaces what was there.
fn set<T: Clone>(place: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        *place = value.clone();
    }
}

impl From<Reboot> for OnReboot {
    fn from(reboot: Reboot) -> Self {
        match reboot {
            Reboot::Reset => Self::Reset,
            Reboot::Exit => Self::Exit,
        }
    }
}

#[cfg(test)]
#[path = "machine_config_test.rs"]
mod machine_config_test;
