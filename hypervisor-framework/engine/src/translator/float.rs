//! Floating point under the guest's MXCSR, while that is the host's but for the flags: all exceptions masked, rounding to
//! nearest, denormals as they are.
//!
//! A block loads the guest's MXCSR at its first such instruction and stores it, with the flags raised since, where it
//! writes vectors back. Nobody else minds the flags. In another mode the rest of the block is the interpreter's.

use iced_x86::{CpuidFeature, Instruction, Mnemonic};

use super::context::field;
use super::emitter::host::{RAX, RBP};
use super::emitter::{At, condition, group, opcode};
use super::slow::Back;
use super::stubs::{context, state};
use super::unit::Builder;
use crate::instructions::vex::names::legacy;

/// MXCSR without its flags, after reset.
const MODE: i32 = 0x1f80;
const FLAGS: i32 = 0x3f;
const LDMXCSR: (&[u8], u8) = (&[0x0f, 0xae], 2);
const STMXCSR: (&[u8], u8) = (&[0x0f, 0xae], 3);

/// VEX-encoded instructions whose outcome depends on operands and MXCSR alone. Estimates are each processor's own.
pub(super) fn is_float(insn: &Instruction) -> bool {
    use Mnemonic as M;
    let mnemonic = insn.mnemonic();
    let estimate = matches!(mnemonic, M::Vrcpps | M::Vrcpss | M::Vrsqrtps | M::Vrsqrtss);
    let arithmetic = legacy(mnemonic).is_some_and(super::simd::is_arithmetic);
    let other = matches!(
        mnemonic,
        M::Vcmpps
            | M::Vcmppd
            | M::Vcmpss
            | M::Vcmpsd
            | M::Vdpps
            | M::Vucomiss
            | M::Vucomisd
            | M::Vcomiss
            | M::Vcomisd
            | M::Vcvtsi2ss
            | M::Vcvtsi2sd
            | M::Vcvtss2si
            | M::Vcvtsd2si
            | M::Vcvttss2si
            | M::Vcvttsd2si
            | M::Vcvtph2ps
            | M::Vcvtps2ph
    );
    !estimate && (arithmetic || other || is_fused(insn))
}

/// FMA: the destination is a source as well.
pub(super) fn is_fused(insn: &Instruction) -> bool {
    insn.cpuid_features() == [CpuidFeature::FMA]
}

impl Builder<'_> {
    /// Makes sure that the host computes in the guest's mode and collects its flags.
    pub(super) fn use_float(&mut self) {
        if self.vectors.float {
            return;
        }
        self.clobber_flags();
        self.e.load(RBP, context(field::CPU));
        self.e.memory(false, opcode::LOAD, RAX, At::Base(RBP, state::MXCSR));
        self.e.immediate(false, group::AND, RAX, !FLAGS);
        self.e.immediate(false, group::CMP, RAX, MODE);
        let branch = self.e.branch_if(condition::NOT_EQUAL);
        self.leave_to_interpreter(branch);
        self.load_mxcsr();
        self.vectors.float = true;
    }

    /// The interpreter executes the current instruction and all behind it if `branch` is taken.
    fn leave_to_interpreter(&mut self, branch: usize) {
        let ops = self.ops;
        let branches = std::mem::replace(&mut self.branches, vec![branch]);
        self.ops = (ops.0, self.part_ops() - ops.0);
        self.end_slow(self.vectors, Back::End, true);
        (self.ops, self.branches) = (ops, branches);
    }

    /// Loads MXCSR again; the CPU's address is in RBP.
    pub(super) fn load_mxcsr(&mut self) {
        self.e.memory(false, LDMXCSR.0, LDMXCSR.1, At::Base(RBP, state::MXCSR));
    }

    /// Stores MXCSR with the flags raised; the CPU's address is in RBP.
    pub(super) fn write_back_mxcsr(&mut self) {
        if std::mem::take(&mut self.vectors.float) {
            self.e.memory(false, STMXCSR.0, STMXCSR.1, At::Base(RBP, state::MXCSR));
        }
    }
}
