//! Which encodings are tested: those of x86-64-v3 (or v2, where the host has no more) that a process may use and whose outcome is determined.

use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic, OpCodeOperandKind};

use crate::os::has_v3;
use crate::state::Mode;

/// What guests are told of, so far as instructions can be compared.
const FEATURES: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::CMOV,
    CpuidFeature::CMPXCHG16B,
    CpuidFeature::CX8,
    CpuidFeature::CLFSH,
    CpuidFeature::FPU,
    CpuidFeature::FPU287,
    CpuidFeature::FPU387,
    CpuidFeature::FSGSBASE,
    CpuidFeature::FXSR,
    CpuidFeature::MMX,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
    CpuidFeature::POPCNT,
    CpuidFeature::PREFETCHW,
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::SSE3,
    CpuidFeature::SSSE3,
    CpuidFeature::SSE4_1,
    CpuidFeature::SSE4_2,
];

/// What x86-64-v3 adds.
const V3: &[CpuidFeature] = &[
    CpuidFeature::AVX,
    CpuidFeature::AVX2,
    CpuidFeature::BMI1,
    CpuidFeature::BMI2,
    CpuidFeature::F16C,
    CpuidFeature::FMA,
    CpuidFeature::LZCNT,
    CpuidFeature::MOVBE,
];

/// Not compared, and why.
const LEFT_OUT: &[(&str, &[Mnemonic])] = &[
    (
        "leaves the process for its kernel",
        &[
            Mnemonic::Int,
            Mnemonic::Int1,
            Mnemonic::Syscall,
            Mnemonic::Sysenter,
            Mnemonic::Sysexit,
            Mnemonic::Sysret,
            Mnemonic::Iret,
            Mnemonic::Iretd,
            Mnemonic::Iretq,
            Mnemonic::Rsm,
        ],
    ),
    (
        "loads segments of the host's descriptor tables, or shows them",
        &[
            Mnemonic::Lar,
            Mnemonic::Lsl,
            Mnemonic::Verr,
            Mnemonic::Verw,
            Mnemonic::Lss,
            Mnemonic::Lds,
            Mnemonic::Les,
            Mnemonic::Lfs,
            Mnemonic::Lgs,
            Mnemonic::Retf,
            Mnemonic::Str,
            Mnemonic::Sldt,
            Mnemonic::Sgdt,
            Mnemonic::Sidt,
            Mnemonic::Smsw,
        ],
    ),
    ("changes what the host's thread needs", &[Mnemonic::Wrfsbase, Mnemonic::Wrgsbase, Mnemonic::Rdfsbase]),
    (
        "saves pointers that processors keep differently; the engine's own tests compare the rest",
        &[
            Mnemonic::Fxsave,
            Mnemonic::Fxsave64,
            Mnemonic::Fnsave,
            Mnemonic::Fnstenv,
            Mnemonic::Fxrstor,
            Mnemonic::Fxrstor64,
            Mnemonic::Frstor,
            Mnemonic::Fldenv,
        ],
    ),
    ("is an exit of the engine's", &[Mnemonic::Cpuid]),
];

/// Privileged instructions: all raise #GP here.
const PRIVILEGED: &[Mnemonic] = &[
    Mnemonic::Hlt,
    Mnemonic::Cli,
    Mnemonic::Sti,
    Mnemonic::Clts,
    Mnemonic::Lmsw,
    Mnemonic::Invd,
    Mnemonic::Wbinvd,
    Mnemonic::Invlpg,
    Mnemonic::Lgdt,
    Mnemonic::Lidt,
    Mnemonic::Lldt,
    Mnemonic::Ltr,
    Mnemonic::In,
    Mnemonic::Out,
    Mnemonic::Swapgs,
];

/// The encodings that are tested, in a fixed order.
pub(crate) struct Catalogue {
    pub(crate) mode: Mode,
    pub(crate) all: Vec<Code>,
    /// Those that most code consists of.
    pub(crate) common: Vec<Code>,
}

impl Catalogue {
    /// `filter`: only names that start with one of its parts.
    pub(crate) fn new(mode: Mode, filter: Option<&str>) -> Self {
        let all: Vec<_> =
            Code::values().filter(|&code| is_tested(mode, code) && matches(code, filter)).collect();
        let common = all.iter().copied().filter(|&code| is_common(code)).collect();
        Self { mode, all, common }
    }
}

