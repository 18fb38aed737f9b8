//! Operands that hit the window: registers, displacements and immediates are chosen so that each access ends where it
//! should, without giving up random addressing forms.

mod implicit;
mod memory;

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use crate::case::writes;
use crate::encode::Encoded;
use crate::random::Random;
use crate::state::{CODE, GS_BASE, LANDING, Mode, RDI, RSI, RSP, State, WINDOW, WINDOW_SIZE, WRITABLE};
use crate::values;

/// Landings before and behind the code, for branches.
const NEAR: u64 = LANDING;
const FAR: u64 = 0x300;

type Patches = Vec<(usize, Vec<u8>)>;

/// Places the operands of a case's instructions.
pub(crate) struct Placer<'r> {
    mode: Mode,
    pub(crate) random: &'r mut Random,
    alone: bool,
    start: u64,
    /// Registers whose values matter, a bit each.
    fixed: u16,
    /// Registers that earlier instructions have changed.
    clobbered: u16,
}

/// What to go back to when a placement fails.
pub(crate) struct Mark {
    gpr: [u64; 16],
    fixed: u16,
    patches: usize,
}

impl<'r> Placer<'r> {
    pub(crate) fn new(mode: Mode, random: &'r mut Random, alone: bool, start: u64) -> Self {
        Self { mode, random, alone, start, fixed: 0, clobbered: 0 }
    }

    pub(crate) fn landings(&self) -> Vec<u64> {
        vec![self.start - NEAR, self.start - FAR, self.start + FAR]
    }

    pub(crate) fn mark(&self, state: &State, patches: &Patches) -> Mark {
        Mark { gpr: state.gpr, fixed: self.fixed, patches: patches.len() }
    }

    pub(crate) fn forget(&mut self, mark: Mark, state: &mut State, patches: &mut Patches) {
        state.gpr = mark.gpr;
        self.fixed = mark.fixed;
        patches.truncate(mark.patches);
    }

    /// Places all operands of an instruction; `None` where that is not possible.
    pub(crate) fn place(
        &mut self,
        encoded: &mut Encoded,
        state: &mut State,
        patches: &mut Patches,
    ) -> Option<()> {
        self.immediate(encoded);
        self.branch(encoded, state, patches)?;
        self.implicit(encoded, state, patches)?;
        let insn = encoded.insn;
        let explicit = (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory);
        if explicit && insn.mnemonic() != Mnemonic::Xlatb {
            self.memory(encoded, state, patches)?;
        }
        Some(())
    }

    /// Notes what an instruction changes.
    pub(crate) fn executed(&mut self, factory: &mut InstructionInfoFactory, insn: &Instruction) {
        for used in factory.info(insn).used_registers() {
            if !writes(used.access()) {
                continue;
            }
            let Some(number) = number(used.register()) else { continue };
            // Pointers that instructions move by a little still point into the window.
            let moves_stack = insn.is_stack_instruction()
                && !(insn.op_count() > 0
                    && insn.op_kind(0) == OpKind::Register
                    && insn.op0_register().full_register() == Register::RSP)
                && !matches!(insn.mnemonic(), Mnemonic::Leave | Mnemonic::Enter);
            let moved = match number {
                RSP => moves_stack,
                RSI | RDI => {
                    insn.is_string_instruction() && !insn.has_rep_prefix() && !insn.has_repne_prefix()
                }
                _ => false,
            };
            if !moved {
                self.clobbered |= 1 << number;
            }
        }
    }

    /// Edges as immediates, half of the time.
    fn immediate(&mut self, encoded: &mut Encoded) {
        let offsets = encoded.offsets;
        if encoded.insn.flow_control() != FlowControl::Next
            || !offsets.has_immediate()
            || self.random.one_in(2)
        {
            return;
        }
        let value = values::integer(self.random).to_le_bytes();
        put(encoded, offsets.immediate_offset(), &value[..offsets.immediate_size().min(8)]);
    }

    fn free(&self, register: usize) -> bool {
        (self.fixed | self.clobbered) & 1 << register == 0
    }

    fn fix(&mut self, state: &mut State, register: usize, value: u64) -> Option<()> {
        if !self.free(register) {
            return None;
        }
        state.gpr[register] = value;
        self.fixed |= 1 << register;
        Some(())
    }

    /// A register that addresses the window by itself.
    fn point(&mut self, state: &mut State, register: usize, target: u64, address32: bool) -> Option<u64> {
        let mask = if address32 { u64::from(u32::MAX) } else { u64::MAX };
        if self.clobbered & 1 << register != 0 {
            return None;
        }
        if self.fixed & 1 << register != 0 {
            let value = state.gpr[register] & mask;
            return (WINDOW..WINDOW + WRITABLE as u64).contains(&value).then_some(value);
        }
        let high = if address32 { values::integer(self.random) << 32 } else { 0 };
        self.fix(state, register, target & mask | high)?;
        Some(target)
    }

    /// Where an access of `size` bytes goes.
    fn target(&mut self, size: u64) -> u64 {
        let rarely = if self.alone { 24 } else { 160 };
        let page = 0x1000;
        match self.random.below(rarely) {
            0 => WINDOW + page - self.random.below(size + 1),
            1 => WINDOW + WRITABLE as u64 - self.random.below(2 * size + 2),
            2 => WINDOW + WINDOW_SIZE as u64 - self.random.below(size + 8),
            3 => WINDOW - self.random.below(size + 1),
            4 => WINDOW + WRITABLE as u64 + self.random.below(page - size.min(page)),
            5 => CODE + 0x40 + self.random.below(64),
            6 if self.mode == Mode::Long => {
                (0x8001_u64 << 32).wrapping_add(values::integer(self.random) & 0x3fff_ffff_ffff)
            }
            _ => {
                let at = self.inner_target();
                if self.random.one_in(6) { at } else { at & !15 }
            }
        }
    }

    /// Where no access faults.
    fn inner_target(&mut self) -> u64 {
        WINDOW + 0x100 + self.random.below(WRITABLE as u64 - 0x200)
    }

    fn stack_target(&mut self) -> u64 {
        if self.random.one_in(if self.alone { 8 } else { 64 }) {
            self.target(8)
        } else {
            (WINDOW + 0x800 + self.random.below(0x1000)) & !7
        }
    }

    fn patch(&mut self, patches: &mut Patches, at: u64, bytes: &[u8]) {
        let offset = at.wrapping_sub(WINDOW);
        if offset < WRITABLE as u64 && offset + bytes.len() as u64 <= WRITABLE as u64 {
            patches.push((offset as usize, bytes.to_vec()));
        }
    }

    /// An address to branch to: mostly a landing, else one that faults.
    fn destination(&mut self) -> u64 {
        let landings = self.landings();
        match self.random.below(12) {
            0 if self.mode == Mode::Long => (0x8001_u64 << 32) + self.random.below(1 << 40),
            1 => WINDOW + self.random.below(WRITABLE as u64),
            2 => WINDOW - 0x100,
            _ => self.random.pick(&landings),
        }
    }
}

fn segment(insn: &Instruction) -> u64 {
    if insn.memory_segment() == Register::GS { GS_BASE } else { 0 }
}

fn put(encoded: &mut Encoded, at: usize, bytes: &[u8]) {
    if let Some(place) = encoded.bytes.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
        encoded.refresh();
    }
}

/// A general register's ModRM number.
pub(crate) fn number(register: Register) -> Option<usize> {
    register.is_gpr().then(|| register.full_register().number())
}
