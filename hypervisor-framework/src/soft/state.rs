//! The VMCS of a vCPU: guest state lives in the engine's CPU, everything else in a store.

use engine::{Cpu, Engine, Interruptibility, Segment, SegmentRegister};

use super::capability;
use super::store::Store;
use crate::x86_64::vmcs::{Field, WriteRight};
use crate::x86_64::{AccessRights, ActivityState};

const RFLAGS_VM: u64 = 1 << 17;

/// What has changed since the last successful entry.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Changed {
    /// Fields that the engine's intercepts are made from.
    pub(super) controls: bool,
    /// Guest state that the full entry checks look at.
    pub(super) guest: bool,
}

/// A vCPU's VMCS and registers.
pub(super) struct State {
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) changed: Changed,
    /// RFLAGS as written, until the next entry: the engine drops bits that do not exist, the entry checks refuse them.
    raw_rflags: Option<u64>,
    /// The TPR byte as the client wrote it; the guest moves its high half through CR8.
    client_tpr: u64,
    stale_tpr: bool,
}

/// A part of a segment register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Selector,
    Limit,
    Rights,
    Base,
}

const REGISTERS: [SegmentRegister; 8] = [
    SegmentRegister::Es,
    SegmentRegister::Cs,
    SegmentRegister::Ss,
    SegmentRegister::Ds,
    SegmentRegister::Fs,
    SegmentRegister::Gs,
    SegmentRegister::Ldtr,
    SegmentRegister::Tr,
];

/// Which part of which segment register a field is.
fn segment_part(field: Field) -> Option<(SegmentRegister, Part)> {
    let (first, part) = match field.0 {
        0x0800..=0x080e => (Field::GUEST_ES, Part::Selector),
        0x4800..=0x480e => (Field::GUEST_ES_LIMIT, Part::Limit),
        0x4814..=0x4822 => (Field::GUEST_ES_AR, Part::Rights),
        0x6806..=0x6814 => (Field::GUEST_ES_BASE, Part::Base),
        _ => return None,
    };
    REGISTERS.get((field.0 - first.0) as usize / 2).map(|register| (*register, part))
}

impl State {
    /// A vCPU as created: the engine's reset state, controls at the least the capabilities demand, CD and NW owned by
    /// the host.
    pub(super) fn new(engine: Engine, stale_tpr: bool) -> Self {
        let mut state = Self {
            engine,
            store: Store::new(),
            changed: Changed { controls: true, guest: true },
            raw_rflags: None,
            client_tpr: 0,
            stale_tpr,
        };
        for &field in Field::ALL {
            if let Some(WriteRight::Checked(rule)) = field.write_right()
                && field != Field::GUEST_CR0
            {
                state.store.set(field, capability::allowed(rule).0);
            }
        }
        state.store.set(Field::GUEST_LINK_POINTER, u64::MAX);
        state.store.set(Field::GUEST_IA32_PAT, 0x0007_0406_0007_0406);
        state.store.set(Field::GUEST_ACTIVITY_STATE, u64::from(ActivityState::ACTIVE.0));
        state
    }

    fn cpu(&self) -> &Cpu {
        &self.engine.cpu
    }

    /// Reads any field.
    pub(super) fn get(&self, field: Field) -> u64 {
        let cpu = self.cpu();
        if let Some((register, part)) = segment_part(field) {
            let segment = cpu.segment(register);
            return match part {
                Part::Selector => u64::from(segment.selector),
                Part::Limit => u64::from(segment.limit),
                Part::Rights => u64::from(segment.access_rights),
                Part::Base => segment.base,
            };
        }
        let high_half = |value: u64| value & 0xffff_0000;
        match field {
            Field::GUEST_RIP => cpu.rip(),
            Field::GUEST_RSP => cpu.gpr(4),
            Field::GUEST_RFLAGS => self.raw_rflags.unwrap_or_else(|| cpu.rflags()),
            Field::GUEST_CR0 => cpu.cr(0),
            Field::GUEST_CR3 => cpu.cr(3),
            Field::GUEST_CR4 => cpu.cr(4),
            Field::GUEST_DR7 => cpu.dr(7),
            Field::GUEST_GDTR_BASE => cpu.gdtr().base,
            Field::GUEST_IDTR_BASE => cpu.idtr().base,
            Field::GUEST_GDTR_LIMIT => u64::from(cpu.gdtr().limit) | high_half(self.store.get(field)),
            Field::GUEST_IDTR_LIMIT => u64::from(cpu.idtr().limit) | high_half(self.store.get(field)),
            Field::GUEST_IA32_SYSENTER_CS => cpu.msrs().sysenter_cs,
            Field::GUEST_SYSENTER_ESP => cpu.msrs().sysenter_esp,
            Field::GUEST_SYSENTER_EIP => cpu.msrs().sysenter_eip,
            Field::GUEST_INTERRUPTIBILITY => u64::from(cpu.interruptibility().bits()),
            Field::GUEST_DEBUG_EXC => cpu.pending_debug(),
            Field::GUEST_PDPTE0 => cpu.pdptes()[0],
            Field::GUEST_PDPTE1 => cpu.pdptes()[1],
            Field::GUEST_PDPTE2 => cpu.pdptes()[2],
            Field::GUEST_PDPTE3 => cpu.pdptes()[3],
            _ => self.store.get(field),
        }
    }

