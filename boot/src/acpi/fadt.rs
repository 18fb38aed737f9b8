//! Fixed ACPI description table (ACPI 6.5, 5.2.9): the fixed hardware's ports and what the platform lacks.

use acpi_tables::fadt::{FADT, FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

use super::{AcpiConfig, OEM_ID, OEM_REVISION, OEM_TABLE_ID};

/// IAPC_BOOT_ARCH (table 5.11).
mod boot_arch {
    /// Devices on ISA that are not found by enumeration.
    pub(super) const LEGACY_DEVICES: u16 = 1 << 0;
    /// A keyboard controller.
    pub(super) const I8042: u16 = 1 << 1;
    pub(super) const NO_VGA: u16 = 1 << 2;
    pub(super) const NO_ASPM: u16 = 1 << 4;
    pub(super) const NO_RTC: u16 = 1 << 5;
}

/// A C2 or C3 latency in microseconds that means "not supported"; the limits are 100 and 1000.
const NO_C_STATE: u16 = 0xfff;

pub(super) fn fadt(config: &AcpiConfig, facs: u64, dsdt: u64) -> FADT {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    // All tables lie below 4 GiB; the narrow fields serve older readers, the wide ones newer.
    fadt.firmware_ctrl = (facs as u32).into();
    fadt.dsdt = (dsdt as u32).into();
    fadt.x_dsdt = dsdt.into();
    fadt.sci_int = u16::from(config.sci_irq).into();

    let power = &config.power;
    fadt.pm1a_evt_blk = u32::from(power.pm1_event).into();
    fadt.pm1_evt_len = 4;
    fadt.x_pm1a_evt_blk = port(power.pm1_event, 32, AccessSize::WordAccess);
    fadt.pm1a_cnt_blk = u32::from(power.pm1_control).into();
    fadt.pm1_cnt_len = 2;
    fadt.x_pm1a_cnt_blk = port(power.pm1_control, 16, AccessSize::WordAccess);
    fadt.pm_tmr_blk = u32::from(power.pm_timer).into();
    fadt.pm_tmr_len = 4;
    fadt.x_pm_tmr_blk = port(power.pm_timer, 32, AccessSize::DwordAccess);

    fadt.p_lvl2_lat = NO_C_STATE.into();
    fadt.p_lvl3_lat = NO_C_STATE.into();
    fadt.century = if config.has_rtc { config.rtc_century } else { 0 };
    let present = |device: bool, flag: u16| if device { flag } else { 0 };
    let arch = boot_arch::LEGACY_DEVICES | boot_arch::NO_VGA | boot_arch::NO_ASPM;
    let arch =
        arch | present(config.has_i8042, boot_arch::I8042) | present(!config.has_rtc, boot_arch::NO_RTC);
    fadt.iapc_boot_arch = arch.into();

    // The power button is the fixed one (its flag would say "control method"), a sleep button there is none.
    let mut fadt = fadt.flag(Flags::Wbinvd).flag(Flags::ProcC1).flag(Flags::SlpButton).flag(Flags::FixRtc);
    if power.pm_timer_32bit {
        fadt = fadt.flag(Flags::TmrValExt);
    }
    if let Some(reset) = config.reset {
        fadt.reset_reg = port(reset.port, 8, AccessSize::ByteAccess);
        fadt.reset_value = reset.value;
        fadt = fadt.flag(Flags::ResetRegSup);
    }
    fadt.finalize()
}

fn port(port: u16, bits: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bits, 0, access, port.into())
}
