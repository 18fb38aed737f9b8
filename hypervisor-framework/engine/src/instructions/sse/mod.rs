//! SSE to SSE4.2 on XMM registers (SDM vol. 1, chapters 10–12). The forms on MMX registers are the x87 family's.

pub(super) mod arithmetic;
pub(super) mod bits;
pub(super) mod blend;
mod cache;
mod checksum;
mod element;
pub(super) mod extend;
pub(super) mod float;
pub(super) mod lane;
pub(super) mod moves;
pub(super) mod operand;
pub(super) mod pack;
pub(super) mod shift;
pub(super) mod shuffle;
mod status;
mod text;
mod word;

pub(crate) use float::mixed;

use iced_x86::OpKind;

use super::vex::is_vex;
use crate::block::Translator;

/// Translates an SSE instruction; false if it is none.
pub(crate) fn translate(t: &mut Translator<'_>) -> bool {
    if uses_mmx(t) || is_vex(t.insn) {
        return false;
    }
    let forms = moves::forms(t)
        .or_else(|| bits::forms(t.insn.mnemonic()))
        .or_else(|| arithmetic::forms(t.insn.mnemonic()))
        .or_else(|| pack::forms(t.insn.mnemonic()))
        .or_else(|| shuffle::forms(t.insn.mnemonic()))
        .or_else(|| blend::forms(t.insn.mnemonic()))
        .or_else(|| extend::forms(t.insn.mnemonic()))
        .or_else(|| float_forms(t))
        .or_else(|| shift::forms(t.insn.mnemonic(), t.insn.op_kind(1) == OpKind::Immediate8));
    match forms {
        Some(forms) => {
            operand::push(t, forms);
            true
        }
        None => moves::translate(t) || translate_alone(t),
    }
}

/// Translates an instruction that has more than XMM registers and memory to do with, whatever its encoding.
pub(super) fn translate_alone(t: &mut Translator<'_>) -> bool {
    element::translate(t)
        || float::translate(t)
        || cache::translate(t)
        || status::translate(t)
        || checksum::translate(t)
        || text::translate(t)
}

/// MOVSD and CMPSD are string instructions too.
fn float_forms(t: &Translator<'_>) -> Option<operand::Forms> {
    let vector = t.insn.op_kind(0) == OpKind::Register && t.insn.op_register(0).is_xmm();
    if vector { float::forms(t.insn.mnemonic()) } else { None }
}

fn uses_mmx(t: &Translator<'_>) -> bool {
    (0..t.insn.op_count()).any(|i| t.insn.op_kind(i) == OpKind::Register && t.insn.op_register(i).is_mm())
}

#[cfg(test)]
mod test;
