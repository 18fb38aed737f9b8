//! Finding blocks: by host page and offset, and quickly by instruction pointer.

use std::collections::HashMap;
use std::sync::Arc;

use super::Block;
use super::crossing::Crossing;
use crate::cpu::control::Mode;
use crate::memory::{Mailbox, PAGE_SIZE};
use crate::os::{Code, Compiled, Portable, Translator};

/// Index of a block in the cache.
pub(crate) type BlockId = u32;
/// No block.
pub(crate) const NO_BLOCK: BlockId = u32::MAX;

/// log2 of the entries of the jump cache.
const JUMP_BITS: u32 = 14;
/// Micro-ops kept before everything is dropped: 32 bytes each.
const MAX_OPS: usize = 2 << 20;
/// Blocks kept, those included that were dropped, before everything is: a guest may write code for ever.
const MAX_BLOCKS: usize = MAX_OPS / 2;

/// By host address and mode: the TLB has said which page a linear address is in, so no flush of it concerns this.
#[derive(Clone, Copy)]
struct Jump {
    host: usize,
    block: BlockId,
    mode: u8,
}

const NO_JUMP: Jump = Jump { host: 0, block: NO_BLOCK, mode: 0 };

/// The translated blocks of one CPU.
pub(crate) struct BlockCache {
    blocks: Vec<Block>,
    /// Host page → (offset in page, mode) → block.
    pages: HashMap<usize, Vec<(u16, u8, BlockId)>, PageHash>,
    jumps: Box<[Jump]>,
    /// Instructions that cross a page.
    pub(crate) crossing: Crossing,
    ops: usize,
    /// Bytes that blocks took when they were last dropped: the allocator keeps them for those to come.
    kept: usize,
    /// Makes host code of hot blocks, where the host can.
    pub(crate) translator: Option<Translator>,
    /// Compiles hot regions in the background, where that is wanted.
    pub(crate) portable: Option<Portable>,
    /// Blocks translated since the start.
    pub(crate) translated: u64,
    /// Blocks dropped because their code was overwritten.
    pub(crate) dropped: u64,
}

/// Page addresses need no strong hash.
#[derive(Default, Clone)]
pub(crate) struct PageHash(u64);

