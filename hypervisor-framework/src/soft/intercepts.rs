//! VMX controls as the engine's intercepts.

use engine::Controls;

use super::state::State;
use crate::x86_64::vmcs::Field;
use crate::x86_64::{PinBased, ProcBased, ProcBased2};

const PRIMARY: [(ProcBased, Controls); 14] = [
    (ProcBased::IRQ_WINDOW, Controls::INTERRUPT_WINDOW),
    (ProcBased::INVLPG, Controls::INVLPG),
    (ProcBased::MWAIT, Controls::MWAIT),
    (ProcBased::RDPMC, Controls::RDPMC),
    (ProcBased::RDTSC, Controls::RDTSC),
    (ProcBased::CR3_LOAD, Controls::CR3_LOAD),
    (ProcBased::CR3_STORE, Controls::CR3_STORE),
    (ProcBased::CR8_LOAD, Controls::CR8_LOAD),
    (ProcBased::CR8_STORE, Controls::CR8_STORE),
    (ProcBased::NMI_WINDOW, Controls::NMI_WINDOW),
    (ProcBased::MOV_DR, Controls::MOV_DR),
    (ProcBased::MONITOR_TRAP, Controls::MONITOR_TRAP),
    (ProcBased::MONITOR, Controls::MONITOR),
    (ProcBased::PAUSE, Controls::PAUSE),
];

const SECONDARY: [(ProcBased2, Controls); 7] = [
    (ProcBased2::DESCRIPTOR_TABLE, Controls::DESCRIPTOR_TABLE),
    (ProcBased2::WBINVD, Controls::WBINVD),
    (ProcBased2::RDRAND, Controls::RDRAND),
    (ProcBased2::RDSEED, Controls::RDSEED),
    (ProcBased2::RDTSCP, Controls::ENABLE_RDTSCP),
    (ProcBased2::INVPCID, Controls::ENABLE_INVPCID),
    (ProcBased2::XSAVES, Controls::ENABLE_XSAVES),
];

/// Does a write to CR8 have to come here, to be compared with the TPR threshold?
pub(super) fn watches_threshold(state: &State) -> bool {
    primary(state).contains(ProcBased::TPR_SHADOW) && state.get(Field::CTRL_TPR_THRESHOLD) != 0
}

/// Does the client want MOV to CR8 to exit?
pub(super) fn client_wants_cr8_loads(state: &State) -> bool {
    primary(state).contains(ProcBased::CR8_LOAD)
}

/// Does the client want HLT to exit?
pub(super) fn client_wants_hlt(state: &State) -> bool {
    primary(state).contains(ProcBased::HLT)
}

fn primary(state: &State) -> ProcBased {
    ProcBased::from_bits_retain(state.get(Field::CTRL_CPU_BASED) as u32)
}

/// Sets the engine's intercepts from the control fields. MSR rights and the TSC offset are set by their calls.
pub(super) fn load(state: &mut State) {
    let primary = primary(state);
    let secondary = ProcBased2::from_bits_retain(state.get(Field::CTRL_CPU_BASED2) as u32);
    let pin = PinBased::from_bits_retain(state.get(Field::CTRL_PIN_BASED) as u32);
    // HLT always comes here: without HLT exiting, waiting is this provider's, not the engine's.
    let mut controls = Controls::HLT;
    for (bit, control) in PRIMARY {
        controls.set(control, primary.contains(bit));
    }
    for (bit, control) in SECONDARY {
        controls.set(control, secondary.contains(bit));
    }
    controls.set(Controls::VIRTUAL_NMIS, pin.contains(PinBased::VIRTUAL_NMI));
    if watches_threshold(state) {
        controls |= Controls::CR8_LOAD;
    }
    let value = |field| state.get(field);
    let targets =
        [Field::CTRL_CR3_VALUE0, Field::CTRL_CR3_VALUE1, Field::CTRL_CR3_VALUE2, Field::CTRL_CR3_VALUE3];
    let count = (value(Field::CTRL_CR3_COUNT) as usize).min(targets.len());
    let cr3_targets = targets.iter().take(count).map(|field| value(*field)).collect();
    let exceptions = value(Field::CTRL_EXC_BITMAP) as u32;
    let (pf_mask, pf_match) =
        (value(Field::CTRL_PF_ERROR_MASK) as u32, value(Field::CTRL_PF_ERROR_MATCH) as u32);
    let (cr0_mask, cr0_shadow) = (value(Field::CTRL_CR0_MASK), value(Field::CTRL_CR0_SHADOW));
    let (cr4_mask, cr4_shadow) = (value(Field::CTRL_CR4_MASK), value(Field::CTRL_CR4_SHADOW));

    let intercepts = &mut state.engine.cpu.intercepts;
    intercepts.controls = controls;
    intercepts.cr3_targets = cr3_targets;
    (intercepts.exceptions, intercepts.pf_mask, intercepts.pf_match) = (exceptions, pf_mask, pf_match);
    (intercepts.cr0_mask, intercepts.cr0_shadow) = (cr0_mask, cr0_shadow);
    (intercepts.cr4_mask, intercepts.cr4_shadow) = (cr4_mask, cr4_shadow);
}
