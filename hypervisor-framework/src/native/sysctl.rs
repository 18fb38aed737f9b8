//! sysctl by name.
#![allow(unsafe_code)] // libc calls

use std::ffi::CStr;

/// A 4- or 8-byte integer; `None` when the name does not exist or has another size.
pub(super) fn integer(name: &CStr) -> Option<i64> {
    let mut bytes = [0_u8; 8];
    let size = read(name, &mut bytes)?;
    match size {
        4 => Some(i64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))),
        8 => Some(i64::from_le_bytes(bytes)),
        _ => None,
    }
}

/// A string of at most 255 bytes.
pub(super) fn string(name: &CStr) -> Option<String> {
    let mut bytes = [0_u8; 256];
    let size = read(name, &mut bytes)?;
    let text = CStr::from_bytes_until_nul(bytes.get(..size)?).ok()?;
    Some(text.to_string_lossy().into_owned())
}

fn read(name: &CStr, buffer: &mut [u8]) -> Option<usize> {
    let mut size = buffer.len();
    // SAFETY: `name` is NUL-terminated, `buffer` is writable for `size` bytes, and nothing is set.
    let result = unsafe {
        libc::sysctlbyname(name.as_ptr(), buffer.as_mut_ptr().cast(), &raw mut size, std::ptr::null_mut(), 0)
    };
    (result == 0).then_some(size)
}
