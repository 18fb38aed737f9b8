//! The event to inject (SDM vol. 3, 27.2.1.3, and the parts of 27.3.1 that depend on it).

use super::{Check, State, control, guest};
use crate::x86_64::vmcs::Field;
use crate::x86_64::{Interruptibility, InterruptionInfo, InterruptionKind};

const CR0_PE: u64 = 1;
const RFLAGS_IF: u64 = 1 << 9;

/// Vectors that push an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC.
const WITH_ERROR_CODE: u32 = 1 << 8 | 0x1f << 10 | 1 << 17;

pub(super) fn check(state: &State) -> Check {
    let info = InterruptionInfo(state.get(Field::CTRL_VMENTRY_IRQ_INFO) as u32);
    if !info.is_valid() {
        return Ok(());
    }
    check_information(state, info)?;
    check_blocking(state, info.kind())
}

fn check_information(state: &State, info: InterruptionInfo) -> Check {
    const FIELD: Field = Field::CTRL_VMENTRY_IRQ_INFO;
    let vector = info.vector();
    control(info.0 & 0x7fff_f000 == 0, FIELD, "bits 30:12 are 0")?;
    control(info.kind() != InterruptionKind::Reserved, FIELD, "the type is not 1")?;
    match info.kind() {
        InterruptionKind::Nmi => control(vector == 2, FIELD, "an NMI has vector 2")?,
        InterruptionKind::HardwareException => {
            control(vector <= 31, FIELD, "an exception's vector is at most 31")?
        }
        InterruptionKind::Other => control(vector == 0, FIELD, "a pending MTF exit has vector 0")?,
        _ => {}
    }
    let has_code = info.kind() == InterruptionKind::HardwareException
        && state.get(Field::GUEST_CR0) & CR0_PE != 0
        && WITH_ERROR_CODE >> vector & 1 != 0;
    control(
        info.has_error_code() == has_code,
        FIELD,
        "an error code goes with vectors 8, 10–14 and 17 only",
    )?;
    if has_code {
        let code = state.get(Field::CTRL_VMENTRY_EXC_ERROR);
        control(code & !0xffff == 0, Field::CTRL_VMENTRY_EXC_ERROR, "bits 31:16 are 0")?;
    }
    if info.kind().needs_instruction_length() {
        let length = state.get(Field::CTRL_VMENTRY_INSTR_LEN);
        control((1..=15).contains(&length), Field::CTRL_VMENTRY_INSTR_LEN, "is 1–15")?;
    }
    Ok(())
}

fn check_blocking(state: &State, kind: InterruptionKind) -> Check {
    const FIELD: Field = Field::GUEST_INTERRUPTIBILITY;
    let blocking = Interruptibility::from_bits_retain(state.get(FIELD) as u32);
    match kind {
        InterruptionKind::External => {
            let enabled = state.get(Field::GUEST_RFLAGS) & RFLAGS_IF != 0;
            guest(enabled, Field::GUEST_RFLAGS, "IF is 1 when an external interrupt is injected")?;
            let blocked = blocking.intersects(Interruptibility::STI | Interruptibility::MOV_SS);
            guest(!blocked, FIELD, "no STI or MOV SS blocking when an external interrupt is injected")
        }
        InterruptionKind::Nmi => {
            guest(
                !blocking.contains(Interruptibility::MOV_SS),
                FIELD,
                "no MOV SS blocking when an NMI is injected",
            )?;
            let virtual_nmis = state.get(Field::CTRL_PIN_BASED) & 1 << 5 != 0;
            let blocked = virtual_nmis && blocking.contains(Interruptibility::NMI);
            guest(!blocked, FIELD, "no NMI blocking when an NMI is injected under virtual NMIs")
        }
        _ => Ok(()),
    }
}
