//! The instruction's bytes, through the guest's page tables.

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};

use super::address::canonical;
use super::context::{CodeSize, CpuMode, GuestContext, Segment};
use super::error::{Exception, Stop, Unsupported};
use crate::x86_64::paging::Access;

/// No instruction is longer (SDM vol. 2A §2.3.11).
const MAX_LENGTH: u64 = 15;
const PAGE: u64 = 0x1000;

/// A decoded instruction.
pub(super) struct Fetched {
    pub(super) instruction: Instruction,
    /// RIP after it.
    pub(super) next_rip: u64,
}

/// Fetches and decodes the instruction at CS:`rip`; `bytes` receives what was read, for messages.
///
/// The second page is touched only if the instruction reaches into it.
pub(super) fn fetch<C: GuestContext>(
    context: &mut C,
    mode: CpuMode,
    rip: u64,
    bytes: &mut Vec<u8>,
) -> Result<Fetched, Stop<C::Error>> {
    let (bitness, base, rip, allowed) = match mode.code {
        CodeSize::Bits64 => (64, 0, rip, MAX_LENGTH),
        CodeSize::Bits32 | CodeSize::Bits16 => {
            let eip = rip & 0xffff_ffff;
            let bitness = if mode.code == CodeSize::Bits16 { 16 } else { 32 };
            let cs = context.segment(Segment::Cs).map_err(Stop::Context)?;
            // Bytes from EIP to the limit, which is itself part of the segment.
            let left = (u64::from(cs.limit) + 1).saturating_sub(eip);
            (bitness, cs.base, eip, left.min(MAX_LENGTH))
        }
    };
    loop {
        let have = bytes.len() as u64;
        if have >= allowed {
            // The limit, or longer than an instruction can be.
            return Err(Exception::general_protection().into());
        }
        let at = base.wrapping_add(rip).wrapping_add(have);
        let linear = if bitness == 64 { at } else { at & 0xffff_ffff };
        if bitness == 64 && !canonical(linear, mode.linear_bits) {
            return Err(Exception::general_protection().into());
        }
        let gpa = context.translate(linear, Access::Fetch)?;
        let size = (allowed - have).min(PAGE - linear % PAGE);
        let mut chunk = [0; MAX_LENGTH as usize];
        let chunk = chunk.get_mut(..size as usize).unwrap_or_default();
        if !context.read_ram(gpa, chunk) {
            return Err(Unsupported::FetchFromDevice.into());
        }
        bytes.extend_from_slice(chunk);

        let mut decoder = Decoder::with_ip(bitness, bytes, rip, DecoderOptions::NONE);
        let instruction = decoder.decode();
        match decoder.last_error() {
            DecoderError::None => {
                let next = rip.wrapping_add(instruction.len() as u64);
                let next_rip = match mode.code {
                    CodeSize::Bits16 => next & 0xffff,
                    CodeSize::Bits32 => next & 0xffff_ffff,
                    CodeSize::Bits64 => next,
                };
                bytes.truncate(instruction.len());
                return Ok(Fetched { instruction, next_rip });
            }
            DecoderError::NoMoreBytes => {}
            // The decoder gave up at the longest length: #GP, not #UD.
            _ if decoder.position() as u64 >= MAX_LENGTH => {
                return Err(Exception::general_protection().into());
            }
            _ if is_evex(bytes, bitness) => return Err(Unsupported::Encoding.into()),
            _ => return Err(Exception::invalid_opcode().into()),
        }
    }
}

/// An instruction of AVX-512, which the decoder is built without: its tables would stay in memory (SDM vol. 2, 2.7.1).
fn is_evex(bytes: &[u8], bitness: u32) -> bool {
    let mut behind_prefixes =
        bytes.iter().skip_while(|byte| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67));
    behind_prefixes.next() == Some(&0x62)
        && (bitness == 64 || behind_prefixes.next().is_some_and(|byte| byte >> 6 == 3))
}
