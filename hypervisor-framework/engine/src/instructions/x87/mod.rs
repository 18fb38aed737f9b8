//! x87 and MMX.

use crate::block::Translator;

/// The state of the x87 unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fpu {}

/// Translates an x87 or MMX instruction; false if it is none.
pub(crate) fn translate(_t: &mut Translator<'_>) -> bool {
    false
}
