//! VEX-encoded instructions, where guest and host have them: they stay what they are, on YMM registers of the same number.
//!
//! The lower halves of registers are `vector`'s. An upper half is loaded at its first use, and written back with the lower
//! one; behind that the host's are cleared, so that neither the interpreter nor SSE code of the guest pays for them.

use iced_x86::{CpuidFeature, Instruction, MemorySize, Mnemonic, OpKind};

use super::context::field;
use super::emitter::host::{RAX, RBP};
use super::emitter::{At, Emitter, condition};
use super::float::{is_float, is_fused};
use super::memory::Need;
use super::native::{memory_operand, replace_memory};
use super::registers::{Home, home, sized};
use super::slow::Back;
use super::stubs::{context, state};
use super::unit::{ARITHMETIC, Builder, Emitted, Unsupported};
use crate::Level;
use crate::instructions::vex::names::legacy;
use crate::instructions::vex::{AVX_BLOCKED, is_vex};

/// What the host must have.
fn host_has(insn: &Instruction) -> bool {
    insn.cpuid_features().iter().all(|feature| match feature {
        CpuidFeature::AVX => std::arch::is_x86_feature_detected!("avx"),
        CpuidFeature::AVX2 => std::arch::is_x86_feature_detected!("avx2"),
        CpuidFeature::FMA => std::arch::is_x86_feature_detected!("fma"),
        CpuidFeature::F16C => std::arch::is_x86_feature_detected!("f16c"),
        _ => false,
    })
}

/// Instructions whose outcome depends on operands only: no MXCSR, no exceptions but those of memory.
fn is_exact(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    match legacy(mnemonic) {
        Some(legacy) => !super::simd::is_arithmetic(legacy),
        None => matches!(
            mnemonic,
            M::Vmovdqa
                | M::Vmovdqu
                | M::Vmovaps
                | M::Vmovups
                | M::Vmovapd
                | M::Vmovupd
                | M::Vlddqu
                | M::Vmovntdq
                | M::Vmovntps
                | M::Vmovntpd
                | M::Vmovd
                | M::Vpextrb
                | M::Vpextrw
                | M::Vpextrd
                | M::Vpextrq
                | M::Vpinsrb
                | M::Vpinsrw
                | M::Vpinsrd
                | M::Vpinsrq
                | M::Vpmovmskb
                | M::Vmovmskps
                | M::Vmovmskpd
                | M::Vptest
                | M::Vtestps
                | M::Vtestpd
                | M::Vpermq
                | M::Vpermpd
                | M::Vpermd
                | M::Vpermps
                | M::Vperm2f128
                | M::Vperm2i128
                | M::Vinsertf128
                | M::Vinserti128
                | M::Vextractf128
                | M::Vextracti128
                | M::Vbroadcastss
                | M::Vbroadcastsd
                | M::Vbroadcastf128
                | M::Vbroadcasti128
                | M::Vpbroadcastb
                | M::Vpbroadcastw
                | M::Vpbroadcastd
                | M::Vpbroadcastq
                | M::Vpsllvd
                | M::Vpsllvq
                | M::Vpsrlvd
                | M::Vpsrlvq
                | M::Vpsravd
                | M::Vpblendd
                | M::Vpermilps
                | M::Vpermilpd
                // Its index goes to ECX, which is the host's own.
                | M::Vpcmpistri
        ),
    }
}

/// Is operand 0 a source alone?
fn only_reads(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Vptest
            | M::Vtestps
            | M::Vtestpd
            | M::Vpcmpistri
            | M::Vucomiss
            | M::Vucomisd
            | M::Vcomiss
            | M::Vcomisd
    )
}

/// Must the memory operand be aligned?
fn is_aligned(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Vmovdqa | M::Vmovaps | M::Vmovapd | M::Vmovntdq | M::Vmovntps | M::Vmovntpd | M::Vmovntdqa
    )
}

/// The opcode of a VEX-encoded instruction, and what its prefix says beside registers.
struct Opcode {
    /// 1 for 0F, 3 for 0F 3A.
    map: u8,
    /// W, L and pp in place.
    rest: u8,
    opcode: u8,
}

const LOAD: Opcode = Opcode { map: 1, rest: 0, opcode: 0x10 };
const STORE_WIDE: Opcode = Opcode { map: 1, rest: 4, opcode: 0x11 };
const XOR: Opcode = Opcode { map: 1, rest: 0, opcode: 0x57 };
const INSERT_UPPER: Opcode = Opcode { map: 3, rest: 5, opcode: 0x18 };
const EXTRACT_UPPER: Opcode = Opcode { map: 3, rest: 5, opcode: 0x19 };
const ZERO_UPPER: [u8; 3] = [0xc5, 0xf8, 0x77];

/// The prefix and the opcode, `second` being the register that VEX names, if any.
fn emit_vex(e: &mut Emitter, opcode: &Opcode, register: u8, second: Option<u8>, rm: u8) {
    let rxb = !(register >> 3 << 2 | rm >> 3) & 7;
    let vvvv = !second.unwrap_or(0) & 15;
    e.raw(&[0xc4, rxb << 5 | opcode.map, vvvv << 3 | opcode.rest, opcode.opcode]);
}

/// `op register, [second,] [CPU + offset]`, the CPU's address in RBP.
fn emit_with_cpu(e: &mut Emitter, opcode: &Opcode, register: u8, second: Option<u8>, offset: i32) {
    emit_vex(e, opcode, register, second, RBP);
    e.byte(0x80 | (register & 7) << 3 | RBP);
    e.imm32(offset);
}

