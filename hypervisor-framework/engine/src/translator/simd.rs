//! SSE instructions on integers and moves: they stay what they are, on XMM registers of the same number.

use iced_x86::{CpuidFeature, Instruction, MemorySize, Mnemonic, OpKind};

use super::emitter::host::RAX;
use super::memory::Need;
use super::native::{memory_operand, replace_memory};
use super::registers::{Home, home, sized};
use super::slow::Back;
use super::unit::{ARITHMETIC, Builder, Emitted, Unsupported};

/// What the host must have; SSE2 is part of x86-64.
fn host_has(insn: &Instruction) -> bool {
    insn.cpuid_features().iter().all(|feature| match feature {
        CpuidFeature::SSE | CpuidFeature::SSE2 => true,
        CpuidFeature::SSE3 => std::arch::is_x86_feature_detected!("sse3"),
        CpuidFeature::SSSE3 => std::arch::is_x86_feature_detected!("ssse3"),
        CpuidFeature::SSE4_1 => std::arch::is_x86_feature_detected!("sse4.1"),
        CpuidFeature::SSE4_2 => std::arch::is_x86_feature_detected!("sse4.2"),
        _ => false,
    })
}

/// Instructions whose outcome depends on operands only: no MXCSR, no exceptions but those of memory.
fn is_exact(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Movdqa
            | M::Movdqu
            | M::Movaps
            | M::Movups
            | M::Movapd
            | M::Movupd
            | M::Lddqu
            | M::Movntdq
            | M::Movntps
            | M::Movd
            | M::Movq
            | M::Movhps
            | M::Movlps
            | M::Movhpd
            | M::Movlpd
            | M::Movhlps
            | M::Movlhps
            | M::Movss
            | M::Movsd
            | M::Pxor
            | M::Por
            | M::Pand
            | M::Pandn
            | M::Xorps
            | M::Xorpd
            | M::Andps
            | M::Andpd
            | M::Andnps
            | M::Andnpd
            | M::Orps
            | M::Orpd
            | M::Paddb
            | M::Paddw
            | M::Paddd
            | M::Paddq
            | M::Psubb
            | M::Psubw
            | M::Psubd
            | M::Psubq
            | M::Pcmpeqb
            | M::Pcmpeqw
            | M::Pcmpeqd
            | M::Pcmpgtb
            | M::Pcmpgtw
            | M::Pcmpgtd
            | M::Pmovmskb
            | M::Movmskps
            | M::Movmskpd
            | M::Pshufd
            | M::Pshuflw
            | M::Pshufhw
            | M::Pshufb
            | M::Shufps
            | M::Shufpd
            | M::Punpcklbw
            | M::Punpcklwd
            | M::Punpckldq
            | M::Punpcklqdq
            | M::Punpckhbw
            | M::Punpckhwd
            | M::Punpckhdq
            | M::Punpckhqdq
            | M::Unpcklps
            | M::Unpckhps
            | M::Unpcklpd
            | M::Unpckhpd
            | M::Psllw
            | M::Pslld
            | M::Psllq
            | M::Pslldq
            | M::Psrlw
            | M::Psrld
            | M::Psrlq
            | M::Psrldq
            | M::Psraw
            | M::Psrad
            | M::Pminub
            | M::Pmaxub
            | M::Pminsw
            | M::Pmaxsw
            | M::Pminud
            | M::Pmaxud
            | M::Pminsb
            | M::Pmaxsb
            | M::Pminuw
            | M::Pmaxuw
            | M::Pminsd
            | M::Pmaxsd
            | M::Pavgb
            | M::Pavgw
            | M::Pmuludq
            | M::Pmuldq
            | M::Pmullw
            | M::Pmulld
            | M::Pmulhw
            | M::Pmulhuw
            | M::Pmaddwd
            | M::Pmaddubsw
            | M::Psadbw
            | M::Packuswb
            | M::Packusdw
            | M::Packsswb
            | M::Packssdw
            | M::Palignr
            | M::Pabsb
            | M::Pabsw
            | M::Pabsd
            | M::Pextrw
            | M::Pextrb
            | M::Pextrd
            | M::Pextrq
            | M::Pinsrw
            | M::Pinsrb
            | M::Pinsrd
            | M::Pinsrq
            | M::Pblendw
            | M::Ptest
            | M::Pmovzxbw
            | M::Pmovzxbd
            | M::Pmovzxbq
            | M::Pmovzxwd
            | M::Pmovzxwq
            | M::Pmovzxdq
            | M::Pcmpeqq
            | M::Pcmpgtq
            // Its index goes to ECX, which is the host's own.
            | M::Pcmpistri
    )
}

