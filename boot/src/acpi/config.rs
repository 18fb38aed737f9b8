//! The machine that ACPI tables describe: plain data.

use super::AcpiError;
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
    /// I/O ports for BARs: first and last. 0xcf8..=0xcff must not be among them.
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
    /// Index in CMOS of the clock's century in BCD, 0 where it has none.
    pub rtc_century: u8,
    /// A keyboard controller is present. Without, Linux does not probe for one.
    pub has_i8042: bool,
    /// Serial ports, COM1 first.
    pub serial: Vec<SerialConfig>,
    /// PCI, if there is any.
    pub pci: Option<PciConfig>,
    /// The pvpanic port, if there is one.
    pub pvpanic: Option<u16>,
    /// Virtio devices in windows of memory.
    pub virtio_mmio: Vec<VirtioMmioConfig>,
}

/// A virtio device in a window of memory (virtio 1.2, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioMmioConfig {
    /// Where its registers start; they take 4 KiB, below 4 GiB.
    pub base: u64,
    /// Its interrupt: level, active high, shared.
    pub gsi: u32,
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
            rtc_century: 0,
            has_i8042: false,
            serial: vec![SerialConfig { port: 0x3f8, irq: 4 }],
            pci: None,
            pvpanic: None,
            virtio_mmio: Vec::new(),
        }
    }
}

/// Bytes of ECAM a bus takes.
const ECAM_BUS: u64 = 1 << 20;

impl AcpiConfig {
    /// What the tables could not express or would express wrongly.
    pub(super) fn check(&self) -> Result<(), AcpiError> {
        if self.apic_ids.is_empty() {
            return Err(AcpiError::NoCpus);
        }
        if let Some(id) = self.apic_ids.iter().find(|id| **id == u32::MAX) {
            return Err(AcpiError::ApicId(*id));
        }
        self.pci.as_ref().map_or(Ok(()), PciConfig::check)
    }
}

impl PciConfig {
    fn check(&self) -> Result<(), AcpiError> {
        let buses = u32::from(self.last_bus) + 1;
        let ecam = self.ecam;
        if !ecam.start.is_multiple_of(ECAM_BUS) || ecam.size < u64::from(buses) * ECAM_BUS {
            return Err(AcpiError::Ecam { window: ecam, buses });
        }
        let window = |what, range: &GpaRange, limit: u64| match range.start.checked_add(range.size) {
            Some(end) if range.size != 0 && end <= limit => Ok(()),
            _ => Err(AcpiError::PciWindow { what, start: range.start, last: range.end().saturating_sub(1) }),
        };
        window("memory", &self.mmio32, 1 << 32)?;
        if let Some(mmio64) = &self.mmio64 {
            window("64-bit memory", mmio64, u64::MAX)?;
        }
        let (first, last) = self.io;
        if first > last || (first <= 0xcff && last >= 0xcf8) {
            return Err(AcpiError::PciWindow { what: "I/O port", start: first.into(), last: last.into() });
        }
        Ok(())
    }
}