fn lower(number: u8) -> i32 {
    state::XMM + 16 * i32::from(number)
}

fn upper(number: u8) -> i32 {
    state::YMM_UPPER + 16 * i32::from(number)
}

fn numbers(registers: u16) -> impl Iterator<Item = u8> {
    (0..16).filter(move |number| registers >> number & 1 != 0)
}

impl Builder<'_> {
    /// Emits a VEX-encoded instruction.
    pub(super) fn avx(&mut self, insn: &Instruction) -> Emitted {
        if self.source.level < Level::V3 || !is_vex(insn) {
            return Err(Unsupported);
        }
        if insn.mnemonic() == Mnemonic::Vzeroupper && std::arch::is_x86_feature_detected!("avx") {
            return self.zero_upper();
        }
        let float = is_float(insn);
        if !(float || is_exact(insn.mnemonic())) || !host_has(insn) || insn.op_count() < 2 {
            return Err(Unsupported);
        }
        let mut out = *insn;
        // Registers whose lower halves are read, those whose upper ones are, and the one that is written.
        let (mut low, mut wide, mut written) = (0_u16, 0_u16, 0_u16);
        for i in (0..insn.op_count()).filter(|i| insn.op_kind(*i) == OpKind::Register) {
            let register = insn.op_register(i);
            let bit = 1_u16 << (register.number() & 15);
            if register.is_gpr() {
                let Some(Home::Host(host)) = home(register) else { return Err(Unsupported) };
                out.set_op_register(i, sized(host, register));
            } else if i == 0 && !only_reads(insn.mnemonic()) && !is_fused(insn) {
                written = bit;
            } else if register.is_ymm() {
                wide |= bit;
            } else if register.is_xmm() {
                low |= bit;
            } else {
                return Err(Unsupported);
            }
        }
        if is_fused(insn) {
            written = 1 << (insn.op0_register().number() & 15);
        }
        let memory = memory_operand(insn);
        let size = insn.memory_size().size() as u32;
        if memory.is_some()
            && (!matches!(size, 1 | 2 | 4 | 8 | 16 | 32) || insn.memory_size() == MemorySize::Unknown)
        {
            return Err(Unsupported);
        }
        if float {
            self.use_float();
        }
        self.use_wide(low | wide, wide);
        // It need not be loaded, but comes back from the slow path.
        let vectors = &mut self.vectors;
        vectors.loaded |= written;
        vectors.wide |= written;
        if let Some(operand) = memory {
            let aligned = size > 1 && is_aligned(insn.mnemonic());
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
        self.vectors.dirty |= written;
        self.vectors.wide_dirty |= written;
        Ok(())
    }

    /// Makes sure that the host has these registers, and the upper halves of those, and that AVX instructions are allowed.
    fn use_wide(&mut self, registers: u16, wide: u16) {
        if !self.vectors.avx_allowed {
            self.clobber_flags();
            self.e.load(RBP, context(field::CPU));
            self.e.memory_with(false, &[0xf6], 0, At::Base(RBP, state::FPU_BLOCKED), 1);
            self.e.byte(AVX_BLOCKED);
            let blocked = self.e.branch_if(condition::NOT_EQUAL);
            self.branches.push(blocked);
            self.vectors.avx_allowed = true;
        }
        let low = registers & !self.vectors.loaded;
        let high = wide & !self.vectors.wide;
        if low | high != 0 {
            self.e.load(RBP, context(field::CPU));
        }
        for number in numbers(low) {
            emit_with_cpu(&mut self.e, &LOAD, number, None, lower(number));
        }
        self.load_upper(high);
        self.vectors.loaded |= low;
        self.vectors.wide |= high;
    }

    /// The CPU's address is in RBP.
    pub(super) fn load_upper(&mut self, registers: u16) {
        for number in numbers(registers) {
            emit_with_cpu(&mut self.e, &INSERT_UPPER, number, Some(number), upper(number));
            self.e.byte(1);
        }
    }

    /// Writes changed upper halves to the CPU's state, which RBP points to, and clears the host's.
    pub(super) fn write_back_upper(&mut self) {
        for number in numbers(std::mem::take(&mut self.vectors.wide_dirty)) {
            emit_with_cpu(&mut self.e, &EXTRACT_UPPER, number, None, upper(number));
            self.e.byte(1);
        }
        if std::mem::take(&mut self.vectors.wide) != 0 {
            self.e.raw(&ZERO_UPPER);
        }
    }

    /// VZEROUPPER, in the CPU's state as well.
    fn zero_upper(&mut self) -> Emitted {
        let free = numbers(!self.vectors.loaded).next().ok_or(Unsupported)?;
        self.use_wide(0, 0);
        self.e.load(RBP, context(field::CPU));
        emit_vex(&mut self.e, &XOR, free, Some(free), free);
        self.e.byte(0xc0 | (free & 7) << 3 | free & 7);
        for pair in 0..8 {
            emit_with_cpu(&mut self.e, &STORE_WIDE, free, None, upper(2 * pair));
        }
        self.e.raw(&ZERO_UPPER);
        let back = Back::Resume { at: self.e.here(), flags: false };
        self.end_slow(self.vectors, back, false);
        (self.vectors.wide, self.vectors.wide_dirty) = (0, 0);
        Ok(())
    }
}
