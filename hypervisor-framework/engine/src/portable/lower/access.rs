//! Loads and stores of guest memory.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, MemFlags, Type, Value};
use cranelift_codegen::isa::CallConv;
use iced_x86::{Instruction, Register};

use super::super::context::{field, state};
use super::super::stubs::signature;
use super::{Lower, OWN, Unsupported};
use crate::cpu::slot;
use crate::mmu::{Entry, TLB_INDEX_BITS};

/// log2 of the bytes of a TLB entry.
const ENTRY_BITS: u32 = 5;
const _: () = assert!(size_of::<Entry>() == 1 << ENTRY_BITS);
const PAGE_BITS: u32 = 12;
const READ: i32 = std::mem::offset_of!(Entry, read) as i32;
const WRITE: i32 = std::mem::offset_of!(Entry, write) as i32;
const HOST: i32 = std::mem::offset_of!(Entry, host) as i32;

/// Guest memory: any alignment, and no host fault.
const GUEST: MemFlags = MemFlags::new().with_notrap();

/// What an update of memory writes to.
#[derive(Clone, Copy)]
pub(super) struct Update {
    address: Value,
    /// The host's address, or 0.
    host: Value,
}

/// Does the operand use 64-bit addressing?
pub(super) fn is_wide(insn: &Instruction) -> bool {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    let wide = |register: Register| register == Register::None || register.is_gpr64();
    let absolute = base == Register::None && index == Register::None && insn.memory_displ_size() == 4;
    (base == Register::RIP || wide(base)) && wide(index) && !absolute
}

impl Lower<'_, '_> {
    /// The effective address of a memory operand.
    pub(super) fn effective(&mut self, insn: &Instruction) -> Result<Value, Unsupported> {
        if !is_wide(insn) {
            return Err(Unsupported);
        }
        let (base, index) = (insn.memory_base(), insn.memory_index());
        let displacement = insn.memory_displacement64() as i64;
        let base = match base {
            Register::None => None,
            // iced gives the target relative to the block's start.
            Register::RIP => {
                let offset = i64::from(self.offset()).wrapping_add(displacement);
                return Ok(self.b.ins().iadd_imm(self.page, offset));
            }
            register => Some(self.full(register)),
        };
        let index = match index {
            Register::None => None,
            register => {
                let value = self.full(register);
                let scale = insn.memory_index_scale().trailing_zeros();
                Some(if scale == 0 { value } else { self.b.ins().ishl_imm(value, i64::from(scale)) })
            }
        };
        let sum = match (base, index) {
            (Some(base), Some(index)) => Some(self.b.ins().iadd(base, index)),
            (one, other) => one.or(other),
        };
        Ok(match sum {
            Some(sum) if displacement == 0 => sum,
            Some(sum) => self.b.ins().iadd_imm(sum, displacement),
            None => self.b.ins().iconst(I64, displacement),
        })
    }

    /// The linear address of a memory operand.
    pub(super) fn linear(&mut self, insn: &Instruction) -> Result<Value, Unsupported> {
        let offset = self.effective(insn)?;
        let base = match insn.memory_segment() {
            Register::FS => slot::FS_BASE,
            Register::GS => slot::GS_BASE,
            _ => return Ok(offset),
        };
        let base = self.b.ins().load(I64, OWN, self.cpu, state::REGS + 8 * i32::from(base));
        Ok(self.b.ins().iadd(offset, base))
    }

    /// Looks into the TLB: a hit, the TLB's entry, the offset in the page if it is one.
    pub(super) fn probe(&mut self, address: Value, size: u32, write: bool) -> (Value, Value, Value) {
        let shifted = self.b.ins().ushr_imm(address, i64::from(PAGE_BITS - ENTRY_BITS));
        let index = self.b.ins().band_imm(shifted, ((1 << TLB_INDEX_BITS) - 1) << ENTRY_BITS);
        let tlb = self.b.use_var(self.tlb);
        let entry = self.b.ins().iadd(tlb, index);
        let tag = self.b.ins().load(I64, OWN, entry, if write { WRITE } else { READ });
        let offset = self.b.ins().bxor(address, tag);
        let mut hit = self.b.ins().icmp_imm(IntCC::UnsignedLessThanOrEqual, offset, 4096 - i64::from(size));
        if self.weakly_ordered && size > 1 {
            // Only aligned accesses are ordered by the host's instructions.
            let odd = self.b.ins().band_imm(offset, i64::from(size) - 1);
            let aligned = self.b.ins().icmp_imm(IntCC::Equal, odd, 0);
            hit = self.b.ins().band(hit, aligned);
        }
        (hit, entry, offset)
    }

    pub(super) fn host_address(&mut self, entry: Value, offset: Value) -> Value {
        let page = self.b.ins().load(I64, OWN, entry, HOST);
        self.b.ins().iadd(page, offset)
    }

