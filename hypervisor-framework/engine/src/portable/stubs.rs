//! Code that all compiled code shares: entry, look-up of the next block, calls that preserve registers.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlags, Signature};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;

use super::compile::Compiler;
use super::context::{exit, field, state};
use crate::mmu::{Entry, TLB_FETCH_OFFSET, TLB_INDEX_BITS};

/// log2 of the entries of a jump table.
pub(super) const JUMP_BITS: u32 = 13;
/// log2 of the bytes of an entry.
const ENTRY_BITS: i64 = 4;
const _: () = assert!(size_of::<super::context::Jump>() == 1 << ENTRY_BITS);

/// log2 of the bytes of a TLB entry.
const TLB_ENTRY_BITS: i64 = 5;
const _: () = assert!(size_of::<Entry>() == 1 << TLB_ENTRY_BITS);
/// Offsets from a TLB entry for data to those for fetches.
const FETCH: i32 = (TLB_FETCH_OFFSET + std::mem::offset_of!(Entry, fetch)) as i32;
const HOST: i32 = (TLB_FETCH_OFFSET + std::mem::offset_of!(Entry, host)) as i32;

/// Where a host address is in the table.
pub(super) fn jump_index(host: u64) -> usize {
    ((host ^ host >> JUMP_BITS) & ((1 << JUMP_BITS) - 1)) as usize
}

/// A signature of `parameters` words.
pub(super) fn signature(convention: CallConv, parameters: usize, answers: bool) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params = vec![AbiParam::new(I64); parameters];
    if answers {
        signature.returns.push(AbiParam::new(I32));
    }
    signature
}

/// Called by the host: context, CPU, code.
pub(super) fn enter(compiler: &mut Compiler) -> Option<Vec<u8>> {
    let host = compiler.host_convention();
    compiler.function(signature(host, 3, true), |b: &mut FunctionBuilder<'_>, p| {
        let &[context, cpu, code] = p else { return };
        let callee = b.import_signature(signature(CallConv::Tail, 2, true));
        let call = b.ins().call_indirect(callee, code, &[context, cpu]);
        let answer = b.inst_results(call).to_vec();
        b.ins().return_(&answer);
    })
}

/// Goes on at a linear address, the third argument: in its code if that is known.
pub(super) fn lookup(compiler: &mut Compiler) -> Option<Vec<u8>> {
    compiler.function(signature(CallConv::Tail, 3, true), |b: &mut FunctionBuilder<'_>, p| {
        let &[context, cpu, target] = p else { return };
        let trusted = MemFlags::trusted();
        let [look, go, mapped, hit, miss] = [(); 5].map(|()| b.create_block());
        b.set_cold_block(look);
        let pending = b.ins().load(I64, trusted, context, field::PENDING);
        let pending = b.ins().load(I32, trusted, pending, 0);
        b.ins().brif(pending, look, &[], go, &[]);

        b.switch_to_block(go);
        // The TLB says where the code is now; the table whether that is compiled.
        let shifted = b.ins().ushr_imm(target, 12 - TLB_ENTRY_BITS);
        let index = b.ins().band_imm(shifted, ((1 << TLB_INDEX_BITS) - 1) << TLB_ENTRY_BITS);
        let tlb = b.ins().load(I64, trusted, context, field::TLB);
        let entry = b.ins().iadd(tlb, index);
        let tag = b.ins().load(I64, trusted, entry, FETCH);
        let offset = b.ins().bxor(target, tag);
        let within = b.ins().icmp_imm(IntCC::UnsignedLessThan, offset, 4096);
        b.ins().brif(within, mapped, &[], miss, &[]);

        b.switch_to_block(mapped);
        let host = b.ins().load(I64, trusted, entry, HOST);
        let host = b.ins().iadd(host, offset);
        let high = b.ins().ushr_imm(host, i64::from(JUMP_BITS));
        let mixed = b.ins().bxor(host, high);
        let index = b.ins().band_imm(mixed, (1 << JUMP_BITS) - 1);
        let offset = b.ins().ishl_imm(index, ENTRY_BITS);
        let jumps = b.ins().load(I64, trusted, context, field::JUMPS);
        let entry = b.ins().iadd(jumps, offset);
        let key = b.ins().load(I64, trusted, entry, 0);
        let same = b.ins().icmp(IntCC::Equal, key, host);
        b.ins().brif(same, hit, &[], miss, &[]);

        b.switch_to_block(hit);
        let code = b.ins().load(I64, trusted, entry, 8);
        let page = b.ins().band_imm(target, !0xfff);
        b.ins().store(trusted, page, context, field::PAGE);
        let callee = b.import_signature(signature(CallConv::Tail, 2, true));
        b.ins().return_call_indirect(callee, code, &[context, cpu]);

        for (block, answer) in [(miss, exit::FIND), (look, exit::LOOK)] {
            b.switch_to_block(block);
            b.ins().store(trusted, target, cpu, state::RIP);
            let answer = b.ins().iconst(I32, i64::from(answer));
            b.ins().return_(&[answer]);
        }
    })
}

/// Calls its second argument with the context and three words, and changes no register.
pub(super) fn preserving(compiler: &mut Compiler) -> Option<Vec<u8>> {
    let host = compiler.host_convention();
    compiler.function(signature(CallConv::PreserveAll, 5, false), |b: &mut FunctionBuilder<'_>, p| {
        let &[context, callee, one, two, three] = p else { return };
        let call = b.import_signature(signature(host, 4, false));
        b.ins().call_indirect(call, callee, &[context, one, two, three]);
        b.ins().return_(&[]);
    })
}
