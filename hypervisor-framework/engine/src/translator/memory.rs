//! Memory operands: linear address, TLB, host address.

use iced_x86::{Instruction, Register};

use super::context::field;
use super::emitter::host::{RAX, RBP};
use super::emitter::{At, Emitter, condition, group, opcode};
use super::registers::{HOMES, Home, spilled};
use super::stubs::{context, state};
use super::unit::{Builder, Emitted, Unsupported};
use crate::cpu::slot;
use crate::mmu::{Entry, TLB_FETCH_OFFSET, TLB_INDEX_BITS};

/// log2 of the bytes of a TLB entry.
const ENTRY_BITS: u32 = 5;
const _: () = assert!(size_of::<Entry>() == 1 << ENTRY_BITS);
const PAGE_BITS: u32 = 12;

/// Offsets from a TLB entry for data, of fetches to the one for those.
pub(super) const FETCH: i32 = (TLB_FETCH_OFFSET + std::mem::offset_of!(Entry, fetch)) as i32;
pub(super) const FETCH_HOST: i32 = TLB_FETCH_OFFSET as i32 + HOST;
pub(super) const READ: i32 = std::mem::offset_of!(Entry, read) as i32;
pub(super) const WRITE: i32 = std::mem::offset_of!(Entry, write) as i32;
pub(super) const HOST: i32 = std::mem::offset_of!(Entry, host) as i32;

/// Puts the address of the TLB entry for data at the linear address in RAX into RBP; flags are lost.
pub(super) fn emit_tlb_entry(e: &mut Emitter) {
    let count = (PAGE_BITS - ENTRY_BITS) as u8;
    if std::arch::is_x86_feature_detected!("bmi2") {
        // rorx ebp, eax, count
        e.raw(&[0xc4, 0xe3, 0x7b, 0xf0, 0xe8, count]);
    } else {
        e.registers(false, opcode::LOAD, RBP, RAX);
        e.shift(false, group::SHR, RBP, count);
    }
    e.immediate(false, group::AND, RBP, ((1 << TLB_INDEX_BITS) - 1) << ENTRY_BITS);
    e.memory(true, opcode::ADD, RBP, context(field::TLB));
}

/// What an access needs.
#[derive(Clone, Copy)]
pub(super) struct Need {
    pub(super) write: bool,
    /// Bytes.
    pub(super) size: u32,
    /// The address must be a multiple of the size.
    pub(super) aligned: bool,
}

fn home(register: Register) -> Home {
    HOMES[register.number() & 15]
}

/// Does the operand use 64-bit addressing?
pub(super) fn is_wide(insn: &Instruction) -> bool {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    let narrow = |register: Register| register == Register::EIP || register.is_gpr32();
    let absolute = base == Register::None && index == Register::None && insn.memory_displ_size() == 4;
    !narrow(base) && !narrow(index) && !absolute
}

impl Builder<'_> {
    /// Puts the linear address of the memory operand into RAX; RBP is lost, flags stay.
    pub(super) fn linear(&mut self, insn: &Instruction) -> Emitted {
        self.effective(insn, RAX)?;
        let base = match insn.memory_segment() {
            Register::FS => slot::FS_BASE,
            Register::GS => slot::GS_BASE,
            _ => return Ok(()),
        };
        self.e.load(RBP, context(field::CPU));
        self.e.load(RBP, At::Base(RBP, state::REGS + 8 * i32::from(base)));
        self.e.lea(RAX, At::Indexed { base: Some(RAX), index: RBP, scale: 0, disp: 0 });
        Ok(())
    }

    /// Puts the effective address into a host register that is not RBP; RAX and RBP may be lost, flags stay.
    pub(super) fn effective(&mut self, insn: &Instruction, to: u8) -> Emitted {
        if !is_wide(insn) {
            return Err(Unsupported);
        }
        let displacement = insn.memory_displacement64() as i64;
        let base = match insn.memory_base() {
            Register::None => None,
            Register::RIP => {
                // iced gives the target relative to the block's start.
                let disp = displacement + i64::from(self.source.offset);
                let disp = i32::try_from(disp).map_err(|_| Unsupported)?;
                self.e.load(RAX, context(field::PAGE));
                self.e.lea(to, At::Base(RAX, disp));
                return Ok(());
            }
            register => Some(match home(register) {
                Home::Host(host) => host,
                Home::Spilled(index) => {
                    self.e.load(RAX, spilled(index));
                    RAX
                }
            }),
        };
        let index = match insn.memory_index() {
            Register::None => None,
            register => Some(match home(register) {
                Home::Host(host) => host,
                Home::Spilled(index) => {
                    self.e.load(RBP, spilled(index));
                    RBP
                }
            }),
        };
        let scale = insn.memory_index_scale().trailing_zeros() as u8;
        match (base, index, i32::try_from(displacement)) {
            (None, None, _) => self.e.constant(to, displacement as u64),
            (Some(base), None, Ok(0)) => self.e.copy(to, base),
            (Some(base), None, Ok(disp)) => self.e.lea(to, At::Base(base, disp)),
            (base, Some(index), Ok(disp)) => self.e.lea(to, At::Indexed { base, index, scale, disp }),
            (_, _, Err(_)) => return Err(Unsupported),
        }
        Ok(())
    }

    /// Turns the linear address in RAX into the host's, or branches to the slow path. Flags must be saved before; RBP
    /// is lost.
    pub(super) fn translate_address(&mut self, need: Need) {
        emit_tlb_entry(&mut self.e);
        // On a hit the offset in the page is left.
        self.e.memory(true, opcode::XOR, RAX, At::Base(RBP, if need.write { WRITE } else { READ }));
        self.e.immediate(true, group::CMP, RAX, 4096 - need.size as i32);
        let miss = self.e.branch_if(condition::ABOVE);
        self.branches.push(miss);
        if need.aligned && need.size > 1 {
            // test al, size - 1
            self.e.raw(&[0xa8, (need.size - 1) as u8]);
            let odd = self.e.branch_if(condition::NOT_EQUAL);
            self.branches.push(odd);
        }
        self.e.memory(true, opcode::ADD, RAX, At::Base(RBP, HOST));
    }
}
