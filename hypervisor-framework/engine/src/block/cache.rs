//! Finding blocks: by host page and offset, and quickly by instruction pointer.

use std::collections::HashMap;

use super::Block;
use crate::cpu::control::Mode;
use crate::memory::PAGE_SIZE;
use crate::mmu::Flush;
use crate::os::{Code, Translator};

/// Index of a block in the cache.
pub(crate) type BlockId = u32;
/// No block.
pub(crate) const NO_BLOCK: BlockId = u32::MAX;

/// log2 of the entries of the jump cache.
const JUMP_BITS: u32 = 13;
/// log2 of the entries that the addresses of one page share, so that a page can be forgotten by itself.
const JUMP_PAGE_BITS: u32 = 6;
/// Micro-ops kept before everything is dropped: 32 bytes each.
const MAX_OPS: usize = 4 << 20;

/// By linear instruction pointer and mode.
#[derive(Clone, Copy)]
struct Jump {
    linear: u64,
    mode: u8,
    global: bool,
    /// Of its making: void once [`BlockCache::generations`] has another for its kind.
    generation: u32,
    block: BlockId,
}

const NO_JUMP: Jump = Jump { linear: u64::MAX, mode: 0, global: false, generation: 0, block: NO_BLOCK };

/// The translated blocks of one CPU.
pub(crate) struct BlockCache {
    blocks: Vec<Block>,
    /// Host page → (offset in page, mode) → block.
    pages: HashMap<usize, Vec<(u16, u8, BlockId)>, PageHash>,
    jumps: Box<[Jump]>,
    /// Of jumps to private and to global pages: forgetting them all is one step.
    generations: [u32; 2],
    ops: usize,
    /// Makes host code of hot blocks, where the host can.
    pub(crate) translator: Option<Translator>,
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
            generations: [0; 2],
            ops: 0,
            translator: None,
            translated: 0,
            dropped: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, id: BlockId) -> Option<&Block> {
        self.blocks.get(id as usize)
    }

    #[inline(always)]
    fn jump_index(linear: u64) -> usize {
        let page = linear >> 12 ^ linear >> (12 + JUMP_BITS - JUMP_PAGE_BITS);
        let low = (linear ^ linear >> JUMP_PAGE_BITS) & ((1 << JUMP_PAGE_BITS) - 1);
        ((page << JUMP_PAGE_BITS | low) & ((1 << JUMP_BITS) - 1)) as usize
    }

    /// The block at a linear address, if it was found there lately and nothing has changed since.
    #[inline(always)]
    pub(crate) fn jump(&self, linear: u64, mode: u8) -> Option<BlockId> {
        let jump = self.jumps.get(Self::jump_index(linear))?;
        let current = jump.generation == self.generations[usize::from(jump.global)];
        (jump.linear == linear && jump.mode == mode && current).then_some(jump.block)
    }

    /// Remembers a block for [`Self::jump`].
    pub(crate) fn remember(&mut self, linear: u64, mode: u8, global: bool, block: BlockId) {
        if let Some(jump) = self.jumps.get_mut(Self::jump_index(linear)) {
            let generation = self.generations[usize::from(global)];
            *jump = Jump { linear, mode, global, generation, block };
        }
    }

    /// Forgets jumps after a change of translations.
    pub(crate) fn flush_jumps(&mut self, flush: Flush) {
        if let Some(translator) = &mut self.translator {
            translator.flush(flush);
        }
        match flush {
            Flush::None => {}
            Flush::All => self.forget(true),
            Flush::NonGlobal => self.forget(false),
            Flush::Page(page) => {
                let first = Self::jump_index(page) & !((1 << JUMP_PAGE_BITS) - 1);
                for jump in self.jumps.iter_mut().skip(first).take(1 << JUMP_PAGE_BITS) {
                    *jump = NO_JUMP;
                }
            }
        }
    }

    /// Forgets the jumps to private pages, or all.
    fn forget(&mut self, global: bool) {
        for generation in self.generations.iter_mut().take(1 + usize::from(global)) {
            *generation = generation.wrapping_add(1);
            if *generation == 0 {
                self.jumps.fill(NO_JUMP);
            }
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
        if self.ops + block.ops.len() > MAX_OPS || self.blocks.len() >= NO_BLOCK as usize - 1 {
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
        for (_, _, id) in blocks {
            if let Some(block) = self.blocks.get_mut(id as usize) {
                block.dead.set(true);
                if let (Some(code), Some(translator)) = (block.code.take(), &mut self.translator) {
                    translator.drop_block(code);
                }
                self.ops -= block.ops.len();
                block.ops = Box::default();
                self.dropped += 1;
            }
        }
        self.forget(true);
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.pages.clear();
        self.jumps.fill(NO_JUMP);
        self.ops = 0;
        if let Some(translator) = &mut self.translator {
            translator.clear();
        }
    }

    /// Makes host code of a block, if its mode has it.
    pub(crate) fn translate(&mut self, id: BlockId, mode: Mode) -> Option<Code> {
        let translator = self.translator.as_mut()?;
        let block = self.blocks.get(id as usize)?;
        if !Translator::takes(mode) || block.dead.get() {
            return None;
        }
        let mut code = translator.translate(&block.ops, &block.bytes, block.offset, block.instructions, mode);
        if code.is_none() {
            translator.clear();
            for other in &self.blocks {
                other.code.set(None);
            }
            code = translator.translate(&block.ops, &block.bytes, block.offset, block.instructions, mode);
        }
        block.code.set(code);
        code
    }

    /// Bytes the blocks and their look-up take.
    pub(crate) fn footprint(&self) -> usize {
        self.translator.as_ref().map_or(0, Translator::footprint)
            + self.ops * size_of::<super::Op>()
            + self.blocks.capacity() * size_of::<Block>()
            + self.blocks.iter().map(|block| block.bytes.len()).sum::<usize>()
            + size_of_val(&*self.jumps)
            + self.pages.values().map(|page| page.capacity() * 8 + 64).sum::<usize>()
    }
}