    /// Writes any field; rights are the caller's affair.
    pub(super) fn set(&mut self, field: Field, value: u64) {
        let value = value & field.width().mask();
        self.note_change(field);
        let cpu = &mut self.engine.cpu;
        if let Some((register, part)) = segment_part(field) {
            let mut segment = cpu.segment(register);
            set_part(&mut segment, part, value);
            cpu.set_segment(register, segment);
            return;
        }
        match field {
            Field::GUEST_RIP => cpu.set_rip(value),
            Field::GUEST_RSP => cpu.set_gpr(4, value),
            Field::GUEST_RFLAGS => {
                // Virtual-8086 mode has rules for the segments.
                self.changed.guest |= (cpu.rflags() ^ value) & RFLAGS_VM != 0;
                cpu.set_rflags(value);
                self.raw_rflags = Some(value);
            }
            Field::GUEST_CR0 => cpu.set_cr(0, value),
            Field::GUEST_CR3 => cpu.set_cr(3, value),
            Field::GUEST_CR4 => cpu.set_cr(4, value),
            Field::GUEST_DR7 => cpu.set_dr(7, value),
            Field::GUEST_GDTR_BASE => cpu.set_gdtr(engine::DescriptorTable { base: value, ..cpu.gdtr() }),
            Field::GUEST_IDTR_BASE => cpu.set_idtr(engine::DescriptorTable { base: value, ..cpu.idtr() }),
            Field::GUEST_GDTR_LIMIT => {
                cpu.set_gdtr(engine::DescriptorTable { limit: value as u16, ..cpu.gdtr() });
                self.store.set(field, value);
            }
            Field::GUEST_IDTR_LIMIT => {
                cpu.set_idtr(engine::DescriptorTable { limit: value as u16, ..cpu.idtr() });
                self.store.set(field, value);
            }
            Field::GUEST_IA32_SYSENTER_CS => cpu.msrs_mut().sysenter_cs = value,
            Field::GUEST_SYSENTER_ESP => cpu.msrs_mut().sysenter_esp = value,
            Field::GUEST_SYSENTER_EIP => cpu.msrs_mut().sysenter_eip = value,
            Field::GUEST_INTERRUPTIBILITY => {
                cpu.set_interruptibility(Interruptibility::from_bits_retain(value as u32));
            }
            Field::GUEST_DEBUG_EXC => cpu.set_pending_debug(value),
            Field::GUEST_PDPTE0 => set_pdpte(cpu, 0, value),
            Field::GUEST_PDPTE1 => set_pdpte(cpu, 1, value),
            Field::GUEST_PDPTE2 => set_pdpte(cpu, 2, value),
            Field::GUEST_PDPTE3 => set_pdpte(cpu, 3, value),
            _ => self.store.set(field, value),
        }
    }

    /// A successful entry: what was written raw is now the CPU's.
    pub(super) fn entered(&mut self) {
        self.raw_rflags = None;
        self.changed = Changed::default();
    }

    /// The TPR byte of the virtual APIC page: CR8 in its high half.
    pub(super) fn tpr(&self) -> u64 {
        if self.stale_tpr { self.client_tpr } else { self.client_tpr & 0xf | self.cpu().cr(8) << 4 }
    }

    /// Writes the TPR byte.
    pub(super) fn set_tpr(&mut self, value: u64) {
        self.client_tpr = value & 0xff;
        self.engine.cpu.set_cr(8, self.client_tpr >> 4);
        // The entry checks compare it with the threshold.
        self.changed.controls = true;
    }

    /// The access rights of a segment register.
    pub(super) fn rights(&self, register: SegmentRegister) -> AccessRights {
        AccessRights(self.cpu().segment(register).access_rights)
    }

    fn note_change(&mut self, field: Field) {
        match field {
            // Looked at by every entry.
            Field::GUEST_RIP | Field::GUEST_RSP | Field::GUEST_RFLAGS | Field::GUEST_INTERRUPTIBILITY => {}
            Field::GUEST_ACTIVITY_STATE | Field::GUEST_DEBUG_EXC => {}
            Field::CTRL_VMENTRY_IRQ_INFO | Field::CTRL_VMENTRY_EXC_ERROR | Field::CTRL_VMENTRY_INSTR_LEN => {}
            Field::CTRL_VMENTRY_CONTROLS => self.changed.guest = true,
            _ if field.area() == crate::x86_64::vmcs::Area::Control => {
                self.changed.controls = true;
                self.changed.guest = true;
            }
            _ => self.changed.guest = true,
        }
    }
}

fn set_pdpte(cpu: &mut Cpu, index: usize, value: u64) {
    let mut pdptes = cpu.pdptes();
    pdptes[index & 3] = value;
    cpu.set_pdptes(pdptes);
}

fn set_part(segment: &mut Segment, part: Part, value: u64) {
    match part {
        Part::Selector => segment.selector = value as u16,
        Part::Limit => segment.limit = value as u32,
        Part::Rights => segment.access_rights = value as u32,
        Part::Base => segment.base = value,
    }
}
