//! A guest's console: where the bytes of COM1 or of a virtio console go to and come from, and what is seen in them.

mod endpoint;
mod escape;
mod expect;
mod milestones;
mod output;
mod pump;
mod terminal;

pub use endpoint::EndpointError;
pub use escape::{ESCAPE_HELP, Escape, Key};
pub use expect::ExpectPattern;
pub use terminal::Terminal;

pub(crate) use endpoint::Place;
pub(crate) use milestones::Milestone;
pub(crate) use output::{OutputEvents, OutputQueue, OutputSink};
pub(crate) use pump::{Attention, Console, Seen};
