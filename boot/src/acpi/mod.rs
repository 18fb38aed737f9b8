//! ACPI tables: RSDP, XSDT, FADT, FACS, MADT, MCFG, DSDT.
//!
//! The power button is the fixed-feature one: a VMM "presses" it by setting PWRBTN_STS (bit 8) in PM1_STS and raising the
//! SCI while PWRBTN_EN is set. There is no SMI command port, so ACPI mode is always on: PM1_CNT.SCI_EN (bit 0) should read as 1.
//! Power-off is SLP_TYP = [`AcpiConfig::s5_sleep_type`] with SLP_EN (bit 13) written to PM1_CNT.

use crate::memory::GpaRange;

/// How an interrupt input is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// Active high.
    High,
    /// Active low.
    Low,
}

/// When an interrupt input fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// On an edge.
    Edge,
    /// While the level lasts.
    Level,
}

/// An ISA interrupt that is not identity-mapped, or not edge-triggered active high (ACPI 6.5, 5.2.12.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqOverride {
    /// ISA IRQ, 0–15.
    pub isa_irq: u8,
    /// Global system interrupt it arrives on.
    pub gsi: u32,
    /// Polarity.
    pub polarity: Polarity,
    /// Trigger mode.
    pub trigger: Trigger,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApicConfig {
    /// APIC ID.
    pub id: u8,
    /// MMIO address.
    pub address: u32,
    /// First global system interrupt.
    pub gsi_base: u32,
}

/// Ports of the ACPI fixed hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerPorts {
    /// PM1a event block: status and enable, 4 bytes.
    pub pm1_event: u16,
    /// PM1a control, 2 bytes.
    pub pm1_control: u16,
    /// PM timer, 4 bytes.
    pub pm_timer: u16,
    /// The PM timer counts 32 bits, not 24.
    pub pm_timer_32bit: bool,
}

/// The reset register, a byte-wide I/O port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRegister {
    /// Port.
    pub port: u16,
    /// The value that resets the machine.
    pub value: u8,
}

/// The PCI root bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciConfig {
    /// ECAM window for buses from 0; 1 MiB a bus.
    pub ecam: GpaRange,
    /// The last bus number.
    pub last_bus: u8,
    /// Memory window for BARs below 4 GiB.
    pub mmio32: GpaRange,
    /// Memory window for BARs above 4 GiB, if there is one.
    pub mmio64: Option<GpaRange>,
    /// I/O ports for BARs: first and last.
    pub io: (u16, u16),
    /// Global system interrupts of the four INTx lines: pin `p` (0 = INTA#) of device `d` arrives at `intx[(d + p) % 4]`.
    /// Level-triggered, active low (the PCI default).
    pub intx: [u32; 4],
}

/// A 16550 serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialConfig {
    /// First of 8 ports.
    pub port: u16,
    /// ISA IRQ.
    pub irq: u8,
}

/// The machine that the tables describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiConfig {
    /// Local APIC IDs, one a vCPU, the boot processor first.
    pub apic_ids: Vec<u32>,
    /// Local APIC MMIO address.
    pub local_apic: u32,
    /// I/O APIC.
    pub io_apic: IoApicConfig,
    /// A pair of 8259s is present as well.
    pub has_8259: bool,
    /// ISA interrupts that need an override. The SCI's is listed here too.
    pub irq_overrides: Vec<IrqOverride>,
    /// ISA IRQ of the system control interrupt.
    pub sci_irq: u8,
    /// Fixed hardware.
    pub power: PowerPorts,
    /// SLP_TYP of the soft-off state.
    pub s5_sleep_type: u8,
    /// Reset register.
    pub reset: Option<ResetRegister>,
    /// A CMOS real-time clock at ports 0x70 and 0x71 on IRQ 8 is present.
    pub has_rtc: bool,
    /// A keyboard controller is present. Without, Linux does not probe for one.
    pub has_i8042: bool,
    /// Serial ports, COM1 first.
    pub serial: Vec<SerialConfig>,
    /// PCI, if there is any.
    pub pci: Option<PciConfig>,
    /// The pvpanic port, if there is one.
    pub pvpanic: Option<u16>,
}

impl AcpiConfig {
    /// The usual PC: LAPIC and I/O APIC at their standard addresses, IRQ 0 on GSI 2, SCI on IRQ 9 (level, active high),
    /// PM block at 0x600, reset register 0xcf9, RTC, COM1, 8259s, no keyboard controller, no PCI, APIC IDs from 0.
    pub fn pc(cpus: u32) -> Self {
        Self {
            apic_ids: (0..cpus).collect(),
            local_apic: 0xfee0_0000,
            io_apic: IoApicConfig { id: 0, address: 0xfec0_0000, gsi_base: 0 },
            has_8259: true,
            irq_overrides: vec![
                IrqOverride { isa_irq: 0, gsi: 2, polarity: Polarity::High, trigger: Trigger::Edge },
                IrqOverride { isa_irq: 9, gsi: 9, polarity: Polarity::High, trigger: Trigger::Level },
            ],
            sci_irq: 9,
            power: PowerPorts {
                pm1_event: 0x600,
                pm1_control: 0x604,
                pm_timer: 0x608,
                pm_timer_32bit: false,
            },
            s5_sleep_type: 5,
            reset: Some(ResetRegister { port: 0xcf9, value: 6 }),
            has_rtc: true,
            has_i8042: false,
            serial: vec![SerialConfig { port: 0x3f8, irq: 4 }],
            pci: None,
            pvpanic: None,
        }
    }
}

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
        if config.apic_ids.is_empty() {
            return Err(AcpiError::NoCpus);
        }
        Ok(Self { gpa: window.start, bytes: Vec::new() })
    }

    /// Address of the RSDP.
    pub fn rsdp(&self) -> u64 {
        self.gpa
    }
}
