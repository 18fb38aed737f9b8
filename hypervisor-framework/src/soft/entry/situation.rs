//! RIP, RFLAGS and non-register state (SDM vol. 3, 27.3.1.4 and 27.3.1.5): cheap, so checked at every entry.

use engine::SegmentRegister;

use super::registers::{CR0_PE, entry_controls};
use super::{Check, State, canonical, guest};
use crate::x86_64::vmcs::Field;
use crate::x86_64::{ActivityState, EntryControls, Interruptibility, InterruptionInfo, InterruptionKind};

const TF: u64 = 1 << 8;
const IF: u64 = 1 << 9;
const VM: u64 = 1 << 17;
/// Bits of RFLAGS that exist, and bit 1.
const RFLAGS_DEFINED: u64 = 0x003f_7fd7;
const DEBUGCTL_BTF: u64 = 1 << 1;
/// Pending debug exceptions: BS.
const PENDING_BS: u64 = 1 << 14;
/// Pending debug exceptions: B0–B3, enabled breakpoint, BS, RTM.
const PENDING_DEFINED: u64 = 0xf | 1 << 12 | PENDING_BS | 1 << 16;

pub(super) fn check(state: &State) -> Check {
    let rflags = state.get(Field::GUEST_RFLAGS);
    let long = entry_controls(state).contains(EntryControls::GUEST_IA32E);
    check_rip(state, long)?;
    guest(rflags & !RFLAGS_DEFINED == 0, Field::GUEST_RFLAGS, "reserved bits are 0")?;
    guest(rflags & 2 != 0, Field::GUEST_RFLAGS, "bit 1 is 1")?;
    let protected = state.get(Field::GUEST_CR0) & CR0_PE != 0;
    guest(rflags & VM == 0 || protected && !long, Field::GUEST_RFLAGS, "VM needs PE, and no IA-32e mode")?;
    let blocking = check_interruptibility(state, rflags)?;
    check_activity(state, blocking)?;
    check_pending_debug(state, rflags, blocking)
}

fn check_rip(state: &State, long: bool) -> Check {
    let rip = state.get(Field::GUEST_RIP);
    if long && state.rights(SegmentRegister::Cs).is_long() {
        guest(canonical(rip), Field::GUEST_RIP, "is canonical")
    } else {
        guest(rip >> 32 == 0, Field::GUEST_RIP, "bits 63:32 are 0 outside of 64-bit mode")
    }
}

fn check_interruptibility(state: &State, rflags: u64) -> Result<Interruptibility, super::Refusal> {
    const FIELD: Field = Field::GUEST_INTERRUPTIBILITY;
    let bits = state.get(FIELD) as u32;
    let blocking = Interruptibility::from_bits_retain(bits);
    guest(bits & !0xf == 0, FIELD, "bits 31:4 are 0")?;
    let both = Interruptibility::STI | Interruptibility::MOV_SS;
    guest(!blocking.contains(both), FIELD, "not both STI and MOV SS blocking")?;
    guest(!blocking.contains(Interruptibility::STI) || rflags & IF != 0, FIELD, "STI blocking needs IF")?;
    guest(!blocking.contains(Interruptibility::SMI), FIELD, "no SMI blocking outside of SMM")?;
    Ok(blocking)
}

fn check_activity(state: &State, blocking: Interruptibility) -> Check {
    const FIELD: Field = Field::GUEST_ACTIVITY_STATE;
    let activity = ActivityState(state.get(FIELD) as u32);
    guest(matches!(activity, ActivityState::ACTIVE | ActivityState::HLT), FIELD, "is 0 or 1")?;
    if activity == ActivityState::ACTIVE {
        return Ok(());
    }
    guest(state.rights(SegmentRegister::Ss).dpl() == 0, FIELD, "HLT needs the DPL of SS to be 0")?;
    let blocked = blocking.intersects(Interruptibility::STI | Interruptibility::MOV_SS);
    guest(!blocked, FIELD, "HLT does not go with STI or MOV SS blocking")?;
    let info = InterruptionInfo(state.get(Field::CTRL_VMENTRY_IRQ_INFO) as u32);
    let wakes = match info.kind() {
        InterruptionKind::External | InterruptionKind::Nmi => true,
        // #DB and #MC.
        InterruptionKind::HardwareException => matches!(info.vector(), 1 | 18),
        InterruptionKind::Other => info.vector() == 0,
        _ => false,
    };
    guest(
        !info.is_valid() || wakes,
        FIELD,
        "only interrupts, NMIs, #DB and #MC are injected in the HLT state",
    )
}

fn check_pending_debug(state: &State, rflags: u64, blocking: Interruptibility) -> Check {
    const FIELD: Field = Field::GUEST_DEBUG_EXC;
    let pending = state.get(FIELD);
    guest(pending & !PENDING_DEFINED == 0, FIELD, "reserved bits are 0")?;
    let halted = state.get(Field::GUEST_ACTIVITY_STATE) as u32 == ActivityState::HLT.0;
    if halted || blocking.intersects(Interruptibility::STI | Interruptibility::MOV_SS) {
        let stepping = rflags & TF != 0 && state.get(Field::GUEST_IA32_DEBUGCTL) & DEBUGCTL_BTF == 0;
        guest(
            (pending & PENDING_BS != 0) == stepping,
            FIELD,
            "BS goes with TF (and no BTF) while events are blocked",
        )?;
    }
    Ok(())
}
