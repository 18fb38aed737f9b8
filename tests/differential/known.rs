//! Where processors may differ, and what is done about it.

use iced_x86::{Code, CodeSize, CpuidFeature, Instruction, Mnemonic, OpKind};

use crate::state::{Fault, flag};

/// How much of an instruction's outcome is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Single-precision results in XMM registers need to agree to 1.5 / 2^12 of each other.
    Approximate,
    /// C1 is not compared.
    ConditionOne,
    /// The x87 and SSE state is not compared when the instruction faults.
    Transition,
    /// Values in the x87 registers, and the flags for inexact and underflow, are not compared.
    Transcendental,
    /// The x87 state is not compared.
    OutOfRange,
}

/// Legitimate differences, with their reasons.
const RULES: &[(&[Mnemonic], Rule, &str)] = &[
    (
        &[Mnemonic::Fcomi, Mnemonic::Fcomip, Mnemonic::Fucomi, Mnemonic::Fucomip],
        Rule::ConditionOne,
        "Intel's processors clear C1, AMD's leave it alone",
    ),
    (
        &[
            Mnemonic::Cvtpd2pi,
            Mnemonic::Cvttpd2pi,
            Mnemonic::Cvtps2pi,
            Mnemonic::Cvttps2pi,
            Mnemonic::Cvtpi2pd,
            Mnemonic::Cvtpi2ps,
        ],
        Rule::Transition,
        "the change to MMX state happens before or after the fault",
    ),
    (
        &[
            Mnemonic::Rcpps,
            Mnemonic::Rcpss,
            Mnemonic::Rsqrtps,
            Mnemonic::Rsqrtss,
            Mnemonic::Vrcpps,
            Mnemonic::Vrcpss,
            Mnemonic::Vrsqrtps,
            Mnemonic::Vrsqrtss,
        ],
        Rule::Approximate,
        "approximations with a bounded error; each processor has its own (SDM vol. 2, RCPPS)",
    ),
    (
        &[Mnemonic::Fyl2xp1],
        Rule::OutOfRange,
        "as the others; an operand beyond its range has no defined result (SDM vol. 2, FYL2XP1)",
    ),
    (
        &[
            Mnemonic::F2xm1,
            Mnemonic::Fyl2x,
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

/// Do two faults of an instruction mean the same? Where several are due, the processor may choose among those of one class
/// of priority (SDM vol. 3, table 6-2).
pub(crate) fn same_fault(insn: &Instruction, host: &Fault, engine: &Fault) -> bool {
    let (pf, ac) = (14, 17);
    let misaligned = |one: &Fault, other: &Fault| one.vector == ac && [12, 13, pf].contains(&other.vector);
    // CMPS: which of its two operands is read first.
    let either =
        matches!(insn.mnemonic(), Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq)
            && insn.is_string_instruction();
    // CALL to a non-canonical address: Intel's processors find that before they write the return address.
    let call = insn.is_call_near_indirect() && engine.vector == 13 && [12, pf].contains(&host.vector);
    // In compatibility mode the engine looks at a segment before it looks for a pending x87 exception.
    let early = host.vector == 16 && [12, 13].contains(&engine.vector);
    // POP to memory through a segment that refuses: the engine looks at the segment before it reads the stack.
    let popped = insn.mnemonic() == Mnemonic::Pop && host.vector == pf && [12, 13].contains(&engine.vector);
    // An access across the end of a segment of 4 GiB: faults or wraps (SDM vol. 3, 5.3).
    let around = [12, 13].contains(&host.vector) && engine.vector == pf && engine.address | 15 == 0xffff_ffff;
    host == engine
        || early
        || popped
        || around
        || call
        || misaligned(host, engine)
        || misaligned(engine, host)
        || (either && [host, engine].iter().all(|fault| [13, pf].contains(&fault.vector)))
}

/// Do processors differ in what alignment the instruction needs when alignment is checked?
pub(crate) fn checks_alignment(code: Code) -> bool {
    let wide = [
        CpuidFeature::MMX,
        CpuidFeature::SSE,
        CpuidFeature::SSE2,
        CpuidFeature::SSE3,
        CpuidFeature::SSSE3,
        CpuidFeature::SSE4_1,
        CpuidFeature::SSE4_2,
        CpuidFeature::AVX,
        CpuidFeature::AVX2,
        CpuidFeature::F16C,
        CpuidFeature::FMA,
    ];
    // ENTER touches the new top of the stack, which need not be aligned; #AC for unaligned 16-byte operands is up to the
    // implementation (SDM vol. 3, 6.15, interrupt 17).
    code.mnemonic() == Mnemonic::Enter || code.cpuid_features().iter().any(|feature| wide.contains(feature))
}

/// Does the instruction wait for x87 exceptions on some processors only? CVTPI2PS of a memory operand uses no MMX register.
pub(crate) fn may_wait(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Cvtpi2ps | Mnemonic::Cvtpi2pd) && insn.op1_kind() == OpKind::Memory
}

/// Does the processor see another instruction than the decoder does?
pub(crate) fn decoded_otherwise(insn: &Instruction, bytes: &[u8]) -> bool {
    // F3 REX.B 90 exchanges R8 and RAX.
    let pause = insn.mnemonic() == Mnemonic::Pause && bytes.iter().any(|byte| byte & 0xf1 == 0x41);
    // AMD's processors take the condition of LOOPE and LOOPNE from a repeat prefix.
    let looping = insn.is_loopcc() && bytes.iter().any(|byte| matches!(byte, 0xf2 | 0xf3));
    // ARPL that changes nothing writes nothing on AMD's processors, so that a code segment will do.
    let adjusts = insn.mnemonic() == Mnemonic::Arpl && insn.has_segment_prefix();
    // VEX.W = 1 outside of 64-bit mode: ignored by Intel's processors (SDM vol. 2, PEXTRD), #UD on AMD's.
    let wide = insn.code_size() == CodeSize::Code32
        && matches!(insn.mnemonic(), Mnemonic::Vpextrd | Mnemonic::Vpinsrd)
        && bytes.windows(3).any(|prefix| prefix[0] == 0xc4 && prefix[2] & 0x80 != 0);
    pause || looping || adjusts || wide
}

/// Are the registers left in between when the instruction faults? POPA has loaded some on AMD's processors.
pub(crate) fn leaves_registers(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Popa | Mnemonic::Popad)
}

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
    let waits = matches!(mnemonic, Mnemonic::Cvtpi2ps | Mnemonic::Cvtpi2pd);
    let transition = RULES.iter().any(|(all, rule, _)| *rule == Rule::Transition && all.contains(&mnemonic));
    (!partly || transition && !waits) && !undefined && !traps && !ends && !gathers(code)
}

/// Does it address memory by a vector register? The others of a sequence may change that.
pub(crate) fn gathers(code: Code) -> bool {
    code.op_code().op_kinds().iter().any(|kind| format!("{kind:?}").starts_with("mem_vsib"))
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

/// Flags that are read beyond what the decoder's tables say: they forget the carry of RCL and RCR by an immediate 1.
pub(crate) fn read_flags(insn: &Instruction) -> u64 {
    if matches!(insn.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr) { flag::CF } else { 0 }
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