fn is_common(code: Code) -> bool {
    let names = [
        Mnemonic::Add,
        Mnemonic::Adc,
        Mnemonic::Sub,
        Mnemonic::Sbb,
        Mnemonic::And,
        Mnemonic::Or,
        Mnemonic::Xor,
        Mnemonic::Cmp,
        Mnemonic::Test,
        Mnemonic::Inc,
        Mnemonic::Dec,
        Mnemonic::Neg,
        Mnemonic::Shl,
        Mnemonic::Shr,
        Mnemonic::Sar,
        Mnemonic::Bt,
        Mnemonic::Mov,
        Mnemonic::Movzx,
        Mnemonic::Movsx,
        Mnemonic::Lea,
        Mnemonic::Push,
        Mnemonic::Pop,
    ];
    let conditional = code.is_jcc_short_or_near() || format!("{:?}", code.mnemonic()).starts_with("Set");
    names.contains(&code.mnemonic()) || conditional
}

fn matches(code: Code, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| {
        filter.split(',').any(|part| format!("{code:?}").to_lowercase().starts_with(&part.to_lowercase()))
    })
}

fn is_tested(mode: Mode, code: Code) -> bool {
    let op = code.op_code();
    let mnemonic = code.mnemonic();
    let privileged = PRIVILEGED.contains(&mnemonic);
    let available = match mode {
        Mode::Long => op.mode64() && op.intel_decoder64() && op.amd_decoder64(),
        Mode::Compatibility => op.mode32() && op.intel_decoder32() && op.amd_decoder32(),
    };
    op.is_instruction()
        && available
        && matches!(op.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
        && !op.fwait()
        && op.decoder_option() == 0
        && (privileged || code.cpuid_features().iter().all(is_offered))
        && (privileged || !op.is_privileged())
        && !is_far(code)
        // 0F 0D with a register is a NOP on Intel's processors, and undefined on AMD's.
        && !matches!(
            code,
            Code::Reservednop_rm16_r16_0F0D | Code::Reservednop_rm32_r32_0F0D | Code::Reservednop_rm64_r64_0F0D
        )
        && !matches!(code, Code::Retnw | Code::Retnw_imm16 | Code::Call_rm16 | Code::Jmp_rm16)
        // Leaves the upper half of the slot alone on Intel's processors, zeroes it on AMD's.
        && !(op.operand_size() == 32 && mnemonic == Mnemonic::Push && is_segment_push(code))
        // Reads 2 bytes on Intel's processors, 4 on AMD's.
        && code != Code::Movsxd_r16_rm16
        && !LEFT_OUT.iter().any(|(_, all)| all.contains(&mnemonic))
        && !op.op_kinds().iter().any(|&kind| is_left_out(kind, mnemonic))
        && op.op0_kind() != OpCodeOperandKind::seg_reg
}

fn is_offered(feature: &CpuidFeature) -> bool {
    FEATURES.contains(feature) || has_v3() && V3.contains(feature)
}

fn is_segment_push(code: Code) -> bool {
    matches!(
        code.op_code().op0_kind(),
        OpCodeOperandKind::es
            | OpCodeOperandKind::cs
            | OpCodeOperandKind::ss
            | OpCodeOperandKind::ds
            | OpCodeOperandKind::fs
            | OpCodeOperandKind::gs
    )
}

/// Far pointers, segment registers as destinations, control and debug registers.
fn is_left_out(kind: OpCodeOperandKind, mnemonic: Mnemonic) -> bool {
    match kind {
        OpCodeOperandKind::farbr2_2 | OpCodeOperandKind::farbr4_2 => true,
        // To the first 64 KiB.
        OpCodeOperandKind::br16_1 | OpCodeOperandKind::br16_2 => true,
        OpCodeOperandKind::es
        | OpCodeOperandKind::ss
        | OpCodeOperandKind::ds
        | OpCodeOperandKind::fs
        | OpCodeOperandKind::gs => mnemonic == Mnemonic::Pop,
        _ => false,
    }
}

/// Far transfers through memory.
fn is_far(code: Code) -> bool {
    matches!(
        code,
        Code::Call_m1616
            | Code::Call_m1632
            | Code::Call_m1664
            | Code::Jmp_m1616
            | Code::Jmp_m1632
            | Code::Jmp_m1664
    )
}
