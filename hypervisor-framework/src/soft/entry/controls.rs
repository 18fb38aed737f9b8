//! VM-execution control fields (SDM vol. 3, 27.2.1). What the capabilities demand is checked when they are written.

use super::{Check, State, control};
use crate::x86_64::vmcs::Field;
use crate::x86_64::{PinBased, ProcBased};

pub(super) fn check(state: &State) -> Check {
    let pin = PinBased::from_bits_retain(state.get(Field::CTRL_PIN_BASED) as u32);
    let primary = ProcBased::from_bits_retain(state.get(Field::CTRL_CPU_BASED) as u32);
    control(
        pin.contains(PinBased::VIRTUAL_NMI) || !primary.contains(ProcBased::NMI_WINDOW),
        Field::CTRL_CPU_BASED,
        "NMI-window exiting needs virtual NMIs",
    )?;
    if primary.contains(ProcBased::TPR_SHADOW) {
        let threshold = state.get(Field::CTRL_TPR_THRESHOLD);
        control(threshold & !0xf == 0, Field::CTRL_TPR_THRESHOLD, "bits 31:4 are 0")?;
        let apic = state.get(Field::CTRL_CPU_BASED2) & 1 != 0;
        control(
            apic || threshold <= state.engine.cpu.cr(8),
            Field::CTRL_TPR_THRESHOLD,
            "not above the virtual TPR's bits 7:4",
        )?;
    }
    Ok(())
}
