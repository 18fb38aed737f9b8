//! Building the block at the CPU's instruction pointer.

use std::cell::Cell;
use std::sync::Arc;

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};

use super::{Block, Flow, NO_BLOCK, Op, Translator};
use crate::cpu::control::Mode;
use crate::cpu::{Cpu, Level, Trap};
use crate::exit::Access;
use crate::instructions;
use crate::memory::{HostPtr, Mailbox, Message, PAGE_SIZE};

/// Longest x86 instruction, bytes.
const MAX_INSTRUCTION: usize = 15;
/// A block has at most this many instructions.
pub(crate) const MAX_INSTRUCTIONS: usize = 64;
/// Its instructions start within this many bytes, so that their offsets fit a byte.
const MAX_BYTES: usize = 240;

/// A block as built, and where it belongs.
pub(crate) struct Built {
    pub(crate) block: Block,
    /// Host page of its first byte.
    pub(crate) host_page: usize,
    /// It lies in one page and can be found again.
    pub(crate) cacheable: bool,
}

/// Translates the block at `cpu.rip`. `act` serves the CPU's mailbox while it waits for others.
pub(crate) fn build(cpu: &mut Cpu, act: &mut dyn FnMut(&mut Cpu, &[Message])) -> Result<Built, Trap> {
    let linear = cpu.code_address(cpu.rip);
    // Keeps the memory alive while waiting for other CPUs, and tells whether it changed meanwhile.
    let mut map = Arc::clone(&cpu.mmu.map);
    let (first, page_offset, host_page) = loop {
        let first = cpu.translate(linear, Access::Fetch)?;
        let page_offset = first.address() & (PAGE_SIZE - 1);
        let host_page = first.address() - page_offset;
        protect(cpu, linear, host_page, act)?;
        if Arc::ptr_eq(&map, &cpu.mmu.map) {
            break (first, page_offset, host_page);
        }
        map = Arc::clone(&cpu.mmu.map);
    };

    let mut bytes = [0_u8; MAX_BYTES + MAX_INSTRUCTION];
    let in_page = bytes.len().min(PAGE_SIZE - page_offset);
    let mut available = in_page;
    if !cpu.mode.is64() {
        // Code beyond the limit of CS is not fetched.
        let limit = u64::from(cpu.segments[1].limit);
        let left = (limit + 1).saturating_sub(cpu.rip);
        if left == 0 {
            return Err(cpu.general_protection());
        }
        available = available.min(usize::try_from(left).unwrap_or(usize::MAX));
    }
    read(first, &mut bytes[..available]);

    let mode = cpu.mode;
    let of = (mode, cpu.level);
    let limit = if mode.has(Mode::SINGLE) { 1 } else { MAX_INSTRUCTIONS };
    let mut ops = Vec::with_capacity(32);
    let mut insn = Instruction::default();
    let mut instructions = 0;
    let mut len = 0;
    let mut cacheable = true;
    let mut ended = false;
    let mut decoder = Decoder::with_ip(mode.bits(), &bytes[..available], 0, DecoderOptions::NONE);
    while instructions < limit && len < MAX_BYTES && !ended {
        decoder.decode_out(&mut insn);
        if insn.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes {
            break;
        }
        ended = translate(&insn, of, len, &mut ops);
        instructions += 1;
        len += insn.len();
    }
    if instructions == 0 {
        cacheable = false;
        available = extend(cpu, linear, &mut bytes, available, in_page)?;
        let mut decoder = Decoder::with_ip(mode.bits(), &bytes[..available], 0, DecoderOptions::NONE);
        decoder.decode_out(&mut insn);
        if insn.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes {
            return Err(cpu.general_protection());
        }
        ended = translate(&insn, of, 0, &mut ops);
        instructions = 1;
        len = insn.len();
    }
    if !ended {
        // The instruction at hand may be one that the page cuts off: the end stands behind those translated.
        let mut end = Translator::new(&insn, of, len as u8, &mut ops);
        let op = Op { len: 0, ..end.op(fall) };
        end.push_end(op);
    }
    let block = Block {
        bytes: bytes.get(..len).unwrap_or_default().into(),
        heat: Cell::new(0),
        taken: Cell::new(0),
        code: Cell::new(None),
        plain: Cell::new(false),
        compiled: Cell::new(None),
        ops: ops.into_boxed_slice(),
        offset: page_offset as u16,
        instructions: instructions as u32,
        chain: [Cell::new(NO_BLOCK), Cell::new(NO_BLOCK)],
        dead: Cell::new(false),
    };
    Ok(Built { block, host_page, cacheable })
}

/// Adds an instruction's micro-ops; answers whether they end the block.
fn translate(insn: &Instruction, of: (Mode, Level), start: usize, ops: &mut Vec<Op>) -> bool {
    let mut translator = Translator::new(insn, of, start as u8, ops);
    instructions::translate(&mut translator);
    translator.ended()
}

/// Marks the page as code, so that writes to it are noticed from before it is read.
fn protect(
    cpu: &mut Cpu,
    linear: u64,
    host_page: usize,
    act: &mut dyn FnMut(&mut Cpu, &[Message]),
) -> Result<(), Trap> {
    let gpa = cpu.code_gpa(linear)?;
    let map = Arc::clone(&cpu.mmu.map);
    let Some(mapping) = map.find(gpa) else { return Ok(()) };
    let (watch, page) = mapping.watch_page(gpa);
    if watch.is_watched(page) {
        return Ok(());
    }
    let memory = Arc::clone(&cpu.memory);
    let mailbox = Arc::clone(&cpu.mailbox);
    cpu.mmu.write_protect(host_page);
    memory.protect_code(&mailbox, watch, page, host_page, || serve(cpu, &mailbox, act));
    Ok(())
}

fn serve(cpu: &mut Cpu, mailbox: &Mailbox, act: &mut dyn FnMut(&mut Cpu, &[Message])) {
    let (messages, ticket) = mailbox.collect();
    if !messages.is_empty() {
        act(cpu, &messages);
    }
    mailbox.acted(ticket);
}

/// Reads the bytes of an instruction that go on in the next page.
fn extend(
    cpu: &mut Cpu,
    linear: u64,
    bytes: &mut [u8],
    available: usize,
    in_page: usize,
) -> Result<usize, Trap> {
    if available < in_page {
        // Cut off by the limit of CS.
        return Err(cpu.general_protection());
    }
    let next_page = cpu.wrap((linear | (PAGE_SIZE as u64 - 1)).wrapping_add(1));
    let second = cpu.translate(next_page, Access::Fetch)?;
    let end = (in_page + MAX_INSTRUCTION).min(bytes.len());
    read(second, &mut bytes[in_page..end]);
    Ok(end)
}

fn read(from: HostPtr, bytes: &mut [u8]) {
    from.read_bytes(bytes);
}

/// Ends a block that has no branch.
fn fall(cpu: &mut Cpu, op: &Op, _rest: &[Op]) -> Flow {
    cpu.rip = cpu.next_rip(op);
    Flow::Fall
}
