//! Builds without the portable tier.

use std::sync::Arc;

use crate::block::{Block, BlockId};
use crate::cpu::Cpu;
use crate::cpu::control::Mode;
use crate::memory::Mailbox;

/// Why compiled code was left; it never runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // named by the caller, never made
pub(crate) enum Exited {
    Find,
    Look,
    Stop,
    Trap,
}

/// Where a region's code would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compiled;

/// There is none: [`Self::new`] makes no value.
pub(crate) enum Portable {}

#[allow(clippy::needless_pass_by_ref_mut, clippy::unused_self)] // the seam's signatures
impl Portable {
    pub(crate) fn new(_cache: usize) -> Option<Self> {
        None
    }
    pub(crate) fn takes(_mode: Mode) -> bool {
        false
    }
    pub(crate) fn requested(&self, _: BlockId) -> bool {
        match *self {}
    }
    pub(crate) fn request<'a>(
        &mut self,
        _: BlockId,
        _: impl Fn(BlockId) -> Option<&'a Block>,
        _: &Arc<Mailbox>,
    ) {
        match *self {}
    }
    pub(crate) fn compile<'a>(
        &mut self,
        _: BlockId,
        _: impl Fn(BlockId) -> Option<&'a Block>,
    ) -> Option<Compiled> {
        match *self {}
    }
    pub(crate) fn install(&mut self, _: impl Fn(BlockId) -> bool) -> (Vec<(BlockId, Compiled)>, bool) {
        match *self {}
    }
    pub(crate) fn run(&mut self, _: &mut Cpu, _: Compiled, _: u64) -> (Exited, u64) {
        match *self {}
    }
    pub(crate) fn remember(&mut self, _: Compiled, _: usize, _: bool) {
        match *self {}
    }
    pub(crate) fn forget(&mut self) {
        match *self {}
    }
    pub(crate) fn clear(&mut self) {
        match *self {}
    }
    pub(crate) fn footprint(&self) -> usize {
        match *self {}
    }
}
