//! Operands that the encoding does not show, and targets of branches.

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::{Patches, Placer, number, put, segment};
use crate::encode::Encoded;
use crate::state::{CODE, Mode, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, State, WINDOW, WRITABLE, flag};
use crate::values;

impl Placer<'_> {
    pub(super) fn branch(
        &mut self,
        encoded: &mut Encoded,
        state: &mut State,
        patches: &mut Patches,
    ) -> Option<()> {
        let insn = encoded.insn;
        match insn.flow_control() {
            FlowControl::IndirectBranch | FlowControl::IndirectCall if self.alone => {
                let destination = self.destination();
                if insn.op0_kind() == OpKind::Register {
                    self.fix(state, number(insn.op0_register())?, destination)?;
                }
                Some(())
            }
            FlowControl::Return if self.alone => Some(()),
            FlowControl::IndirectBranch | FlowControl::IndirectCall | FlowControl::Return => None,
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch | FlowControl::Call
                if matches!(insn.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32) =>
            {
                let short = encoded.offsets.immediate_size() == 1;
                let landings = self.landings();
                let target = if short { landings[0] } else { self.random.pick(&landings) };
                let distance = target.wrapping_sub(insn.next_ip()) as i64;
                if short {
                    let distance = i8::try_from(distance).ok()?;
                    put(encoded, encoded.offsets.immediate_offset(), &distance.to_le_bytes());
                } else {
                    let distance = distance as i32;
                    put(encoded, encoded.offsets.immediate_offset(), &distance.to_le_bytes());
                }
                let counts = insn.is_loop() || insn.is_loopcc() || insn.is_jcx_short();
                if counts && self.free(RCX) {
                    let high = if self.random.one_in(2) { 0 } else { self.random.next() << 32 };
                    state.gpr[RCX] = self.random.below(3) | high;
                }
                let _ = patches;
                Some(())
            }
            FlowControl::Next | FlowControl::Exception | FlowControl::Interrupt => Some(()),
            _ => None,
        }
    }

    /// Operands that the encoding does not show.
    pub(super) fn implicit(
        &mut self,
        encoded: &mut Encoded,
        state: &mut State,
        patches: &mut Patches,
    ) -> Option<()> {
        let insn = encoded.insn;
        self.strings(&insn, state, patches)?;
        if insn.is_stack_instruction() {
            self.stack(encoded, state, patches)?;
        }
        match insn.mnemonic() {
            Mnemonic::Xlatb => {
                let base = self.target(256).wrapping_sub(segment(&insn));
                let address32 = insn.memory_base() == Register::EBX;
                self.point(state, RBX, base, address32)?;
            }
            Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
                if insn.op0_kind() == OpKind::Memory && insn.op1_kind() == OpKind::Register =>
            {
                let far = if self.random.one_in(8) { 0x1000 } else { 400 };
                let offset = self.random.within(-far, far) as u64;
                let high = match insn.op1_register().size() {
                    2 => self.random.next() << 16,
                    4 => self.random.next() << 32,
                    _ => 0,
                };
                let mask = u64::MAX >> (64 - 8 * insn.op1_register().size());
                self.fix(state, number(insn.op1_register())?, offset & mask | high)?;
            }
            Mnemonic::Div | Mnemonic::Idiv if self.random.one_in(2) => {
                if self.free(RDX) {
                    state.gpr[RDX] = self.random.pick(&[0, 0, 1, u64::MAX]);
                }
                if self.free(RAX) && insn.op0_kind() == OpKind::Register && insn.op0_register().size() == 1 {
                    state.gpr[RAX] = self.random.below(0x400);
                }
            }
            _ => {}
        }
        Some(())
    }

    fn strings(&mut self, insn: &Instruction, state: &mut State, patches: &mut Patches) -> Option<()> {
        let masked =
            matches!(insn.mnemonic(), Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu);
        if masked
            && (insn.op0_kind() == OpKind::MemorySegDI
                || insn.has_segment_prefix() && self.mode != Mode::Long)
        {
            // Would fault, or not, as the mask has it.
            return None;
        }
        for i in 0..insn.op_count() {
            let (register, address32, base) = match insn.op_kind(i) {
                OpKind::MemorySegRSI => (RSI, false, segment(insn)),
                OpKind::MemorySegESI => (RSI, true, segment(insn)),
                OpKind::MemorySegRDI => (RDI, false, segment(insn)),
                OpKind::MemorySegEDI => (RDI, true, segment(insn)),
                OpKind::MemoryESRDI => (RDI, false, 0),
                OpKind::MemoryESEDI => (RDI, true, 0),
                _ => continue,
            };
            let target = self.target(64);
            // The host's code pages hold other bytes behind the code.
            let coded = target.wrapping_sub(CODE) < 0x2000;
            let target = if masked || coded { self.inner_target() } else { target };
            if (base != 0 || masked) && !self.free(register) {
                return None;
            }
            if address32 && target >> 32 != 0 {
                return None;
            }
            self.point(state, register, target.wrapping_sub(base), address32)?;
            if self.random.one_in(2) {
                let byte = if self.random.one_in(2) { state.gpr[RAX] as u8 } else { 0 };
                let around = self.random.below(40) as usize;
                self.patch(patches, target.wrapping_sub(around as u64), &vec![byte; 2 * around]);
            }
        }
        let repeats = insn.has_rep_prefix() || insn.has_repne_prefix();
        if insn.is_string_instruction() && repeats {
            let count = match self.random.below(16) {
                0 => 0,
                1 if self.alone => 0x3000,
                _ => self.random.below(24),
            };
            let address32 = (0..insn.op_count())
                .any(|i| matches!(insn.op_kind(i), OpKind::MemorySegESI | OpKind::MemoryESEDI));
            let high = if address32 { self.random.next() << 32 } else { 0 };
            self.fix(state, RCX, count | high)?;
        }
        Some(())
    }

    fn stack(&mut self, encoded: &mut Encoded, state: &mut State, patches: &mut Patches) -> Option<()> {
        let insn = encoded.insn;
        let target = self.stack_target();
        let top = self.point(state, RSP, target, false)?;
        match insn.mnemonic() {
            Mnemonic::Leave => {
                let frame = self.stack_target();
                self.point(state, RBP, frame, false)?;
            }
            Mnemonic::Enter => {
                let frame = self.stack_target();
                self.point(state, RBP, frame, false)?;
                if !self.random.one_in(4) {
                    let bytes = (self.random.below(0x80) as u16).to_le_bytes();
                    put(encoded, encoded.offsets.immediate_offset(), &bytes);
                }
            }
            Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => {
                let value = values::integer(self.random) & !flag::TF;
                self.patch(patches, top, &value.to_le_bytes());
                if self.alone && !(WINDOW..WINDOW + WRITABLE as u64 - 8).contains(&top) {
                    return None;
                }
            }
            Mnemonic::Ret => {
                let destination = self.destination();
                if !(WINDOW..WINDOW + WRITABLE as u64 - 8).contains(&top) {
                    return None;
                }
                self.patch(patches, top, &destination.to_le_bytes());
            }
            _ => {}
        }
        Some(())
    }
}
