//! ACPI tables: RSDP, XSDT, FADT, FACS, MADT, MCFG, DSDT.
//!
//! The power button is the fixed-feature one: a VMM "presses" it by setting PWRBTN_STS (bit 8) in PM1_STS and raising the
//! SCI while PWRBTN_EN is set. There is no SMI command port, so ACPI mode is always on: PM1_CNT.SCI_EN (bit 0) should read as 1.
//! Power-off is SLP_TYP = [`AcpiConfig::s5_sleep_type`] with SLP_EN (bit 13) written to PM1_CNT.

mod config;
mod dsdt;
mod fadt;
mod madt;

use acpi_tables::facs::FACS;
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, sdt::Sdt};

use crate::memory::GpaRange;
pub use config::{
    AcpiConfig, IoApicConfig, IrqOverride, PciConfig, Polarity, PowerPorts, ResetRegister, SerialConfig,
    Trigger, VirtioMmioConfig,
};

/// Who made the tables.
const OEM_ID: [u8; 6] = *b"RVMM  ";
/// Which tables they are; all tables have the same.
const OEM_TABLE_ID: [u8; 8] = *b"RVMMACPI";
const OEM_REVISION: u32 = 1;

/// The strictest alignment a table asks for: the FACS' (ACPI 6.5, 5.2.10).
const ALIGNMENT: usize = 64;

/// Why tables cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcpiError {
    /// No vCPU.
    #[error("ACPI tables need at least one vCPU")]
    NoCpus,
    /// The tables do not fit where they are to go.
    #[error("ACPI tables of {size:#x} bytes do not fit into {room:#x} bytes at {gpa:#x}")]
    TooLarge {
        /// Bytes made.
        size: u64,
        /// Bytes there are.
        room: u64,
        /// Where they were to go.
        gpa: u64,
    },
    /// A vCPU's APIC ID is the broadcast address.
    #[error("APIC ID {0:#x} is reserved for broadcasts")]
    ApicId(u32),
    /// A PCI window is empty or not where it should be.
    #[error("the PCI {what} window {start:#x}..={last:#x} is empty or out of bounds")]
    PciWindow {
        /// Which one.
        what: &'static str,
        /// First address or port.
        start: u64,
        /// Last address or port.
        last: u64,
    },
    /// The ECAM window is not aligned or too small for its buses.
    #[error("the ECAM window {window} does not hold {buses} buses of 1 MiB, or is not aligned to 1 MiB")]
    Ecam {
        /// The window.
        window: GpaRange,
        /// Buses it should hold.
        buses: u32,
    },
}

/// Finished tables, one block of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiTables {
    /// Where the block goes.
    pub gpa: u64,
    /// The block. The RSDP is at its start.
    pub bytes: Vec<u8>,
}

impl AcpiTables {
    /// Makes the tables for `config`, to lie at `window`, which starts on a 64-byte boundary below 4 GiB.
    ///
    /// # Errors
    /// [`AcpiError`] when `config` makes no sense or the tables exceed the window.
    pub fn build(config: &AcpiConfig, window: GpaRange) -> Result<Self, AcpiError> {
        config.check()?;
        let mut block = Block { gpa: window.start, bytes: vec![0; Rsdp::len()] };
        let facs = block.add(&FACS::new());
        let dsdt = block.add(&dsdt::dsdt(config));
        let mut tables = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        tables.add_entry(block.add(&fadt::fadt(config, facs, dsdt)));
        tables.add_entry(block.add(&madt::madt(config)));
        if let Some(pci) = &config.pci {
            let mut mcfg = MCFG::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
            mcfg.add_ecam(pci.ecam.start, 0, 0, pci.last_bus);
            tables.add_entry(block.add(&mcfg));
        }
        let xsdt = block.add(&tables);
        let Block { gpa, mut bytes } = block;
        let mut rsdp = Vec::new();
        Rsdp::new(OEM_ID, xsdt).to_aml_bytes(&mut rsdp);
        bytes[..rsdp.len()].copy_from_slice(&rsdp);

        let size = bytes.len() as u64;
        if size > window.size {
            return Err(AcpiError::TooLarge { size, room: window.size, gpa });
        }
        Ok(Self { gpa, bytes })
    }

    /// Address of the RSDP.
    pub fn rsdp(&self) -> u64 {
        self.gpa
    }
}

/// Tables behind each other.
struct Block {
    gpa: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// Appends a table and returns its address.
    fn add(&mut self, table: &dyn Aml) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let gpa = self.gpa.saturating_add(self.bytes.len() as u64);
        table.to_aml_bytes(&mut self.bytes);
        gpa
    }
}

/// An empty table.
fn table(signature: [u8; 4], revision: u8) -> Sdt {
    const HEADER: u32 = 36;
    Sdt::new(signature, HEADER, revision, OEM_ID, OEM_TABLE_ID, OEM_REVISION)
}

#[cfg(test)]
#[path = "acpi_test.rs"]
mod acpi_test;
