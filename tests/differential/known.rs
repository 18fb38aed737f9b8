//! Where processors may differ, and what is done about it.

use iced_x86::{Code, Instruction, Mnemonic, OpKind};

/// How much of an instruction's outcome is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Single-precision results in XMM registers need to agree to 1.5 / 2^12 of each other.
    Approximate,
    /// Values in the x87 registers, and the flags for inexact and underflow, are not compared.
    Transcendental,
}

/// Legitimate differences, with their reasons.
const RULES: &[(&[Mnemonic], Rule, &str)] = &[
    (
        &[Mnemonic::Rcpps, Mnemonic::Rcpss, Mnemonic::Rsqrtps, Mnemonic::Rsqrtss],
        Rule::Approximate,
        "approximations with a bounded error; each processor has its own (SDM vol. 2, RCPPS)",
    ),
    (
        &[
            Mnemonic::F2xm1,
            Mnemonic::Fyl2x,
            Mnemonic::Fyl2xp1,
            Mnemonic::Fptan,
            Mnemonic::Fpatan,
            Mnemonic::Fsin,
            Mnemonic::Fcos,
            Mnemonic::Fsincos,
        ],
        Rule::Transcendental,
        "results differ in the last place between processors (SDM vol. 1, 8.3.10); the engine's own tests bound the error",
    ),
];

/// The rule for an instruction.
pub(crate) fn rule(insn: &Instruction) -> Option<Rule> {
    RULES.iter().find(|(all, ..)| all.contains(&insn.mnemonic())).map(|&(_, rule, _)| rule)
}

/// May the encoding stand in a sequence? Not if its outcome is compared in part only: what follows would see all of it.
pub(crate) fn follows(code: Code) -> bool {
    let mnemonic = code.mnemonic();
    let partly = RULES.iter().any(|(all, ..)| all.contains(&mnemonic));
    let undefined = matches!(
        code,
        Code::Shld_rm16_r16_imm8
            | Code::Shld_rm16_r16_CL
            | Code::Shrd_rm16_r16_imm8
            | Code::Shrd_rm16_r16_CL
            | Code::Bswap_r16
    );
    // May set TF.
    let traps = matches!(mnemonic, Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq);
    // Traps, and privileged ones, end a sequence at once.
    let ends = matches!(mnemonic, Mnemonic::Int3 | Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2)
        || code.op_code().is_privileged()
        || code.op_code().is_input_output();
    !partly && !undefined && !traps && !ends
}

/// Does the instruction leave flags alone for some operands, although it may write them? Shifts by 0 do.
pub(crate) fn may_leave_flags(insn: &Instruction) -> bool {
    let by_count = matches!(
        insn.mnemonic(),
        Mnemonic::Shl
            | Mnemonic::Sal
            | Mnemonic::Shr
            | Mnemonic::Sar
            | Mnemonic::Rol
            | Mnemonic::Ror
            | Mnemonic::Rcl
            | Mnemonic::Rcr
            | Mnemonic::Shld
            | Mnemonic::Shrd
    );
    by_count || insn.is_string_instruction()
}

/// Flags that are undefined beyond what the decoder's tables say.
pub(crate) fn undefined_flags(_insn: &Instruction) -> u64 {
    0
}

/// Is the destination undefined?
pub(crate) fn undefined_result(insn: &Instruction, count: u8) -> bool {
    match insn.code() {
        // SDM vol. 2, BSWAP: the result for 16-bit operands is undefined.
        Code::Bswap_r16 => true,
        // SDM vol. 2, SHLD: a count beyond the operand size gives an undefined result.
        Code::Shld_rm16_r16_imm8
        | Code::Shrd_rm16_r16_imm8
        | Code::Shld_rm16_r16_CL
        | Code::Shrd_rm16_r16_CL => {
            let count = if insn.op2_kind() == OpKind::Immediate8 { insn.immediate8() } else { count };
            count & 31 > 16
        }
        _ => false,
    }
}
