//! Instructions that cross a page: executed alone, and decoded again only if their bytes are other ones.

use super::Block;
use crate::cpu::Cpu;
use crate::exit::Access;
use crate::memory::PAGE_SIZE;

/// log2 of the entries.
const BITS: u32 = 8;
/// Longest x86 instruction, bytes.
const MAX_INSTRUCTION: usize = 15;

struct Kept {
    host: usize,
    mode: u8,
    block: Block,
}

/// Blocks of one such instruction by the host address it begins at. Each use compares the bytes, so nothing has to be
/// dropped.
pub(crate) struct Crossing(Box<[Option<Kept>]>);

fn index(host: usize) -> usize {
    (host / PAGE_SIZE) & ((1 << BITS) - 1)
}

impl Crossing {
    pub(crate) fn new() -> Self {
        Self((0..1 << BITS).map(|_| None).collect())
    }

    /// The block at the CPU's RIP, which is at that host address, out of its place.
    pub(crate) fn take(&mut self, cpu: &mut Cpu, host: usize, mode: u8) -> Option<Block> {
        let place = self.0.get_mut(index(host))?;
        let kept = place.take_if(|kept| kept.host == host && kept.mode == mode)?;
        let mut bytes = [0; MAX_INSTRUCTION];
        let bytes = bytes.get_mut(..kept.block.bytes.len())?;
        let (head, tail) = bytes.split_at_mut_checked(PAGE_SIZE - host % PAGE_SIZE)?;
        let linear = cpu.code_address(cpu.rip);
        let next_page = cpu.wrap((linear | (PAGE_SIZE as u64 - 1)).wrapping_add(1));
        cpu.translate(linear, Access::Fetch).ok()?.read_bytes(head);
        cpu.translate(next_page, Access::Fetch).ok()?.read_bytes(tail);
        (*kept.block.bytes == *bytes).then_some(kept.block)
    }

    /// Bytes it takes.
    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.0) + self.0.iter().flatten().map(|kept| kept.block.allocated()).sum::<usize>()
    }

    /// Keeps a block for the next time.
    pub(crate) fn put(&mut self, host: usize, mode: u8, block: Block) {
        if let Some(place) = self.0.get_mut(index(host)) {
            *place = Some(Kept { host, mode, block });
        }
    }
}
