//! `rvmm disk`: images that no machine uses.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use vmm::disk::{
    self, ConvertRequest, CreateRequest, DiskError, DiskSize, ImageFormat, ImageInfo, ResizeRequest, Resizing,
};

use crate::progress::Shown;
use crate::signals::Stop;
use crate::{exit_code, voice};

/// What can be done to an image.
#[derive(Debug, Subcommand)]
pub(crate) enum DiskCommand {
    /// Make an image of zeros that takes next to no space.
    Create {
        /// The file, which must not exist.
        path: PathBuf,
        /// The disk's size: a number with K, M, G or T.
        size: DiskSize,
        /// The image's format.
        #[arg(long, value_enum, default_value_t = Format::Raw)]
        format: Format,
    },
    /// Tell format, sizes and, for qcow2, what its header says; also while a machine uses the image.
    Info {
        /// The file or block device.
        path: PathBuf,
        /// The image's format; if not stated, the one it looks like.
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// One line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the disk larger or smaller. Partitions and file systems in it stay as they are.
    Resize {
        /// The file.
        path: PathBuf,
        /// The new size, or with + what to add: 30G, +10G.
        #[arg(value_parser = resizing)]
        size: Resizing,
        /// The image's format.
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// Allow it to become smaller, which loses what is beyond.
        #[arg(long)]
        shrink: bool,
    },
    /// Give the space of blocks that hold zeros only back to the host.
    ///
    /// In the guest, `fstrim` does so for a running machine, and for all that its file system does not use.
    Compact {
        /// The file.
        path: PathBuf,
        /// The image's format.
        #[arg(long, value_enum)]
        format: Option<Format>,
    },
    /// Copy an image into another format, without blocks of zeros. The copy appears when it is whole.
    Convert(ConvertArgs),
}

/// Arguments of `rvmm disk convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The image to read.
    source: PathBuf,
    /// The image to make.
    target: PathBuf,
    /// The source's format; raw if not stated.
    #[arg(long, value_enum, value_name = "FORMAT")]
    from: Option<Format>,
    /// The target's format.
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Format,
    /// Let a qcow2 source use its backing file; the copy has none.
    #[arg(long)]
    backing: bool,
    /// Replace a target that exists.
    #[arg(long)]
    replace: bool,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The disk's bytes as they are
    Raw,
    /// QEMU's copy-on-write format
    Qcow2,
}

impl From<Format> for ImageFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Raw => Self::Raw,
            Format::Qcow2 => Self::Qcow2,
        }
    }
}

/// Carries out a command; answers the exit code.
pub(crate) fn run(command: DiskCommand) -> u8 {
    let stop = Stop::on_signals();
    let done = carry_out(command, &stop);
    match done {
        Ok(()) => exit_code::SUCCESS,
        Err(_) if stop.signal().is_some() => {
            voice::say("stopped; an image that was being made is removed");
            // What was half made is gone by now: the process ends as if it had not noticed.
            let _ = stop.signal().map(signal_hook::low_level::emulate_default_handler);
            exit_code::FAILURE
        }
        Err(error) => {
            voice::say(format_args!("error: {}", vmm::error_chain(&error)));
            exit_code::FAILURE
        }
    }
}

fn carry_out(command: DiskCommand, stop: &Stop) -> Result<(), DiskError> {
    match command {
        DiskCommand::Create { path, size, format } => {
            disk::create(&CreateRequest { path, size, format: format.into() })
        }
        DiskCommand::Info { path, format, json } => {
            let info = disk::info(&path, format.map(Into::into))?;
            // A reader that went away has seen what it wanted.
            let _ =
                io::stdout().lock().write_all(if json { as_json(&info) } else { as_text(&info) }.as_bytes());
            Ok(())
        }
        DiskCommand::Resize { path, size, format, shrink } => {
            let request = ResizeRequest { path, format: format.map(Into::into), size, shrink };
            let report = disk::resize(&request)?;
            voice::say(format_args!(
                "{}: from {} to {}",
                request.path.display(),
                bytes(report.from_bytes),
                bytes(report.to_bytes)
            ));
            Ok(())
        }
        DiskCommand::Compact { path, format } => {
            let report = disk::compact(&path, format.map(Into::into), &mut Shown::new(stop))?;
            voice::say(format_args!(
                "{}: takes {}, was {}",
                path.display(),
                bytes(report.to_bytes),
                bytes(report.from_bytes)
            ));
            Ok(())
        }
        DiskCommand::Convert(ConvertArgs { source, target, from, to, backing, replace }) => {
            let (source_format, target_format) = (from.map(Into::into), to.into());
            let request = ConvertRequest { source, source_format, backing, target, target_format, replace };
            disk::convert(&request, &mut Shown::new(stop))
        }
    }
}

/// A new size: `30G`, or `+10G`.
fn resizing(text: &str) -> Result<Resizing, String> {
    let parse = |text: &str| text.parse::<DiskSize>().map_err(|error| error.to_string());
    match text.strip_prefix('+') {
        Some(more) => parse(more).map(Resizing::By),
        None => parse(text).map(Resizing::To),
    }
}

/// Bytes with a unit, to be read by people.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value.fract() == 0.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", UNITS.get(unit).unwrap_or(&""))
}

fn as_json(info: &ImageInfo) -> String {
    format!("{}\n", serde_json::json!(info))
}

fn as_text(info: &ImageInfo) -> String {
    let format = match info.format {
        ImageFormat::Raw => "raw",
        ImageFormat::Qcow2 => "qcow2",
    };
    let mut rows = vec![
        ("image", info.path.display().to_string()),
        ("format", format.to_owned()),
        ("disk size", format!("{} ({} bytes)", bytes(info.disk_bytes), info.disk_bytes)),
        ("space taken", bytes(info.allocated_bytes)),
    ];
    if info.is_device {
        rows.push(("kind", "block device".to_owned()));
    }
    if info.in_use {
        rows.push(("in use", "yes: somebody may be writing to it".to_owned()));
    }
    if let Some(qcow2) = &info.qcow2 {
        rows.push(("version", qcow2.version.to_string()));
        rows.push(("cluster size", bytes(qcow2.cluster_bytes)));
        if let Some(file) = &qcow2.backing_file {
            let format = qcow2.backing_format.as_deref().unwrap_or("not stated");
            rows.push(("backing file", format!("{file} (format: {format})")));
        }
        if qcow2.snapshots > 0 {
            rows.push(("snapshots", qcow2.snapshots.to_string()));
        }
        if qcow2.encrypted {
            rows.push(("encrypted", "yes: rvmm cannot use it".to_owned()));
        }
        if qcow2.needs_repair {
            rows.push(("damaged", "yes, or not closed: `qemu-img check -r all` may repair it".to_owned()));
        }
    }
    rows.iter().map(|(what, found)| format!("{what:<14} {found}\n")).collect()
}

#[cfg(test)]
#[path = "disk_test.rs"]
mod disk_test;
