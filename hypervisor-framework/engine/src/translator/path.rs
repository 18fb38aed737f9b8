//! Past branches: the blocks on a path are one piece of host code, in which flags and vectors stay where they are. The
//! budget is taken for all of it at its entry, and what is not executed is given back on the way out.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind};

use super::context::field;
use super::emitter::group;
use super::flags::Flags;
use super::lazy::{Effect, Origin, effect, writes};
use super::stubs::context;
use super::unit::{Builder, Step};
use super::vector::Vectors;
use crate::instructions::condition_code;

/// A way out of a part that is not its last.
pub(super) struct Side {
    branch: usize,
    part: usize,
    /// Where it leads, from the start of the first part.
    distance: i64,
    flags: (Flags, Option<Origin>),
    vectors: Vectors,
}

/// May the part that ends with this instruction be followed by another that begins at `next`? `falls`: it ends so because
/// blocks are not longer.
fn leads(insn: &Instruction, falls: bool, next: u64) -> bool {
    let target = insn.op0_kind() == OpKind::NearBranch64 && insn.near_branch_target() == next;
    match insn.flow_control() {
        FlowControl::Next => falls && insn.next_ip() == next,
        FlowControl::ConditionalBranch => {
            let simple = insn.is_jcc_short_or_near() && insn.op0_kind() == OpKind::NearBranch64;
            simple && condition_code(insn).is_some() && (target || insn.next_ip() == next)
        }
        FlowControl::UnconditionalBranch => insn.is_jmp_short_or_near() && target,
        FlowControl::Call => insn.is_call_near() && target,
        _ => false,
    }
}

impl Builder<'_> {
    /// Decodes the parts, for as long as each leads to the next. Addresses are relative to the start of the first.
    pub(super) fn decode(&mut self) {
        let parts = self.source.parts;
        for (number, part) in parts.iter().enumerate() {
            let start = i64::from(part.offset).wrapping_sub(i64::from(self.source.offset)) as u64;
            if let Some(last) = self.steps.last_mut() {
                let before = parts.get(number.wrapping_sub(1)).and_then(|part| part.ops.last());
                if !leads(&last.insn, before.is_some_and(|op| op.len == 0), start) {
                    self.source.parts = parts.get(..number).unwrap_or(parts);
                    return;
                }
                if last.insn.is_jmp_short_or_near() {
                    last.effect = Effect::Neutral;
                }
            }
            let mut decoder = Decoder::with_ip(64, &part.bytes, start, DecoderOptions::NONE);
            let mut first = 0;
            for _ in 0..part.instructions {
                let insn = decoder.decode();
                let start = insn.ip().wrapping_sub(start) as u8;
                let ops = part.ops.iter().skip(first);
                let count = ops.take_while(|op| op.start == start && op.len != 0).count();
                let effect = effect(&insn);
                let writes = writes(self.info, &insn, effect);
                self.steps.push(Step { insn, part: number, ops: (first, count), effect, writes });
                first += count;
            }
        }
    }

    /// Instructions from a part on.
    pub(super) fn instructions_from(&self, part: usize) -> u32 {
        self.source.parts.iter().skip(part).map(|part| part.instructions).sum()
    }

    /// Micro-ops of the current part.
    pub(super) fn part_ops(&self) -> usize {
        self.source.parts.get(self.part).map_or(0, |part| part.ops.len())
    }

    /// Where the path goes on behind the current step, if that ends a part but the last.
    pub(super) fn follows(&self) -> Option<u64> {
        let next = self.steps.get(self.at + 1)?;
        (next.part != self.part).then(|| next.insn.ip())
    }

    /// A branch just emitted leaves the path.
    pub(super) fn leave_path(&mut self, branch: usize, distance: i64) {
        let flags = (self.flags, self.origin);
        self.sides.push(Side { branch, part: self.part, distance, flags, vectors: self.vectors });
    }

    /// Gives back the budget of the parts behind the current one; flags are lost.
    pub(super) fn give_back(&mut self) {
        let left = self.instructions_from(self.part + 1);
        if left != 0 {
            self.e.memory_immediate(false, group::ADD, context(field::BUDGET), left as i8);
        }
    }

    /// The ways out of the path.
    pub(super) fn side_exits(&mut self) {
        let mut sides = std::mem::take(&mut self.sides);
        for side in sides.drain(..) {
            self.e.land(side.branch);
            self.part = side.part;
            (self.flags, self.origin) = side.flags;
            self.vectors = side.vectors;
            self.save_flags();
            self.write_back_vectors();
            self.give_back();
            // A path is too short for this to fail.
            let _ = self.exit(side.distance, side.distance <= 0);
        }
        self.sides = sides;
    }
}