/// Floating-point arithmetic, which MXCSR has a say in.
pub(super) fn is_arithmetic(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Addpd
            | M::Addps
            | M::Addsd
            | M::Addss
            | M::Addsubpd
            | M::Addsubps
            | M::Cvtdq2pd
            | M::Cvtdq2ps
            | M::Cvtpd2dq
            | M::Cvtpd2ps
            | M::Cvtps2dq
            | M::Cvtps2pd
            | M::Cvtsd2ss
            | M::Cvtss2sd
            | M::Cvttpd2dq
            | M::Cvttps2dq
            | M::Divpd
            | M::Divps
            | M::Divsd
            | M::Divss
            | M::Dppd
            | M::Haddpd
            | M::Haddps
            | M::Hsubpd
            | M::Hsubps
            | M::Maxpd
            | M::Maxps
            | M::Maxsd
            | M::Maxss
            | M::Minpd
            | M::Minps
            | M::Minsd
            | M::Minss
            | M::Mulpd
            | M::Mulps
            | M::Mulsd
            | M::Mulss
            | M::Rcpps
            | M::Rcpss
            | M::Roundpd
            | M::Roundps
            | M::Roundsd
            | M::Roundss
            | M::Rsqrtps
            | M::Rsqrtss
            | M::Sqrtpd
            | M::Sqrtps
            | M::Sqrtsd
            | M::Sqrtss
            | M::Subpd
            | M::Subps
            | M::Subsd
            | M::Subss
    )
}

impl Builder<'_> {
    /// Emits an SSE instruction.
    pub(super) fn vector(&mut self, insn: &Instruction) -> Emitted {
        if !is_exact(insn.mnemonic()) || !host_has(insn) || insn.op_count() < 2 {
            return Err(Unsupported);
        }
        let mut used = 0;
        for i in (0..insn.op_count()).filter(|i| insn.op_kind(*i) == OpKind::Register) {
            let register = insn.op_register(i);
            if register.is_xmm() {
                used |= 1_u16 << (register.number() & 15);
            } else if !register.is_gpr() || !matches!(home(register), Some(Home::Host(_))) {
                return Err(Unsupported);
            }
        }
        let memory = memory_operand(insn);
        if used == 0 || insn.op_kind(0) != OpKind::Memory && insn.op_kind(0) != OpKind::Register {
            return Err(Unsupported);
        }
        self.use_vectors(used);
        let mut out = *insn;
        for i in (0..insn.op_count()).filter(|i| insn.op_kind(*i) == OpKind::Register) {
            let register = insn.op_register(i);
            if let Some(Home::Host(host)) = home(register) {
                out.set_op_register(i, sized(host, register));
            }
        }
        if let Some(operand) = memory {
            let size = insn.memory_size().size() as u32;
            if !matches!(size, 1 | 2 | 4 | 8 | 16) || insn.memory_size() == MemorySize::Unknown {
                return Err(Unsupported);
            }
            let loose = matches!(
                insn.mnemonic(),
                Mnemonic::Movdqu
                    | Mnemonic::Movups
                    | Mnemonic::Movupd
                    | Mnemonic::Lddqu
                    | Mnemonic::Pcmpistri
            );
            let aligned = size == 16 && !loose;
            let offset = self.locate(insn, Need { write: operand == 0, size, aligned })?;
            replace_memory(&mut out, RAX, offset);
        }
        self.encode(&out)?;
        let writes = insn.rflags_modified() & ARITHMETIC != 0;
        if writes {
            self.set_host_flags(None);
        }
        let back = Back::Resume { at: self.e.here(), flags: writes };
        self.end_slow(self.vectors, back, writes);
        if insn.op_kind(0) == OpKind::Register && insn.op_register(0).is_xmm() {
            let number = insn.op_register(0).number() & 15;
            self.vectors.dirty |= 1 << number;
        }
        Ok(())
    }
}
