//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a guest with disks, connections and shared folders has use for.
const WANTED: u64 = 65_536;

/// What macOS allows where it claims to set no limit (`OPEN_MAX`).
const FALLBACK: u64 = 10_240;

/// Raises the limit as far as there is use for it: 256 on macOS and 1,024 on Linux unless somebody did. A host that refuses
/// leaves it as it is, and what does not find a descriptor then says so.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    for wanted in [WANTED, FALLBACK] {
        let Some(current) = raised(limit, wanted) else { return };
        if setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).is_ok() {
            return;
        }
    }
}

/// The limit to set, if it is to be raised.
fn raised(limit: Rlimit, wanted: u64) -> Option<u64> {
    let wanted = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
    limit.current.is_some_and(|current| current < wanted).then_some(wanted)
}

#[cfg(test)]
#[path = "descriptors_test.rs"]
mod descriptors_test;
