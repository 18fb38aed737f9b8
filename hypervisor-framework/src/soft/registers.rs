//! `hv_vcpu_read_register` and `hv_vcpu_write_register`.

use super::state::State;
use crate::x86_64::vmcs::Field;
use crate::x86_64::{Reg, Segment};

/// XCR0 bits of MPX, which macOS drops.
const XCR0_MPX: u64 = 3 << 3;

/// ModRM number of a general register.
fn gpr(reg: Reg) -> Option<u8> {
    (0..16).find(|number| Reg::gpr(*number) == reg)
}

/// The VMCS field that is the same register.
fn field(reg: Reg) -> Option<Field> {
    Some(match reg {
        Reg::RIP => Field::GUEST_RIP,
        Reg::RFLAGS => Field::GUEST_RFLAGS,
        Reg::CS => Segment::Cs.selector(),
        Reg::SS => Segment::Ss.selector(),
        Reg::DS => Segment::Ds.selector(),
        Reg::ES => Segment::Es.selector(),
        Reg::FS => Segment::Fs.selector(),
        Reg::GS => Segment::Gs.selector(),
        Reg::IDT_BASE => Field::GUEST_IDTR_BASE,
        Reg::IDT_LIMIT => Field::GUEST_IDTR_LIMIT,
        Reg::GDT_BASE => Field::GUEST_GDTR_BASE,
        Reg::GDT_LIMIT => Field::GUEST_GDTR_LIMIT,
        Reg::LDTR => Segment::Ldtr.selector(),
        Reg::LDT_BASE => Segment::Ldtr.base(),
        Reg::LDT_LIMIT => Segment::Ldtr.limit(),
        Reg::LDT_AR => Segment::Ldtr.access_rights(),
        Reg::TR => Segment::Tr.selector(),
        Reg::TSS_BASE => Segment::Tr.base(),
        Reg::TSS_LIMIT => Segment::Tr.limit(),
        Reg::TSS_AR => Segment::Tr.access_rights(),
        Reg::CR3 => Field::GUEST_CR3,
        Reg::DR7 => Field::GUEST_DR7,
        _ => return None,
    })
}

/// DR0–DR3 and DR6.
fn debug_register(reg: Reg) -> Option<u8> {
    match reg {
        Reg::DR0 => Some(0),
        Reg::DR1 => Some(1),
        Reg::DR2 => Some(2),
        Reg::DR3 => Some(3),
        Reg::DR6 => Some(6),
        _ => None,
    }
}

/// What the guest would read: its own bits, and the shadow of those the host owns.
fn masked(state: &State, register: Field, mask: Field, shadow: Field) -> u64 {
    let mask = state.get(mask);
    state.get(register) & !mask | state.get(shadow) & mask
}

/// `None` for a register that does not exist.
pub(super) fn read(state: &State, reg: Reg) -> Option<u64> {
    if let Some(number) = gpr(reg) {
        return Some(state.engine.cpu.gpr(number));
    }
    if let Some(field) = field(reg) {
        return Some(state.get(field));
    }
    if let Some(number) = debug_register(reg) {
        return Some(state.engine.cpu.dr(number));
    }
    Some(match reg {
        Reg::CR0 => masked(state, Field::GUEST_CR0, Field::CTRL_CR0_MASK, Field::CTRL_CR0_SHADOW),
        Reg::CR4 => masked(state, Field::GUEST_CR4, Field::CTRL_CR4_MASK, Field::CTRL_CR4_SHADOW),
        Reg::CR2 => state.engine.cpu.cr(2),
        Reg::TPR => state.tpr(),
        Reg::XCR0 => state.engine.cpu.xcr0(),
        _ => return None,
    })
}

/// `None` for a register that does not exist.
pub(super) fn write(state: &mut State, reg: Reg, value: u64, mpx_ignored: bool) -> Option<()> {
    if let Some(number) = gpr(reg) {
        state.engine.cpu.set_gpr(number, value);
        return Some(());
    }
    if let Some(field) = field(reg) {
        state.set(field, value);
        if reg == Reg::CR3 {
            state.engine.cpu.flush_tlb();
        }
        return Some(());
    }
    if let Some(number) = debug_register(reg) {
        state.engine.cpu.set_dr(number, value);
        return Some(());
    }
    match reg {
        // The framework's own handling: the guest's view becomes the value, the bits hardware needs are added.
        Reg::CR0 => {
            state.set(Field::CTRL_CR0_SHADOW, value);
            state.set(Field::GUEST_CR0, value & !(3 << 29) | 1 << 5);
        }
        Reg::CR4 => {
            state.set(Field::CTRL_CR4_SHADOW, value);
            state.set(Field::GUEST_CR4, value | 1 << 13);
        }
        Reg::CR2 => state.engine.cpu.set_cr(2, value),
        Reg::TPR => state.set_tpr(value),
        Reg::XCR0 => {
            let value = if mpx_ignored { value & !XCR0_MPX } else { value };
            state.engine.cpu.set_xcr0(value);
        }
        _ => return None,
    }
    Some(())
}
