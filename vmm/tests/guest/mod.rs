//! Small guests: written with an assembler, wrapped as kernels, run to their end.
#![allow(clippy::unwrap_used)] // a test that cannot set itself up has failed
#![allow(dead_code)] // each test file uses its part

use std::path::PathBuf;
use std::time::Duration;

use iced_x86::code_asm::*;
use tempfile::TempDir;
use vmm::config::{BootConfig, EngineChoice, MachineConfig, SerialBackend, UnpackBy};
use vmm::engine::EngineOptions;
use vmm::{Machine, Outcome, StopReason, engine};

/// Where the guest's code lies.
pub(crate) const BASE: u64 = 0x10_0000;

/// The debug-exit port of all these guests.
pub(crate) const EXIT_PORT: u16 = 0xf4;

/// COM1's data register.
pub(crate) const COM1: u16 = 0x3f8;

/// A test that takes longer has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A guest with its files.
pub(crate) struct Guest {
    pub(crate) config: MachineConfig,
    folder: TempDir,
}

impl Guest {
    /// A 64-bit guest; it starts in long mode with the low 4 GiB mapped one to one.
    pub(crate) fn new(write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Self {
        let mut assembler = CodeAssembler::new(64).unwrap();
        write(&mut assembler).unwrap();
        Self::from_code(&assembler.assemble(BASE).unwrap())
    }

    /// A guest of ready-made code.
    pub(crate) fn from_code(code: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel");
        std::fs::write(&kernel, elf(code)).unwrap();
        let boot = BootConfig {
            kernel,
            initrd: None,
            cmdline: String::new(),
            unpack: UnpackBy::Host,
            unpack_cache: None,
        };
        let mut config = MachineConfig::new(32 << 20, boot);
        config.serial = SerialBackend::File(folder.path().join("console"));
        config.debug_exit_port = Some(EXIT_PORT);
        config.timeout = Some(LIMIT);
        Self { config, folder }
    }

    pub(crate) fn machine(&self) -> Machine {
        let options = EngineOptions::default();
        let engine = engine::select_with(EngineChoice::Auto, options, self.config.cpu).unwrap();
        Machine::new(self.config.clone(), &engine).unwrap()
    }

    pub(crate) fn run(&self) -> Outcome {
        self.machine().run(&mut |_| {})
    }

    /// Runs, and gives only the reason.
    pub(crate) fn end(&self) -> StopReason {
        self.run().reason
    }

    pub(crate) fn console(&self) -> String {
        std::fs::read_to_string(self.path("console")).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Ends the run with `code`.
pub(crate) fn exit(a: &mut CodeAssembler, code: u32) -> Result<(), IcedError> {
    a.mov(eax, code)?;
    a.mov(edx, u32::from(EXIT_PORT))?;
    a.out(dx, eax)
}

/// Writes text to COM1 without asking whether it is ready.
pub(crate) fn print(a: &mut CodeAssembler, text: &str) -> Result<(), IcedError> {
    a.mov(edx, u32::from(COM1))?;
    for byte in text.bytes() {
        a.mov(al, u32::from(byte))?;
        a.out(dx, al)?;
    }
    Ok(())
}

/// A port write of `width` given by the register.
pub(crate) fn out8(a: &mut CodeAssembler, port: u16, value: u8) -> Result<(), IcedError> {
    a.mov(edx, u32::from(port))?;
    a.mov(al, u32::from(value))?;
    a.out(dx, al)
}

/// A 64-bit x86 ELF executable with one segment at [`BASE`], a megabyte of zeroes behind the code.
fn elf(code: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(2_u16.to_le_bytes());
    file.extend(62_u16.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for word in [BASE, 64, 0] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    file.extend(7_u32.to_le_bytes());
    let length = code.len() as u64;
    for word in [120, BASE, BASE, length, length + (1 << 20), 4096] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend(code);
    file
}
