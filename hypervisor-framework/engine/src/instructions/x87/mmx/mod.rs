//! MMX.

use crate::block::Translator;

/// Translates an MMX instruction; false if it is none.
pub(super) fn translate(_t: &mut Translator<'_>) -> bool {
    false
}