impl std::hash::BuildHasher for PageHash {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl std::hash::Hasher for PageHash {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }
    fn write_usize(&mut self, value: usize) {
        self.0 = (self.0 ^ value as u64 >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

impl BlockCache {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            pages: HashMap::default(),
            jumps: vec![NO_JUMP; 1 << JUMP_BITS].into_boxed_slice(),
            crossing: Crossing::new(),
            ops: 0,
            kept: 0,
            translator: None,
            portable: None,
            translated: 0,
            dropped: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, id: BlockId) -> Option<&Block> {
        self.blocks.get(id as usize)
    }

    #[inline(always)]
    fn jump_index(host: usize) -> usize {
        (host ^ host >> 12) & ((1 << JUMP_BITS) - 1)
    }

    /// The block at a host address, if it was found there lately. It may be dead.
    #[inline(always)]
    pub(crate) fn jump(&self, host: usize, mode: u8) -> Option<BlockId> {
        let jump = self.jumps.get(Self::jump_index(host))?;
        (jump.host == host && jump.mode == mode).then_some(jump.block)
    }

    /// Remembers a block for [`Self::jump`].
    pub(crate) fn remember(&mut self, host: usize, mode: u8, block: BlockId) {
        if let Some(jump) = self.jumps.get_mut(Self::jump_index(host)) {
            *jump = Jump { host, block, mode };
        }
    }

    /// The block at an offset of a host page.
    pub(crate) fn find(&self, host: usize, mode: u8) -> Option<BlockId> {
        let offset = (host & (PAGE_SIZE - 1)) as u16;
        let blocks = self.pages.get(&(host & !(PAGE_SIZE - 1)))?;
        blocks.iter().find(|(o, m, _)| *o == offset && *m == mode).map(|(_, _, id)| *id)
    }

    /// Adds a block.
    pub(crate) fn insert(&mut self, host_page: usize, mode: u8, block: Block) -> BlockId {
        if self.ops + block.ops.len() > MAX_OPS || self.blocks.len() >= MAX_BLOCKS {
            self.clear();
        }
        self.translated += 1;
        self.ops += block.ops.len();
        let id = self.blocks.len() as BlockId;
        let offset = block.offset;
        self.blocks.push(block);
        self.pages.entry(host_page).or_default().push((offset, mode, id));
        id
    }

    /// Drops the blocks of a host page.
    pub(crate) fn drop_page(&mut self, host_page: usize) {
        let Some(blocks) = self.pages.remove(&host_page) else { return };
        let mut compiled = false;
        for (_, _, id) in blocks {
            if let Some(block) = self.blocks.get_mut(id as usize) {
                block.dead.set(true);
                if let (Some(code), Some(translator)) = (block.code.take(), &mut self.translator) {
                    translator.drop_block(code);
                }
                compiled |= block.compiled.take().is_some();
                self.ops -= block.ops.len();
                block.ops = Box::default();
                block.bytes = Box::default();
                self.dropped += 1;
            }
        }
        if compiled && let Some(portable) = &mut self.portable {
            portable.forget();
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.kept = self.kept.max(self.held());
        self.blocks = Vec::new();
        self.pages.clear();
        self.jumps.fill(NO_JUMP);
        self.ops = 0;
        if let Some(translator) = &mut self.translator {
            translator.clear();
        }
        if let Some(portable) = &mut self.portable {
            portable.clear();
        }
    }

    /// Asks for the region that starts with a block to be compiled, or waits for that.
    pub(crate) fn request(
        &mut self,
        id: BlockId,
        mode: Mode,
        wait: bool,
        mailbox: &Arc<Mailbox>,
    ) -> Option<Compiled> {
        let portable = self.portable.as_mut()?;
        if !Portable::takes(mode) || portable.requested(id) {
            return None;
        }
        let blocks = &self.blocks;
        let get = |id| blocks.get(id as usize);
        if !wait {
            portable.request(id, get, mailbox);
            return None;
        }
        let mut code = portable.compile(id, get);
        if code.is_none() {
            // There may be no room left.
            portable.clear();
            for block in blocks {
                block.compiled.set(None);
            }
            code = portable.compile(id, get);
        }
        get(id)?.compiled.set(code);
        code
    }

    /// Takes in what has been compiled.
    pub(crate) fn install(&mut self) {
        let Some(portable) = &mut self.portable else { return };
        let blocks = &self.blocks;
        let (made, full) =
            portable.install(|id| blocks.get(id as usize).is_some_and(|block| !block.dead.get()));
        if full {
            for block in blocks {
                block.compiled.set(None);
            }
        }
        for (id, code) in made {
            if let Some(block) = blocks.get(id as usize) {
                block.compiled.set(Some(code));
            }
        }
    }

    /// Makes host code of a block and of what mostly follows it, if its mode has it.
    pub(crate) fn translate(&mut self, id: BlockId, mode: Mode) -> Option<Code> {
        let translator = self.translator.as_mut()?;
        let block = self.blocks.get(id as usize)?;
        if !Translator::takes(mode) || block.dead.get() {
            return None;
        }
        let (parts, count) = super::path::likely(&self.blocks, block);
        let parts = parts.get(..count)?;
        let mut code = translator.translate(parts, mode);
        if code.is_none() {
            translator.clear();
            for other in &self.blocks {
                other.code.set(None);
            }
            code = translator.translate(parts, mode);
        }
        block.code.set(code);
        code
    }

    /// Translates the block at a host address anew, without held look-ups.
    pub(crate) fn make_plain(&mut self, host: usize, mode: Mode) {
        let Some(id) = self.find(host, mode.0) else { return };
        let Some(block) = self.get(id) else { return };
        block.plain.set(true);
        let Some(old) = block.code.take() else { return };
        let code = self.translate(id, mode);
        if let Some(translator) = &mut self.translator {
            translator.replace(old, code);
        }
    }

    /// Bytes the blocks and their look-up take.
    pub(crate) fn footprint(&self) -> usize {
        self.translator.as_ref().map_or(0, Translator::footprint)
            + self.portable.as_ref().map_or(0, Portable::footprint)
            + self.blocks.len() * size_of::<Block>()
            + size_of_val(&*self.jumps)
            + self.crossing.footprint()
            + self.held().max(self.kept)
    }

    /// Bytes allocated for blocks, piece by piece.
    fn held(&self) -> usize {
        self.blocks.iter().map(Block::allocated).sum::<usize>()
            + self.pages.values().map(|page| allocated(page.capacity() * 8) + 64).sum::<usize>()
    }
}

impl Block {
    /// Bytes allocated for it beside itself.
    pub(super) fn allocated(&self) -> usize {
        allocated(size_of_val(&*self.ops)) + allocated(self.bytes.len())
    }
}

/// What an allocation of `bytes` takes: allocators keep a word of their own with each and deal in 16 bytes, from 32 on.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + size_of::<usize>()).next_multiple_of(16).max(32) }
}

#[cfg(test)]
#[path = "cache_test.rs"]
mod cache_test;
