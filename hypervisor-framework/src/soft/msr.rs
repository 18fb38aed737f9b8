//! MSRs the guest may use without an exit: `hv_vcpu_enable_native_msr`, `_managed_msr` and `set_msr_access`.

use std::collections::BTreeMap;

use engine::{Cpu, MsrRight, SegmentRegister};

use crate::ReturnCode;
use crate::x86_64::MsrFlags;

/// IA32_TIME_STAMP_COUNTER
const TSC: u32 = 0x10;
/// IA32_PRED_CMD: write-only, no state.
const PRED_CMD: u32 = 0x49;

/// MSRs the framework lets a guest use natively, as observed on Macs, and that the engine's processor has. FLUSH_CMD
/// (10bh) is not among them: enabling it is known not to work.
pub(super) const NATIVE: [u32; 15] = [
    TSC,
    0x48,
    PRED_CMD,
    0x174,
    0x175,
    0x176,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
    0xc000_0103,
    0xda0,
];

/// What is enabled, by MSR.
#[derive(Debug, Default)]
pub(super) struct MsrAccess(BTreeMap<u32, Enabled>);

#[derive(Debug, Clone, Copy)]
struct Enabled {
    managed: bool,
    rights: MsrFlags,
}

impl MsrAccess {
    pub(super) fn enable_native(&mut self, msr: u32, enable: bool) -> Result<(), ReturnCode> {
        if !NATIVE.contains(&msr) {
            return Err(ReturnCode::BAD_ARGUMENT);
        }
        self.switch(msr, enable.then_some(Enabled { managed: false, rights: MsrFlags::all() }));
        Ok(())
    }

    /// A managed MSR starts without rights; disabling removes them.
    pub(super) fn enable_managed(&mut self, msr: u32, enable: bool) -> Result<(), ReturnCode> {
        if !NATIVE.contains(&msr) {
            return Err(ReturnCode::UNSUPPORTED);
        }
        self.switch(msr, enable.then_some(Enabled { managed: true, rights: MsrFlags::empty() }));
        Ok(())
    }

    pub(super) fn set_rights(&mut self, msr: u32, rights: MsrFlags) -> Result<(), ReturnCode> {
        match self.0.get_mut(&msr) {
            Some(enabled) if enabled.managed => {
                enabled.rights = rights;
                Ok(())
            }
            _ => Err(ReturnCode::BAD_ARGUMENT),
        }
    }

    fn switch(&mut self, msr: u32, to: Option<Enabled>) {
        match to {
            Some(enabled) => self.0.insert(msr, enabled),
            None => self.0.remove(&msr),
        };
    }

    pub(super) fn is_enabled(&self, msr: u32) -> bool {
        self.0.contains_key(&msr)
    }

    /// The engine's form of the rights.
    pub(super) fn rights(&self) -> Vec<MsrRight> {
        let right = |(msr, enabled): (&u32, &Enabled)| MsrRight {
            msr: *msr,
            read: enabled.rights.contains(MsrFlags::READ),
            write: enabled.rights.contains(MsrFlags::WRITE),
        };
        self.0.iter().map(right).collect()
    }
}

/// The value of an MSR of [`NATIVE`].
pub(super) fn read(cpu: &Cpu, msr: u32) -> Option<u64> {
    let msrs = cpu.msrs();
    Some(match msr {
        TSC => cpu.tsc(),
        0x48 => msrs.spec_ctrl,
        PRED_CMD => 0,
        0x174 => msrs.sysenter_cs,
        0x175 => msrs.sysenter_esp,
        0x176 => msrs.sysenter_eip,
        0xc000_0081 => msrs.star,
        0xc000_0082 => msrs.lstar,
        0xc000_0083 => msrs.cstar,
        0xc000_0084 => msrs.fmask,
        0xc000_0100 => cpu.segment(SegmentRegister::Fs).base,
        0xc000_0101 => cpu.segment(SegmentRegister::Gs).base,
        0xc000_0102 => msrs.kernel_gs_base,
        0xc000_0103 => msrs.tsc_aux,
        0xda0 => msrs.xss,
        _ => return None,
    })
}

/// Writes an MSR of [`NATIVE`]; `None` if it is not one. The TSC is written by moving the offset.
pub(super) fn write(cpu: &mut Cpu, msr: u32, value: u64) -> Option<()> {
    let set_base = |cpu: &mut Cpu, register| {
        let segment = cpu.segment(register);
        cpu.set_segment(register, engine::Segment { base: value, ..segment });
    };
    match msr {
        TSC => {
            let forward = value.wrapping_sub(cpu.tsc()) as i64;
            cpu.intercepts.tsc_offset = cpu.intercepts.tsc_offset.wrapping_add(forward);
        }
        PRED_CMD => {}
        0xc000_0100 => set_base(cpu, SegmentRegister::Fs),
        0xc000_0101 => set_base(cpu, SegmentRegister::Gs),
        _ => {
            let msrs = cpu.msrs_mut();
            *match msr {
                0x48 => &mut msrs.spec_ctrl,
                0x174 => &mut msrs.sysenter_cs,
                0x175 => &mut msrs.sysenter_esp,
                0x176 => &mut msrs.sysenter_eip,
                0xc000_0081 => &mut msrs.star,
                0xc000_0082 => &mut msrs.lstar,
                0xc000_0083 => &mut msrs.cstar,
                0xc000_0084 => &mut msrs.fmask,
                0xc000_0102 => &mut msrs.kernel_gs_base,
                0xc000_0103 => &mut msrs.tsc_aux,
                0xda0 => &mut msrs.xss,
                _ => return None,
            } = value;
        }
    }
    Some(())
}
