//! BMI1, BMI2, LZCNT and MOVBE, where guest and host have them: they stay what they are.

use iced_x86::{CpuidFeature, Instruction, Mnemonic};

use super::native::Shape;

/// Is it one of these?
pub(super) fn is_one(insn: &Instruction) -> bool {
    insn.cpuid_features().iter().any(|feature| {
        matches!(feature, CpuidFeature::BMI1 | CpuidFeature::BMI2 | CpuidFeature::LZCNT | CpuidFeature::MOVBE)
    })
}

/// What it does to its operands; `None` if the host lacks it.
pub(super) fn shape(insn: &Instruction) -> Option<Shape> {
    let has = insn.cpuid_features().iter().all(|feature| match feature {
        CpuidFeature::BMI1 => std::arch::is_x86_feature_detected!("bmi1"),
        CpuidFeature::BMI2 => std::arch::is_x86_feature_detected!("bmi2"),
        CpuidFeature::LZCNT => std::arch::is_x86_feature_detected!("lzcnt"),
        CpuidFeature::MOVBE => std::arch::is_x86_feature_detected!("movbe"),
        _ => false,
    });
    if !has {
        return None;
    }
    // MULX reads the host's RDX, which is the guest's.
    Some(if insn.mnemonic() == Mnemonic::Mulx { Shape::Exchanges } else { Shape::Writes })
}
