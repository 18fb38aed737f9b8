//! Operands that hit the window: registers, displacements and immediates are chosen so that each access ends where it
//! should, without giving up random addressing forms.

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpKind, Register,
};

use crate::case::writes;
use crate::encode::Encoded;
use crate::random::Random;
use crate::state::{
    CODE, GS_BASE, LANDING, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, State, WINDOW, WINDOW_SIZE, WRITABLE,
    flag,
};
use crate::values::{self, Kind};

/// Accesses this far outside of the window still hit nothing.
const MARGIN: u64 = 0x4_0000;
/// Landings before and behind the code, for branches.
const NEAR: u64 = LANDING;
const FAR: u64 = 0x300;

type Patches = Vec<(usize, Vec<u8>)>;

/// Places the operands of a case's instructions.
pub(crate) struct Placer<'r> {
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
    pub(crate) fn new(random: &'r mut Random, alone: bool, start: u64) -> Self {
        Self { random, alone, start, fixed: 0, clobbered: 0 }
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
                    && insn.op0_register() == Register::RSP)
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
            6 => (0x8001_u64 << 32).wrapping_add(values::integer(self.random) & 0x3fff_ffff_ffff),
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
            0 => (0x8001_u64 << 32) + self.random.below(1 << 40),
            1 => WINDOW + self.random.below(WRITABLE as u64),
            2 => WINDOW - 0x100,
            _ => self.random.pick(&landings),
        }
    }

    fn branch(&mut self, encoded: &mut Encoded, state: &mut State, patches: &mut Patches) -> Option<()> {
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
                if insn.op0_kind() == OpKind::NearBranch64 =>
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
    fn implicit(&mut self, encoded: &mut Encoded, state: &mut State, patches: &mut Patches) -> Option<()> {
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
            let masked = matches!(insn.mnemonic(), Mnemonic::Maskmovq | Mnemonic::Maskmovdqu);
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

    /// The operand that ModRM (or the offset in the instruction) addresses.
    fn memory(&mut self, encoded: &mut Encoded, state: &mut State, patches: &mut Patches) -> Option<()> {
        let insn = encoded.insn;
        let size = insn.memory_size().size() as u64;
        let mut target = self.target(size);
        if matches!(insn.mnemonic(), Mnemonic::Cmpxchg16b) && !self.random.one_in(4) {
            target &= !15;
        }
        let (base, index) = (insn.memory_base(), insn.memory_index());
        let short = [base, index].iter().any(|r| r.is_gpr32() || *r == Register::EIP);
        let mask = if short { u64::from(u32::MAX) } else { u64::MAX };
        if base == Register::RIP || base == Register::EIP {
            let next = insn.next_ip();
            let distance =
                i32::try_from(target.wrapping_sub(segment(&insn)).wrapping_sub(next) as i64).ok()?;
            put(encoded, encoded.offsets.displacement_offset(), &distance.to_le_bytes());
        } else {
            if short && target >> 32 != 0 {
                return None;
            }
            let want = target.wrapping_sub(segment(&insn)) & mask;
            self.solve(encoded, state, want, mask)?;
        }
        let address = self.address(encoded, state)?;
        if !harmless(address, size) {
            return None;
        }
        self.plant(&insn, address, size, state, patches)
    }

    /// Chooses registers and displacement for an effective address.
    fn solve(&mut self, encoded: &mut Encoded, state: &mut State, want: u64, mask: u64) -> Option<()> {
        let insn = encoded.insn;
        let (base, index) = (number(insn.memory_base()), number(insn.memory_index()));
        let width = encoded.offsets.displacement_size();
        let at = encoded.offsets.displacement_offset();
        let scale = u64::from(insn.memory_index_scale());
        let mut high = || if mask == u64::MAX { 0 } else { self.random.next() << 32 };
        let garbage = [high(), high()];
        if let Some(index) = index {
            if self.clobbered & 1 << index != 0 {
                return None;
            }
            if self.free(index) && base != Some(index) {
                let wild = base.is_some_and(|base| self.free(base)) && self.random.one_in(2);
                let value =
                    if wild { values::integer(self.random) } else { self.random.within(-40, 40) as u64 };
                self.fix(state, index, value & mask | garbage[0])?;
            }
        }
        let scaled = |state: &State| index.map_or(0, |index| state.gpr[index].wrapping_mul(scale));
        if let Some(base) = base {
            if self.clobbered & 1 << base != 0 {
                return None;
            }
            if self.free(base) {
                if width == 4 && self.random.one_in(2) {
                    put(encoded, at, &(self.random.within(-300, 300) as i32).to_le_bytes());
                }
                let displacement = encoded.insn.memory_displacement64();
                let rest = want.wrapping_sub(displacement);
                let value = if index == Some(base) {
                    (rest & mask) / (scale + 1)
                } else {
                    rest.wrapping_sub(scaled(state))
                };
                self.fix(state, base, value & mask | garbage[1])?;
                return Some(());
            }
        }
        if width >= 4 {
            let known = base.map_or(0, |base| state.gpr[base]).wrapping_add(scaled(state));
            let rest = want.wrapping_sub(known) & mask;
            let fits = width == 8 || mask != u64::MAX || i32::try_from(rest as i64).is_ok();
            if !fits {
                return None;
            }
            put(encoded, at, &rest.to_le_bytes()[..width]);
        }
        Some(())
    }

    /// The linear address of the memory operand.
    fn address(&self, encoded: &Encoded, state: &State) -> Option<u64> {
        encoded.insn.virtual_address(memory_operand(&encoded.insn)?, 0, |register, _, _| {
            Some(match register {
                Register::GS => GS_BASE,
                _ if register.is_segment_register() => 0,
                _ if register.is_gpr32() => state.gpr[number(register)?] & u64::from(u32::MAX),
                _ => self.value(&encoded.insn, state, register)?,
            })
        })
    }

    fn value(&self, insn: &Instruction, state: &State, register: Register) -> Option<u64> {
        let value = state.gpr[number(register)?];
        // POP to memory computes its address with the stack pointer behind what it popped.
        let popped = register == Register::RSP && insn.mnemonic() == Mnemonic::Pop;
        Some(if popped { value.wrapping_add(insn.memory_size().size() as u64) } else { value })
    }

    /// Puts values into memory, and such into registers that go with them.
    fn plant(
        &mut self,
        insn: &Instruction,
        address: u64,
        size: u64,
        state: &mut State,
        patches: &mut Patches,
    ) -> Option<()> {
        let flow = insn.flow_control();
        if matches!(flow, FlowControl::IndirectBranch | FlowControl::IndirectCall) {
            let destination = self.destination();
            let inside = (WINDOW..WINDOW + WRITABLE as u64 - 8).contains(&address);
            self.patch(patches, address, &destination.to_le_bytes());
            // Elsewhere in the window, or in the code, a random destination would be read.
            let elsewhere = (WINDOW - 8..WINDOW + WINDOW_SIZE as u64).contains(&address)
                || (CODE..CODE + 0x2000).contains(&address);
            return (inside || !elsewhere).then_some(());
        }
        if self.random.one_in(5) || size == 0 {
            return Some(());
        }
        let kind = match insn.mnemonic() {
            Mnemonic::Ldmxcsr => {
                let reserved = if self.random.one_in(16) { 1 << self.random.within(18, 31) } else { 0 };
                let value = 0x1f80 ^ (values::integer(self.random) & 0xffff) | reserved;
                self.patch(patches, address, &(value as u32).to_le_bytes());
                return Some(());
            }
            _ if insn.memory_size() == MemorySize::Unknown => Kind::Integer,
            _ => Kind::of(insn.code()),
        };
        let bytes = values::vector(kind, self.random).to_le_bytes();
        self.patch(patches, address, &bytes[..size.min(16) as usize]);
        let low = |part: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * part..8 * part + 8]);
            u64::from_le_bytes(word)
        };
        if self.random.one_in(2) {
            match insn.code() {
                Code::Cmpxchg16b_m128 => self.equal(state, low(0), low(1)),
                Code::Cmpxchg8b_m64 => self.equal(state, low(0) & 0xffff_ffff, low(0) >> 32),
                _ if insn.mnemonic() == Mnemonic::Cmpxchg && self.free(RAX) => state.gpr[RAX] = low(0),
                _ => {}
            }
        }
        Some(())
    }

    fn equal(&mut self, state: &mut State, low: u64, high: u64) {
        if self.free(RAX) && self.free(RDX) {
            state.gpr[RAX] = low;
            state.gpr[RDX] = high;
        }
    }
}

fn memory_operand(insn: &Instruction) -> Option<u32> {
    (0..insn.op_count()).find(|&i| insn.op_kind(i) == OpKind::Memory)
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

/// In the window, around it, at the code, or nowhere.
fn harmless(address: u64, size: u64) -> bool {
    let around = |start: u64, bytes: u64| (start - MARGIN..start + bytes + MARGIN).contains(&address);
    let upper = address.wrapping_add(size) >> 47;
    let nowhere = upper != 0 && upper != 0x1_ffff && address >> 47 == upper;
    around(WINDOW, WINDOW_SIZE as u64) || around(CODE, 0x2000) || nowhere
}

/// A general register's ModRM number.
pub(crate) fn number(register: Register) -> Option<usize> {
    register.is_gpr().then(|| register.full_register().number())
}