    fn read_host(&mut self, ty: Type, at: Value) -> Value {
        if self.weakly_ordered {
            self.b.ins().atomic_load(ty, GUEST, at)
        } else {
            self.b.ins().load(ty, GUEST, at, 0)
        }
    }

    fn write_host(&mut self, value: Value, at: Value) {
        if self.weakly_ordered {
            self.b.ins().atomic_store(GUEST, value, at);
        } else {
            self.b.ins().store(GUEST, value, at, 0);
        }
    }

    /// Calls what the context has at `field`, with three words. No register changes.
    pub(super) fn call(&mut self, field: i32, one: Value, two: Value, three: Value) {
        let stub = self.b.ins().load(I64, OWN, self.context, field::PRESERVING);
        let callee = self.b.ins().load(I64, OWN, self.context, field);
        let convention = self.b.import_signature(signature(CallConv::PreserveAll, 5, false));
        self.b.ins().call_indirect(convention, stub, &[self.context, callee, one, two, three]);
    }

    /// Leaves if the call just made trapped.
    fn check(&mut self) {
        let word = self.b.ins().load(I64, OWN, self.context, field::TRAPPED);
        let (trapped, fine) = (self.cold(), self.cold());
        self.b.ins().brif(word, trapped, &[], fine, &[]);
        self.b.switch_to_block(trapped);
        self.leave_trapped();
        self.b.switch_to_block(fine);
    }

    fn called_value(&mut self, ty: Type) -> Value {
        let value = self.b.ins().load(I64, OWN, self.context, field::VALUE);
        self.narrow(value, ty)
    }

    /// Loads from a linear address.
    pub(super) fn load(&mut self, address: Value, ty: Type) -> Value {
        let (hit, entry, offset) = self.probe(address, ty.bytes(), false);
        let (fast, slow, done) = (self.b.create_block(), self.cold(), self.b.create_block());
        let answer = self.b.append_block_param(done, ty);
        self.b.ins().brif(hit, fast, &[], slow, &[]);
        self.b.switch_to_block(slow);
        let size = self.constant(I64, u64::from(ty.bytes()));
        self.call(field::LOAD, address, size, size);
        self.check();
        let value = self.called_value(ty);
        self.b.ins().jump(done, &[value.into()]);
        self.b.switch_to_block(fast);
        let at = self.host_address(entry, offset);
        let value = self.read_host(ty, at);
        self.b.ins().jump(done, &[value.into()]);
        self.b.switch_to_block(done);
        answer
    }

    /// Stores to a linear address.
    pub(super) fn store(&mut self, address: Value, value: Value) {
        let size = self.ty(value).bytes();
        let (hit, entry, offset) = self.probe(address, size, true);
        let (fast, slow, done) = (self.b.create_block(), self.cold(), self.b.create_block());
        self.b.ins().brif(hit, fast, &[], slow, &[]);
        self.b.switch_to_block(slow);
        self.store_slowly(address, value);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(fast);
        let at = self.host_address(entry, offset);
        self.write_host(value, at);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
    }

    fn store_slowly(&mut self, address: Value, value: Value) {
        let size = self.constant(I64, u64::from(self.ty(value).bytes()));
        let wide = self.wide(value);
        self.call(field::STORE, address, wide, size);
        self.check();
    }

    /// Loads what [`Self::finish_update`] is to replace; everything that can fault is done.
    pub(super) fn begin_update(&mut self, address: Value, ty: Type) -> (Value, Update) {
        let (hit, entry, offset) = self.probe(address, ty.bytes(), true);
        let (fast, slow, done) = (self.b.create_block(), self.cold(), self.b.create_block());
        let old = self.b.append_block_param(done, ty);
        let host = self.b.append_block_param(done, I64);
        self.b.ins().brif(hit, fast, &[], slow, &[]);
        self.b.switch_to_block(slow);
        let size = self.constant(I64, u64::from(ty.bytes()));
        self.call(field::UPDATE, address, size, size);
        self.check();
        let value = self.called_value(ty);
        let none = self.constant(I64, 0);
        self.b.ins().jump(done, &[value.into(), none.into()]);
        self.b.switch_to_block(fast);
        let at = self.host_address(entry, offset);
        let value = self.read_host(ty, at);
        self.b.ins().jump(done, &[value.into(), at.into()]);
        self.b.switch_to_block(done);
        (old, Update { address, host })
    }

    /// Stores the new value of an update.
    pub(super) fn finish_update(&mut self, update: Update, value: Value) {
        let (fast, slow, done) = (self.b.create_block(), self.cold(), self.b.create_block());
        self.b.ins().brif(update.host, fast, &[], slow, &[]);
        self.b.switch_to_block(slow);
        self.store_slowly(update.address, value);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(fast);
        self.write_host(value, update.host);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
    }
}
