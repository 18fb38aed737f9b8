//! Shows what the loader makes of real files: `inspect KERNEL [INITRAMFS] [--guest] [--memory MIB] [--cmdline TEXT]
//! [--store DIRECTORY] [--acpi FILE] [--dump DIRECTORY]`.
//!
//! Prints the time each step takes, the placements and the memory map. `--store` keeps unpacked data there; `--acpi` writes each ACPI table to FILE.SIGNATURE,
//! for `iasl -d`; `--dump` writes each placement to a file named by its address, for other emulators.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use boot::acpi::{AcpiConfig, PciConfig};
use boot::{
    GpaRange, Initramfs, KeptData, KernelImage, LoadOptions, MemoryLayout, Part, PlanRequest, Unpack,
    UnpackedStore, plan,
};

type Failure = Box<dyn std::error::Error>;

/// A directory with a file for every key.
struct Directory(PathBuf);

impl UnpackedStore for Directory {
    fn get(&self, key: &str) -> Option<KeptData> {
        Some(Arc::new(fs::read(self.0.join(key)).ok()?))
    }

    fn put(&self, key: &str, parts: [&[u8]; 2]) {
        let write = || -> io::Result<()> {
            let mut file = File::create(self.0.join(key))?;
            parts.iter().try_for_each(|part| file.write_all(part))
        };
        // What could not be kept is unpacked anew the next time.
        let _ = write();
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut files = Vec::new();
    let (mut unpack, mut memory, mut acpi, mut dump) = (Unpack::Host, 512_u64 << 20, None, None);
    let mut directory = None;
    let mut cmdline = "console=ttyS0".to_owned();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--guest" => unpack = Unpack::Guest,
            "--memory" => memory = arguments.next().ok_or("--memory MIB")?.parse::<u64>()? << 20,
            "--cmdline" => cmdline = arguments.next().ok_or("--cmdline TEXT")?,
            "--dump" => dump = Some(arguments.next().ok_or("--dump DIRECTORY")?),
            "--store" => directory = Some(Directory(arguments.next().ok_or("--store DIRECTORY")?.into())),
            "--acpi" => acpi = Some(arguments.next().ok_or("--acpi FILE")?),
            _ => files.push(argument),
        }
    }
    let mut out = io::stdout().lock();
    let kernel_file = files.first().ok_or("usage: inspect KERNEL [INITRAMFS]")?;
    let store = directory.as_ref().map(|directory| directory as &dyn UnpackedStore);
    let options = LoadOptions { unpack, max_unpacked: memory, store };
    let bytes = fs::read(kernel_file)?;
    let start = Instant::now();
    let kernel = KernelImage::load_with(bytes, kernel_file, &options)?;
    let (format, entry) = (kernel.format(), kernel.entry_point());
    writeln!(out, "kernel {format:?}, {entry:?}, {} bytes, {:?}", kernel.loaded_size(), start.elapsed())?;
    writeln!(out, "version {}", kernel.version().unwrap_or("-"))?;
    let initramfs = match files.get(1) {
        Some(file) => {
            let bytes = fs::read(file)?;
            let start = Instant::now();
            let initramfs = Initramfs::load_with(bytes, file, &options)?;
            let (compression, size) = (initramfs.compression(), initramfs.bytes().len());
            writeln!(out, "initramfs {compression:?}, {size} bytes, {:?}", start.elapsed())?;
            Some(initramfs)
        }
        None => None,
    };

    let layout = MemoryLayout {
        ram: vec![
            GpaRange::new(0, memory.min(3 << 30)),
            GpaRange::new(1 << 32, memory.saturating_sub(3 << 30)),
        ],
        reserved: vec![GpaRange::new(0xe000_0000, 256 << 20)],
    };
    let mut machine = AcpiConfig::pc(2);
    machine.pvpanic = Some(0x505);
    machine.pci = Some(PciConfig {
        ecam: GpaRange::new(0xe000_0000, 256 << 20),
        last_bus: 255,
        mmio32: GpaRange::new(0xc000_0000, 512 << 20),
        mmio64: Some(GpaRange::new(64 << 30, 64 << 30)),
        io: (0xc000, 0xffff),
        intx: [16, 17, 18, 19],
    });
    let start = Instant::now();
    let image = plan(&PlanRequest {
        kernel: &kernel,
        initramfs: initramfs.as_ref(),
        cmdline: &cmdline,
        memory: &layout,
        acpi: Some(&machine),
    })?;
    writeln!(out, "plan {:?}", start.elapsed())?;
    for placement in &image.placements {
        writeln!(
            out,
            "  {:<16} {} ({} bytes given)",
            placement.part.to_string(),
            placement.range(),
            placement.bytes.len()
        )?;
    }
    for entry in &image.e820 {
        writeln!(out, "  e820 {:?} {}", entry.kind, entry.range)?;
    }
    writeln!(out, "{:x?}", image.entry)?;

    if let Some(directory) = dump {
        for placement in &image.placements {
            fs::write(format!("{directory}/{:#x}.bin", placement.gpa), &placement.bytes)?;
        }
    }
    if let (Some(file), Some(tables)) = (acpi, image.placements.iter().find(|p| p.part == Part::Acpi)) {
        write_tables(&file, tables.gpa, &tables.bytes)?;
    }
    Ok(())
}

/// Writes every table the XSDT leads to into a file of its own.
fn write_tables(file: &str, gpa: u64, block: &[u8]) -> Result<(), Failure> {
    let word = |at: usize| Some(u64::from_le_bytes(*block.get(at..)?.first_chunk()?));
    let table = |address: u64| {
        let at = (address - gpa) as usize;
        let length = u32::from_le_bytes(*block.get(at + 4..)?.first_chunk()?) as usize;
        block.get(at..at + length)
    };
    let xsdt_address = word(24).ok_or("no XSDT")?;
    let xsdt = table(xsdt_address).ok_or("no XSDT")?;
    let mut addresses: Vec<u64> = xsdt[36..]
        .chunks_exact(8)
        .filter_map(|entry| Some(u64::from_le_bytes(*entry.first_chunk()?)))
        .collect();
    let fadt = *addresses.first().ok_or("no FADT")?;
    addresses.push(word((fadt - gpa) as usize + 140).ok_or("no DSDT")?);
    addresses.push(xsdt_address);
    for address in addresses {
        let table = table(address).ok_or("a table lies outside")?;
        fs::write(format!("{file}.{}", String::from_utf8_lossy(&table[..4])), table)?;
    }
    Ok(())
}
