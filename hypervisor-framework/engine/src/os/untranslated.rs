//! Hosts without a translator: every block is interpreted.

use crate::Level;
use crate::block::Block;
use crate::cpu::Cpu;
use crate::cpu::control::Mode;

/// The interpreter has no host instructions.
pub(crate) fn host_level() -> Level {
    Level::V2
}

/// Why generated code was left; it never runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // named by the caller, never made
pub(crate) enum Left {
    Find(Link),
    Vain(u64),
    Look,
    Stop,
    Trap,
}

/// See [`Left`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link;

/// Where a block's code would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code;

/// There is none: [`Self::new`] makes no value.
pub(crate) enum Translator {}

#[allow(clippy::needless_pass_by_ref_mut, clippy::unused_self)] // the seam's signatures
impl Translator {
    pub(crate) fn new(_cache: usize, _level: Level) -> Option<Self> {
        None
    }
    pub(crate) fn takes(_mode: Mode) -> bool {
        false
    }
    pub(crate) fn translate(&mut self, _: &[&Block], _: Mode) -> Option<Code> {
        match *self {}
    }
    pub(crate) fn run(&mut self, _: &mut Cpu, _: Code, _: u64) -> (Left, u64) {
        match *self {}
    }
    pub(crate) fn link(&mut self, _: Link, _: Code, _: usize) {
        match *self {}
    }
    pub(crate) fn remember(&mut self, _: Code, _: usize, _: bool) {
        match *self {}
    }
    pub(crate) fn replace(&mut self, _: Code, _: Option<Code>) {
        match *self {}
    }
    pub(crate) fn drop_block(&mut self, _: Code) {
        match *self {}
    }
    pub(crate) fn clear(&mut self) {
        match *self {}
    }
    pub(crate) fn footprint(&self) -> usize {
        match *self {}
    }
}
