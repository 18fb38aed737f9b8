//! Where unpacked kernels are kept when no flag says otherwise.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The folder of rvmm among the user's caches; `None` for who has no home, or goes by somebody else's.
pub(crate) fn of_user() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder(env::consts::OS, variable("XDG_CACHE_HOME"), variable("HOME"))?;
    // Under sudo, home may still be the caller's; files of root's there would be in their way.
    let owner = folder.ancestors().find_map(|path| fs::metadata(path).ok())?.uid();
    (owner == rustix::process::geteuid().as_raw()).then_some(folder)
}

/// As the XDG Base Directory Specification says, and where a Mac has caches.
fn folder(os: &str, caches: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let below_home = if os == "macos" { "Library/Caches" } else { ".cache" };
    let caches = caches.or_else(|| Some(home?.join(below_home)))?;
    Some(caches.join("rvmm"))
}

#[cfg(test)]
#[path = "cache_folder_test.rs"]
mod cache_folder_test;
