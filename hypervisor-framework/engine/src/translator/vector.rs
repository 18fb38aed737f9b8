//! XMM registers within a block: loaded at their first use, written back before anyone else may look.

use super::context::field;
use super::emitter::host::RBP;
use super::emitter::{At, condition, opcode};
use super::stubs::{context, state};
use super::unit::Builder;

/// Which XMM registers the host has; bits by number.
#[derive(Clone, Copy, Default)]
pub(super) struct Vectors {
    pub(super) loaded: u16,
    pub(super) dirty: u16,
    /// SSE instructions were seen to be allowed.
    pub(super) allowed: bool,
    /// Upper halves: which the host has, and which of them changed.
    pub(super) wide: u16,
    pub(super) wide_dirty: u16,
    /// AVX instructions were seen to be allowed.
    pub(super) avx_allowed: bool,
    /// The host has the guest's MXCSR.
    pub(super) float: bool,
}

fn place(number: u32) -> At {
    At::Base(RBP, state::XMM + 16 * number as i32)
}

impl Builder<'_> {
    /// Makes sure the host has these registers, and that SSE instructions are allowed (CR0.TS, CR0.EM, CR4.OSFXSR).
    pub(super) fn use_vectors(&mut self, registers: u16) {
        if !self.vectors.allowed {
            self.clobber_flags();
            self.e.load(RBP, context(field::CPU));
            // test byte [fpu_blocked], 2
            self.e.memory_with(false, &[0xf6], 0, At::Base(RBP, state::FPU_BLOCKED), 1);
            self.e.byte(2);
            let blocked = self.e.branch_if(condition::NOT_EQUAL);
            self.branches.push(blocked);
            self.vectors.allowed = true;
        }
        let missing = registers & !self.vectors.loaded;
        if missing != 0 {
            self.load_vectors(missing);
            self.vectors.loaded |= missing;
        }
    }

    fn load_vectors(&mut self, registers: u16) {
        if registers == 0 {
            return;
        }
        self.e.load(RBP, context(field::CPU));
        for number in (0..16).filter(|number| registers >> number & 1 != 0) {
            self.e.memory(false, opcode::MOVUPS_LOAD, number as u8, place(number));
        }
    }

    /// Loads again what the interpreter may have changed.
    pub(super) fn reload_vectors(&mut self, vectors: Vectors) {
        self.load_vectors(vectors.loaded);
        self.load_upper(vectors.wide);
        if vectors.float {
            self.e.load(RBP, context(field::CPU));
            self.load_mxcsr();
        }
    }

    /// Writes changed registers to the CPU's state; flags stay, RBP is lost.
    pub(super) fn write_back_vectors(&mut self) {
        let dirty = std::mem::take(&mut self.vectors.dirty);
        if dirty == 0 && self.vectors.wide == 0 && !self.vectors.float {
            return;
        }
        self.e.load(RBP, context(field::CPU));
        for number in (0..16).filter(|number| dirty >> number & 1 != 0) {
            self.e.memory(false, opcode::MOVUPS_STORE, number as u8, place(number));
        }
        self.write_back_upper();
        self.write_back_mxcsr();
    }
}
