//! Elements of a vector that are in memory one by one: where they are there, and in the register.

use iced_x86::Register;

use crate::block::{Op, Translator, segment_allows, segment_number};
use crate::cpu::{Cpu, Trap, TrapCause, slot};
use crate::memory::Scalar;

/// Lanes of `T` in `bytes` bytes: their numbers, with where they are.
pub(super) fn lanes<T: Scalar>(bytes: usize) -> impl DoubleEndedIterator<Item = Place> {
    (0..bytes / T::SIZE).map(|i| {
        let bits = 8 * T::SIZE * i;
        Place { number: i, half: bits / 128, shift: (bits % 128) as u32 }
    })
}

/// Where a lane is in a YMM register.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) number: usize,
    half: usize,
    shift: u32,
}

impl Place {
    pub(super) fn get<T: Scalar>(self, value: &[u128; 2]) -> T {
        T::narrow((value[self.half & 1] >> self.shift) as u64)
    }

    pub(super) fn set<T: Scalar>(self, value: &mut [u128; 2], lane: T) {
        let half = &mut value[self.half & 1];
        let mask = u128::from(u64::MAX >> (64 - 8 * T::SIZE)) << self.shift;
        *half = *half & !mask | u128::from(lane.widen()) << self.shift;
    }

    /// Is the lane's sign set?
    pub(super) fn chosen<T: Scalar>(self, mask: &[u128; 2]) -> bool {
        self.get::<T>(mask).widen() >> (8 * T::SIZE - 1) != 0
    }
}

/// What `imm` holds: the mask's register in 3:0, the segment in 7:4, bytes of an address in 15:8, of the vector in 23:16,
/// of its indices in 31:24.
#[derive(Clone, Copy)]
pub(super) struct Fields(u64);

impl Fields {
    pub(super) fn new(mask: u8, vector: u64, indices: u64) -> Self {
        Self(u64::from(mask & 15) | vector << 16 | indices << 24)
    }

    pub(super) fn from_imm(imm: u64) -> Self {
        Self(imm)
    }

    /// Adds how the instruction addresses memory, and has `op` do so: its base in a slot, its index apart.
    pub(super) fn of(self, t: &Translator<'_>, op: &mut Op) -> u64 {
        let insn = t.insn;
        let (base, index) = (insn.memory_base(), insn.memory_index());
        if base != Register::None {
            op.base = base.number() as u8;
        }
        // There is no displacement beyond 32 bits.
        op.disp = insn.memory_displacement64() as i32;
        let narrow = |is: fn(Register) -> bool| is(base) || is(index);
        let absolute = base == Register::None && !index.is_gpr();
        let bytes: u64 = if narrow(Register::is_gpr16) || absolute && insn.memory_displ_size() == 2 {
            2
        } else if narrow(Register::is_gpr32) || absolute && insn.memory_displ_size() == 4 {
            4
        } else {
            8
        };
        if t.is_on_stack() {
            op.flags |= Op::STACK_SEGMENT;
        }
        self.0 | u64::from(segment_number(insn.memory_segment())) << 4 | bytes << 8
    }

    pub(super) fn mask(self) -> u8 {
        self.0 as u8 & 15
    }

    pub(super) fn vector(self) -> usize {
        (self.0 >> 16) as usize & 0xff
    }

    pub(super) fn indices(self) -> usize {
        (self.0 >> 24) as usize & 0xff
    }

    fn segment(self) -> u8 {
        (self.0 >> 4) as u8 & 15
    }

    /// The linear address of an element of `size` bytes, `from` bytes behind what base and displacement address.
    pub(super) fn linear(
        self,
        cpu: &mut Cpu,
        op: &Op,
        from: u64,
        size: usize,
        write: bool,
    ) -> Result<u64, Trap> {
        let offset = cpu.slot(op.base).wrapping_add(from).wrapping_add(op.disp as i64 as u64);
        let offset = match self.0 >> 8 & 0xff {
            2 => offset & 0xffff,
            4 => offset & 0xffff_ffff,
            _ => offset,
        };
        if cpu.mode.is64() {
            let base = match self.segment() {
                4 => cpu.slot(slot::FS_BASE),
                5 => cpu.slot(slot::GS_BASE),
                _ => 0,
            };
            return Ok(offset.wrapping_add(base));
        }
        let segment = cpu.segments[usize::from(self.segment() & 7)];
        let offset = offset & 0xffff_ffff;
        if !segment_allows(&segment, offset, size as u32, write) {
            cpu.cause = TrapCause::BadAddress;
            return Err(Trap);
        }
        Ok(offset.wrapping_add(cpu.segment_base(self.segment())) & 0xffff_ffff)
    }
}
