//! Which of SSE's operations a VEX-encoded instruction is.

use iced_x86::{Mnemonic, OpKind};

use super::steps::{Shape, push};
use crate::block::Translator;
use crate::instructions::sse::operand::Forms;
use crate::instructions::sse::{arithmetic, bits, blend, extend, float, moves, pack, shift, shuffle};

macro_rules! names {
    ($($vex:ident $legacy:ident),*) => {
        /// The name without the V.
        pub(crate) fn legacy(mnemonic: Mnemonic) -> Option<Mnemonic> {
            Some(match mnemonic {
                $(Mnemonic::$vex => Mnemonic::$legacy,)*
                _ => return None,
            })
        }
    };
}

names! {
    Vaddpd Addpd, Vaddps Addps, Vaddsd Addsd, Vaddss Addss, Vaddsubpd Addsubpd, Vaddsubps Addsubps,
    Vandnpd Andnpd, Vandnps Andnps, Vandpd Andpd, Vandps Andps, Vblendpd Blendpd, Vblendps Blendps,
    Vblendvpd Blendvpd, Vblendvps Blendvps, Vcvtdq2pd Cvtdq2pd, Vcvtdq2ps Cvtdq2ps, Vcvtpd2dq Cvtpd2dq,
    Vcvtpd2ps Cvtpd2ps, Vcvtps2dq Cvtps2dq, Vcvtps2pd Cvtps2pd, Vcvtsd2ss Cvtsd2ss, Vcvtss2sd Cvtss2sd,
    Vcvttpd2dq Cvttpd2dq, Vcvttps2dq Cvttps2dq, Vdivpd Divpd, Vdivps Divps, Vdivsd Divsd, Vdivss Divss,
    Vdppd Dppd, Vhaddpd Haddpd, Vhaddps Haddps, Vhsubpd Hsubpd, Vhsubps Hsubps, Vinsertps Insertps,
    Vmaxpd Maxpd, Vmaxps Maxps, Vmaxsd Maxsd, Vmaxss Maxss, Vminpd Minpd, Vminps Minps, Vminsd Minsd,
    Vminss Minss, Vmovddup Movddup, Vmovhlps Movhlps, Vmovhpd Movhpd, Vmovhps Movhps, Vmovlhps Movlhps,
    Vmovlpd Movlpd, Vmovlps Movlps, Vmovq Movq, Vmovsd Movsd, Vmovshdup Movshdup, Vmovsldup Movsldup,
    Vmovss Movss, Vmpsadbw Mpsadbw, Vmulpd Mulpd, Vmulps Mulps, Vmulsd Mulsd, Vmulss Mulss, Vorpd Orpd,
    Vorps Orps, Vpabsb Pabsb, Vpabsd Pabsd, Vpabsw Pabsw, Vpackssdw Packssdw, Vpacksswb Packsswb,
    Vpackusdw Packusdw, Vpackuswb Packuswb, Vpaddb Paddb, Vpaddd Paddd, Vpaddq Paddq, Vpaddsb Paddsb,
    Vpaddsw Paddsw, Vpaddusb Paddusb, Vpaddusw Paddusw, Vpaddw Paddw, Vpalignr Palignr, Vpand Pand,
    Vpandn Pandn, Vpavgb Pavgb, Vpavgw Pavgw, Vpblendvb Pblendvb, Vpblendw Pblendw, Vpcmpeqb Pcmpeqb,
    Vpcmpeqd Pcmpeqd, Vpcmpeqq Pcmpeqq, Vpcmpeqw Pcmpeqw, Vpcmpgtb Pcmpgtb, Vpcmpgtd Pcmpgtd, Vpcmpgtq Pcmpgtq,
    Vpcmpgtw Pcmpgtw, Vphaddd Phaddd, Vphaddsw Phaddsw, Vphaddw Phaddw, Vphminposuw Phminposuw, Vphsubd Phsubd,
    Vphsubsw Phsubsw, Vphsubw Phsubw, Vpmaddubsw Pmaddubsw, Vpmaddwd Pmaddwd, Vpmaxsb Pmaxsb, Vpmaxsd Pmaxsd,
    Vpmaxsw Pmaxsw, Vpmaxub Pmaxub, Vpmaxud Pmaxud, Vpmaxuw Pmaxuw, Vpminsb Pminsb, Vpminsd Pminsd,
    Vpminsw Pminsw, Vpminub Pminub, Vpminud Pminud, Vpminuw Pminuw, Vpmovsxbd Pmovsxbd, Vpmovsxbq Pmovsxbq,
    Vpmovsxbw Pmovsxbw, Vpmovsxdq Pmovsxdq, Vpmovsxwd Pmovsxwd, Vpmovsxwq Pmovsxwq, Vpmovzxbd Pmovzxbd,
    Vpmovzxbq Pmovzxbq, Vpmovzxbw Pmovzxbw, Vpmovzxdq Pmovzxdq, Vpmovzxwd Pmovzxwd, Vpmovzxwq Pmovzxwq,
    Vpmuldq Pmuldq, Vpmulhrsw Pmulhrsw, Vpmulhuw Pmulhuw, Vpmulhw Pmulhw, Vpmulld Pmulld, Vpmullw Pmullw,
    Vpmuludq Pmuludq, Vpor Por, Vpsadbw Psadbw, Vpshufb Pshufb, Vpshufd Pshufd, Vpshufhw Pshufhw,
    Vpshuflw Pshuflw, Vpsignb Psignb, Vpsignd Psignd, Vpsignw Psignw, Vpslld Pslld, Vpslldq Pslldq,
    Vpsllq Psllq, Vpsllw Psllw, Vpsrad Psrad, Vpsraw Psraw, Vpsrld Psrld, Vpsrldq Psrldq, Vpsrlq Psrlq,
    Vpsrlw Psrlw, Vpsubb Psubb, Vpsubd Psubd, Vpsubq Psubq, Vpsubsb Psubsb, Vpsubsw Psubsw, Vpsubusb Psubusb,
    Vpsubusw Psubusw, Vpsubw Psubw, Vpunpckhbw Punpckhbw, Vpunpckhdq Punpckhdq, Vpunpckhqdq Punpckhqdq,
    Vpunpckhwd Punpckhwd, Vpunpcklbw Punpcklbw, Vpunpckldq Punpckldq, Vpunpcklqdq Punpcklqdq,
    Vpunpcklwd Punpcklwd, Vpxor Pxor, Vrcpps Rcpps, Vrcpss Rcpss, Vroundpd Roundpd, Vroundps Roundps,
    Vroundsd Roundsd, Vroundss Roundss, Vrsqrtps Rsqrtps, Vrsqrtss Rsqrtss, Vshufpd Shufpd, Vshufps Shufps,
    Vsqrtpd Sqrtpd, Vsqrtps Sqrtps, Vsqrtsd Sqrtsd, Vsqrtss Sqrtss, Vsubpd Subpd, Vsubps Subps, Vsubsd Subsd,
    Vsubss Subss, Vunpckhpd Unpckhpd, Vunpckhps Unpckhps, Vunpcklpd Unpcklpd, Vunpcklps Unpcklps, Vxorpd Xorpd,
    Vxorps Xorps
}

