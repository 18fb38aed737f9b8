//! SSE to SSE4.2.

use crate::block::Translator;

/// Translates an SSE instruction; false if it is none.
pub(crate) fn translate(_t: &mut Translator<'_>) -> bool {
    false
}
