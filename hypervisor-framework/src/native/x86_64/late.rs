//! Functions newer than macOS 11, looked up at run time: a linked reference would stop the program on macOS 11.
#![allow(unsafe_code)] // dlsym and calls through what it finds

use std::ffi::c_void;
use std::sync::OnceLock;

use super::check;
use crate::{Error, Result, ReturnCode};

type VmxStatus = unsafe extern "C" fn(vcpu: u32, status: *mut u32) -> i32;
type IdleTime = unsafe extern "C" fn(vcpu: u32, time: *mut u64) -> i32;

/// What this system has. Found once; read-only from then on.
struct Late {
    vmx_status: Option<VmxStatus>,
    idle_time: Option<IdleTime>,
}

fn late() -> &'static Late {
    static LATE: OnceLock<Late> = OnceLock::new();
    LATE.get_or_init(|| Late {
        // SAFETY: the symbol, where it exists, is a C function of this prototype (macOS 12 headers).
        vmx_status: lookup(c"hv_vcpu_vmx_status")
            .map(|f| unsafe { std::mem::transmute::<*mut c_void, VmxStatus>(f) }),
        // SAFETY: as above.
        idle_time: lookup(c"hv_vcpu_get_idle_time")
            .map(|f| unsafe { std::mem::transmute::<*mut c_void, IdleTime>(f) }),
    })
}

fn lookup(name: &std::ffi::CStr) -> Option<*mut c_void> {
    // SAFETY: `name` is NUL-terminated; RTLD_DEFAULT searches the images already loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

const fn missing(call: &'static str) -> Error {
    Error { call, code: ReturnCode::UNSUPPORTED }
}

/// `hv_vcpu_vmx_status`, macOS 12. To be called on the vCPU's thread.
pub(super) fn vmx_status(vcpu: u32) -> Result<u32> {
    let function = late().vmx_status.ok_or(missing("hv_vcpu_vmx_status"))?;
    let mut status = 0;
    // SAFETY: the out-pointer is valid for the call.
    check("hv_vcpu_vmx_status", unsafe { function(vcpu, &raw mut status) })?;
    Ok(status)
}

/// `hv_vcpu_get_idle_time`, macOS 12. To be called on the vCPU's thread.
pub(super) fn idle_time_ns(vcpu: u32) -> Result<u64> {
    let function = late().idle_time.ok_or(missing("hv_vcpu_get_idle_time"))?;
    let mut time = 0;
    // SAFETY: the out-pointer is valid for the call.
    check("hv_vcpu_get_idle_time", unsafe { function(vcpu, &raw mut time) })?;
    Ok(time)
}
