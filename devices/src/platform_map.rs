//! The standard map of the PC platform: which ports, addresses and interrupts its devices have.
//!
//! Everything that tells a guest where a device is (ACPI tables, buses) takes it from here.

use crate::bus::{MmioWindow, PortWindow, Width};

/// ISA interrupt numbers.
pub mod isa_irq {
    /// How many there are.
    pub const COUNT: u8 = 16;
    /// The 8254's channel 0.
    pub const TIMER: u8 = 0;
    /// The I/O APIC pin of [`TIMER`]; the MADT carries an interrupt source override for it.
    pub const TIMER_IO_APIC_PIN: u8 = 2;
    /// The keyboard controller.
    pub const KEYBOARD: u8 = 1;
    /// Between the two 8259; no device has it.
    pub const CASCADE: u8 = 2;
    /// COM1.
    pub const COM1: u8 = 4;
    /// The real-time clock.
    pub const RTC: u8 = 8;
    /// ACPI system control interrupt: level, active high; the MADT carries an override for it.
    pub const SCI: u8 = 9;
}

/// Guest-physical addresses.
pub mod mmio {
    use super::{MmioWindow, Width};

    /// The I/O APIC's page.
    pub const IO_APIC: MmioWindow =
        MmioWindow { base: 0xfec0_0000, len: 0x1000, first_offset: 0, native: Width::Four };
    /// The local APICs' page after reset. Not on the bus: each vCPU has its own behind it.
    pub const LOCAL_APIC_BASE: u64 = 0xfee0_0000;
    /// PCI Express configuration space: 1 MiB for bus 0.
    pub const PCI_ECAM: MmioWindow =
        MmioWindow { base: 0xe000_0000, len: 0x10_0000, first_offset: 0, native: Width::Four };
    /// First bus and last bus of [`PCI_ECAM`], for the MCFG table.
    pub const PCI_ECAM_BUSES: (u8, u8) = (0, 0);
    /// First address of the window for 32-bit PCI memory BARs, and the byte after it.
    pub const PCI_WINDOW_32: std::ops::Range<u64> = 0xc000_0000..0xe000_0000;
}

/// I/O ports.
pub mod port {
    use super::{PortWindow, Width};

    /// The 8259 pair with its edge/level registers; offsets as [`crate::interrupt::pic8259_spec`] names them.
    pub const PIC: [PortWindow; 3] =
        [PortWindow::bytes(0x20, 2, 0), PortWindow::bytes(0xa0, 2, 2), PortWindow::bytes(0x4d0, 2, 4)];
    /// The 8254 and system control port B (0x61).
    pub const PIT: [PortWindow; 2] = [PortWindow::bytes(0x40, 4, 0), PortWindow::bytes(0x61, 1, 4)];
    /// Keyboard controller data (0x60) and command (0x64) ports.
    pub const I8042: [PortWindow; 2] = [PortWindow::bytes(0x60, 1, 0), PortWindow::bytes(0x64, 1, 4)];
    /// CMOS index and data, and the second bank's.
    pub const RTC: [PortWindow; 1] = [PortWindow::bytes(0x70, 4, 0)];
    /// System control port A.
    pub const PORT_92: [PortWindow; 1] = [PortWindow::bytes(0x92, 1, 0)];
    /// The default debug-exit port; see [`crate::power::DebugExit`].
    pub const DEBUG_EXIT: [PortWindow; 1] =
        [PortWindow { base: 0xf4, len: 4, first_offset: 0, native: Width::Four }];
    /// The other customary debug-exit port.
    pub const DEBUG_EXIT_ALTERNATIVE: [PortWindow; 1] =
        [PortWindow { base: 0x501, len: 1, first_offset: 0, native: Width::One }];
    /// pvpanic.
    pub const PVPANIC: [PortWindow; 1] = [PortWindow::bytes(0x505, 1, 0)];
    /// COM1.
    pub const COM1: [PortWindow; 1] = [PortWindow::bytes(0x3f8, 8, 0)];
    /// ACPI power management registers. FADT: PM1a event block at +0 (4 bytes), PM1a control block at +4 (2 bytes),
    /// PM timer block at +8 (4 bytes).
    pub const ACPI_PM: [PortWindow; 1] =
        [PortWindow { base: 0x600, len: 0x10, first_offset: 0, native: Width::Four }];
    /// PCI configuration address and data; the byte at 0xcf9 is the reset register.
    pub const PCI_CONFIG: [PortWindow; 1] =
        [PortWindow { base: 0xcf8, len: 8, first_offset: 0, native: Width::Four }];
    /// Ports for PCI I/O BARs.
    pub const PCI_WINDOW: std::ops::Range<u64> = 0xc000..0x1_0000;
    /// The reset register, for the FADT (value [`crate::power::RESET_VALUE`]).
    pub const RESET: u16 = 0xcf9;
}
