//! Moves between XMM registers and memory.

use iced_x86::{Code, Mnemonic};

use super::lane::{LOW, LOW32};
use super::operand::{Aligned, Forms, Legacy, Unaligned, binary, forms, push_store, store};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::Cpu;

/// A store of `f(register)`.
macro_rules! stores {
    ($memory:ty, $f:expr) => {
        exec!(|cpu: &mut Cpu, op: &Op| store::<Legacy, $memory>(cpu, op, $f))
    };
}

/// Moves into XMM registers.
pub(super) fn forms(t: &Translator<'_>) -> Option<Forms> {
    if t.is_memory(0) {
        return None;
    }
    // MOVSD, MOVQ and MOVD have namesakes.
    match t.insn.code() {
        Code::Movss_xmm_xmmm32 | Code::Movss_xmmm32_xmm => named(Mnemonic::Movss),
        Code::Movsd_xmm_xmmm64 | Code::Movsd_xmmm64_xmm => named(Mnemonic::Movsd),
        Code::Movq_xmm_xmmm64 | Code::Movq_xmmm64_xmm => named(Mnemonic::Movq),
        _ if matches!(t.insn.mnemonic(), Mnemonic::Movss | Mnemonic::Movsd | Mnemonic::Movq) => None,
        _ => named(t.insn.mnemonic()),
    }
}

/// The move of that name from an XMM register or memory.
pub(in crate::instructions) fn named(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Movaps | Mnemonic::Movapd | Mnemonic::Movdqa => forms!(binary, Aligned, |_, b| b),
        Mnemonic::Movntdqa => forms!(binary, Aligned, |_, b| b),
        Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu | Mnemonic::Lddqu => {
            forms!(binary, Unaligned, |_, b| b)
        }
        Mnemonic::Movlps | Mnemonic::Movlpd => forms!(binary, u64, |a, b| a & !LOW | b),
        Mnemonic::Movhps | Mnemonic::Movhpd | Mnemonic::Movlhps => {
            forms!(binary, u64, |a, b| a & LOW | b << 64)
        }
        Mnemonic::Movhlps => forms!(binary, u64, |a, b| a & !LOW | b >> 64),
        Mnemonic::Movss => Forms {
            memory: forms!(binary, u32, |_, b| b).memory,
            ..forms!(binary, u32, |a, b| a & !LOW32 | b & LOW32)
        },
        Mnemonic::Movsd => Forms {
            memory: forms!(binary, u64, |_, b| b).memory,
            ..forms!(binary, u64, |a, b| a & !LOW | b & LOW)
        },
        Mnemonic::Movq => forms!(binary, u64, |_, b| b & LOW),
        _ => return None,
    })
}

/// Moves to memory.
pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    if !t.is_memory(0) {
        return false;
    }
    let exec: Exec = match t.insn.mnemonic() {
        Mnemonic::Movaps | Mnemonic::Movapd | Mnemonic::Movdqa => stores!(Aligned, |a| a),
        Mnemonic::Movntps | Mnemonic::Movntpd | Mnemonic::Movntdq => stores!(Aligned, |a| a),
        Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu => stores!(Unaligned, |a| a),
        Mnemonic::Movlps | Mnemonic::Movlpd => stores!(u64, |a| a),
        Mnemonic::Movhps | Mnemonic::Movhpd => stores!(u64, |a| a >> 64),
        _ => match t.insn.code() {
            Code::Movss_xmmm32_xmm => stores!(u32, |a| a),
            Code::Movsd_xmmm64_xmm | Code::Movq_xmmm64_xmm => stores!(u64, |a| a),
            _ => return false,
        },
    };
    push_store(t, exec);
    true
}
