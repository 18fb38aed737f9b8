//! The two ways a guest reaches the registers: the page of xAPIC mode and the MSRs of x2APIC mode. And the MSRs beside
//! them.

use super::spec::{base, esr, icr, msr, reg};
use super::{GeneralProtection, LocalApic};
use crate::bus::Width;
use crate::interrupt::mailbox::ApicMode;

impl LocalApic {
    /// Whether `index` is an MSR of the APIC: IA32_APIC_BASE, IA32_TSC_DEADLINE (if offered), 0x800 to 0x8ff.
    pub fn handles_msr(&self, index: u32) -> bool {
        match index {
            msr::APIC_BASE | msr::X2APIC_FIRST..=msr::X2APIC_LAST => true,
            msr::TSC_DEADLINE => self.config.tsc_deadline,
            _ => false,
        }
    }

    /// RDMSR of one of the APIC's.
    ///
    /// # Errors
    /// The register does not exist, cannot be read, or the APIC is not in x2APIC mode.
    pub fn read_msr(&mut self, index: u32) -> Result<u64, GeneralProtection> {
        match index {
            msr::APIC_BASE => Ok(self.base),
            msr::TSC_DEADLINE if self.config.tsc_deadline => {
                self.advance(self.clock.now_ns());
                Ok(self.timer.tsc_deadline())
            }
            msr::X2APIC_FIRST..=msr::X2APIC_LAST if self.mode() == ApicMode::X2Apic => {
                match (index - msr::X2APIC_FIRST) << 4 {
                    reg::ICR_LOW => Ok(self.icr),
                    offset => Ok(self.read_register(offset)?.into()),
                }
            }
            _ => Err(GeneralProtection),
        }
    }

    /// WRMSR of one of the APIC's.
    ///
    /// # Errors
    /// The register does not exist or cannot be written, a reserved bit is set, the mode change is not allowed, or the
    /// APIC is not in x2APIC mode.
    pub fn write_msr(&mut self, index: u32, value: u64) -> Result<(), GeneralProtection> {
        match index {
            msr::APIC_BASE => self.write_base(value),
            msr::TSC_DEADLINE if self.config.tsc_deadline => {
                let now_ns = self.clock.now_ns();
                self.advance(now_ns);
                self.timer.set_tsc_deadline(value);
                // A deadline that is past fires at once.
                self.advance(now_ns);
                Ok(())
            }
            msr::X2APIC_FIRST..=msr::X2APIC_LAST if self.mode() == ApicMode::X2Apic => {
                match (index - msr::X2APIC_FIRST) << 4 {
                    reg::ICR_LOW => self.write_x2apic_icr(value),
                    offset => {
                        let value = u32::try_from(value).map_err(|_| GeneralProtection)?;
                        Ok(self.write_register(offset, value)?)
                    }
                }
            }
            _ => Err(GeneralProtection),
        }
    }

    fn write_x2apic_icr(&mut self, value: u64) -> Result<(), GeneralProtection> {
        if value & 0xffff_ffff & !(icr::WRITABLE_LOW | icr::STATUS) != 0 {
            return Err(GeneralProtection);
        }
        self.icr = value & !icr::STATUS;
        self.send_ipi();
        Ok(())
    }

    /// SDM, "x2APIC state transitions": modes change disabled → xAPIC → x2APIC → disabled, or xAPIC → disabled.
    fn write_base(&mut self, value: u64) -> Result<(), GeneralProtection> {
        if value & !(base::ADDRESS | base::BOOTSTRAP | base::X2APIC | base::ENABLE) != 0 {
            return Err(GeneralProtection);
        }
        let new = mode_of(value).filter(|mode| *mode != ApicMode::X2Apic || self.config.x2apic);
        match (self.mode(), new) {
            (_, None)
            | (ApicMode::Disabled, Some(ApicMode::X2Apic))
            | (ApicMode::X2Apic, Some(ApicMode::XApic)) => return Err(GeneralProtection),
            (before, Some(ApicMode::Disabled)) if before != ApicMode::Disabled => self.reset_registers(),
            _ => {}
        }
        // Which processor is the bootstrap one was decided at reset.
        self.base = self.base & base::BOOTSTRAP | value & !base::BOOTSTRAP;
        self.publish_address();
        self.hear_lint0();
        Ok(())
    }

    /// The mode that IA32_APIC_BASE says.
    pub(super) fn mode(&self) -> ApicMode {
        mode_of(self.base).unwrap_or(ApicMode::Disabled)
    }

    /// Whether the APIC is globally enabled, as CPUID leaf 1 EDX bit 9 must say.
    pub fn is_enabled(&self) -> bool {
        self.base & base::ENABLE != 0
    }

    /// Guest-physical address of the register page, while there is one (xAPIC mode).
    pub fn mmio_base(&self) -> Option<u64> {
        (self.mode() == ApicMode::XApic).then_some(self.base & base::ADDRESS)
    }

    /// Reads the register page at `offset` (0 to 0xfff). Any width within a register's four bytes works; the twelve
    /// bytes between registers read as zero.
    pub fn read_mmio(&mut self, offset: u64, width: Width) -> u64 {
        // The offset within the page has twelve bits.
        let (register, within) = ((offset & 0xff0) as u32, offset & 0xf);
        let value = match self.read_register(register) {
            Ok(value) => u64::from(value),
            Err(_) => {
                self.error(esr::ILLEGAL_REGISTER);
                0
            }
        };
        value.checked_shr((within * 8) as u32).unwrap_or(0) & width.mask()
    }

    /// Writes the register page at `offset` (0 to 0xfff). Only four bytes at the start of a register count; of a wider
    /// write the first four do.
    pub fn write_mmio(&mut self, offset: u64, width: Width, value: u64) {
        if offset & 0xf != 0 || width < Width::Four {
            return;
        }
        let (register, value) = ((offset & 0xff0) as u32, value as u32);
        match register {
            reg::ICR_LOW => {
                self.icr = self.icr & !0xffff_ffff | u64::from(value) & icr::WRITABLE_LOW;
                self.send_ipi();
            }
            // Eight bits of destination.
            reg::ICR_HIGH => self.icr = self.icr & 0xffff_ffff | u64::from(value & 0xff00_0000) << 32,
            _ => {
                if self.write_register(register, value).is_err() {
                    self.error(esr::ILLEGAL_REGISTER);
                }
            }
        }
    }
}

/// The mode of an IA32_APIC_BASE value; x2APIC without enable is none.
fn mode_of(value: u64) -> Option<ApicMode> {
    match (value & base::ENABLE != 0, value & base::X2APIC != 0) {
        (false, false) => Some(ApicMode::Disabled),
        (true, false) => Some(ApicMode::XApic),
        (true, true) => Some(ApicMode::X2Apic),
        (false, true) => None,
    }
}