/// Where lanes are not simply lane by lane.
fn shape(legacy: Mnemonic, immediate: bool) -> Shape {
    use Mnemonic as M;
    match legacy {
        M::Blendps => Shape::Lanes(4),
        M::Mpsadbw => Shape::Lanes(3),
        M::Blendpd | M::Shufpd => Shape::Lanes(2),
        // All lanes are shifted by the count in the low one.
        M::Psllw | M::Pslld | M::Psllq | M::Psrlw | M::Psrld | M::Psrlq | M::Psraw | M::Psrad
            if !immediate =>
        {
            Shape::Spread(0)
        }
        M::Pmovsxbw
        | M::Pmovsxwd
        | M::Pmovsxdq
        | M::Pmovzxbw
        | M::Pmovzxwd
        | M::Pmovzxdq
        | M::Cvtps2pd
        | M::Cvtdq2pd => Shape::Spread(64),
        M::Pmovsxbd | M::Pmovsxwq | M::Pmovzxbd | M::Pmovzxwq => Shape::Spread(32),
        M::Pmovsxbq | M::Pmovzxbq => Shape::Spread(16),
        M::Cvtpd2ps | M::Cvtpd2dq | M::Cvttpd2dq => Shape::Join,
        _ => Shape::Lanes(0),
    }
}

fn operation(legacy: Mnemonic, immediate: bool) -> Option<Forms> {
    moves::named(legacy)
        .or_else(|| bits::forms(legacy))
        .or_else(|| arithmetic::forms(legacy))
        .or_else(|| pack::forms(legacy))
        .or_else(|| shuffle::forms(legacy))
        .or_else(|| blend::forms(legacy))
        .or_else(|| extend::forms(legacy))
        .or_else(|| float::forms(legacy))
        .or_else(|| shift::forms(legacy, immediate))
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let Some(legacy) = legacy(t.insn.mnemonic()) else { return false };
    // What is stored, or comes from a general register, is not made of lanes.
    let destination = t.insn.op0_register();
    let source = t.insn.op1_register();
    if t.insn.op0_kind() != OpKind::Register || !destination.is_vector_register() || source.is_gpr() {
        return false;
    }
    let immediate = t.insn.op_kind(2) == OpKind::Immediate8;
    let Some(forms) = operation(legacy, immediate) else { return false };
    push(t, forms.lanes, shape(legacy, immediate));
    true
}
