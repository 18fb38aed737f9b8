//! The operand that ModRM, or an offset in the instruction, addresses.

use iced_x86::{Code, FlowControl, Instruction, MemorySize, Mnemonic, OpKind, Register};

use super::{Patches, Placer, number, put, segment};
use crate::encode::Encoded;
use crate::state::{CODE, GS_BASE, RAX, RDX, State, WINDOW, WINDOW_SIZE, WRITABLE};
use crate::values::{self, Kind};

/// Accesses this far outside of the window still hit nothing.
const MARGIN: u64 = 0x4_0000;

impl Placer<'_> {
    /// The operand that ModRM (or the offset in the instruction) addresses.
    pub(super) fn memory(
        &mut self,
        encoded: &mut Encoded,
        state: &mut State,
        patches: &mut Patches,
    ) -> Option<()> {
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
        if insn.memory_index().is_vector_register() {
            self.indices(&insn, state);
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

    /// Small numbers as a gather's indices.
    fn indices(&mut self, insn: &Instruction, state: &mut State) {
        let number = insn.memory_index().number();
        let wide = insn.is_vsib64();
        let mut half = || {
            (0..if wide { 2 } else { 4 }).fold(0_u128, |all, _| {
                let index = self.random.within(-40, 40);
                if wide { all << 64 | u128::from(index as u64) } else { all << 32 | u128::from(index as u32) }
            })
        };
        let halves = [half(), half()];
        state.image.set_xmm(number, halves[0]);
        state.upper[number] = halves[1];
    }

    /// The linear address of the memory operand.
    fn address(&self, encoded: &Encoded, state: &State) -> Option<u64> {
        encoded.insn.virtual_address(memory_operand(&encoded.insn)?, 0, |register, _, _| {
            Some(match register {
                Register::GS => GS_BASE,
                _ if register.is_segment_register() || register.is_vector_register() => 0,
                _ if register.is_gpr16() => state.gpr[number(register)?] & 0xffff,
                _ if register.is_gpr32() && register != Register::ESP => {
                    state.gpr[number(register)?] & u64::from(u32::MAX)
                }
                _ => self.value(&encoded.insn, state, register)?,
            })
        })
    }

    fn value(&self, insn: &Instruction, state: &State, register: Register) -> Option<u64> {
        let value = state.gpr[number(register)?];
        let value = if register == Register::ESP { value & u64::from(u32::MAX) } else { value };
        // POP to memory computes its address with the stack pointer behind what it popped.
        let popped = matches!(register, Register::RSP | Register::ESP) && insn.mnemonic() == Mnemonic::Pop;
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
            Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr => {
                let reserved = if self.random.one_in(16) { 1 << self.random.within(18, 31) } else { 0 };
                let value = 0x1f80 ^ (values::integer(self.random) & 0xffff) | reserved;
                self.patch(patches, address, &(value as u32).to_le_bytes());
                return Some(());
            }
            _ if insn.memory_size() == MemorySize::Unknown => Kind::Integer,
            _ => Kind::of(insn.code()),
        };
        if size > 16 {
            let bytes = values::vector(kind, self.random).to_le_bytes();
            self.patch(patches, address.wrapping_add(16), &bytes);
        }
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

/// In the window, around it, at the code, or nowhere.
fn harmless(address: u64, size: u64) -> bool {
    let around = |start: u64, bytes: u64| (start - MARGIN..start + bytes + MARGIN).contains(&address);
    let upper = address.wrapping_add(size) >> 47;
    let nowhere = upper != 0 && upper != 0x1_ffff && address >> 47 == upper;
    around(WINDOW, WINDOW_SIZE as u64) || around(CODE, 0x2000) || nowhere || address < 0x1_0000
}
