//! The framework's C functions up to macOS 11, and safe forms of those that need no vCPU.
//!
//! Prototypes follow the public headers of the macOS 11 SDK. Enumerations are passed as plain integers: an unknown
//! value from a newer system must not be undefined behaviour.
#![allow(unsafe_code)] // foreign functions

use std::ffi::c_void;

use super::check;
use crate::Result;

#[link(name = "Hypervisor", kind = "framework")]
unsafe extern "C" {
    pub(super) fn hv_vm_create(options: u64) -> i32;
    pub(super) fn hv_vm_destroy() -> i32;
    pub(super) fn hv_vm_map(uva: *const c_void, gpa: u64, size: usize, flags: u64) -> i32;
    pub(super) fn hv_vm_unmap(gpa: u64, size: usize) -> i32;
    pub(super) fn hv_vm_protect(gpa: u64, size: usize, flags: u64) -> i32;
    pub(super) fn hv_vm_sync_tsc(tsc: u64) -> i32;
    pub(super) fn hv_tsc_clock() -> u64;
    pub(super) fn hv_vcpu_create(vcpu: *mut u32, options: u64) -> i32;
    pub(super) fn hv_vcpu_destroy(vcpu: u32) -> i32;
    pub(super) fn hv_vcpu_read_register(vcpu: u32, reg: u32, value: *mut u64) -> i32;
    pub(super) fn hv_vcpu_write_register(vcpu: u32, reg: u32, value: u64) -> i32;
    pub(super) fn hv_vcpu_read_fpstate(vcpu: u32, buffer: *mut c_void, size: usize) -> i32;
    pub(super) fn hv_vcpu_write_fpstate(vcpu: u32, buffer: *const c_void, size: usize) -> i32;
    pub(super) fn hv_vcpu_enable_native_msr(vcpu: u32, msr: u32, enable: bool) -> i32;
    pub(super) fn hv_vcpu_enable_managed_msr(vcpu: u32, msr: u32, enable: bool) -> i32;
    pub(super) fn hv_vcpu_set_msr_access(vcpu: u32, msr: u32, flags: u32) -> i32;
    pub(super) fn hv_vcpu_read_msr(vcpu: u32, msr: u32, value: *mut u64) -> i32;
    pub(super) fn hv_vcpu_write_msr(vcpu: u32, msr: u32, value: u64) -> i32;
    pub(super) fn hv_vcpu_invalidate_tlb(vcpu: u32) -> i32;
    pub(super) fn hv_vcpu_run(vcpu: u32) -> i32;
    pub(super) fn hv_vcpu_run_until(vcpu: u32, deadline: u64) -> i32;
    pub(super) fn hv_vcpu_interrupt(vcpus: *mut u32, count: u32) -> i32;
    pub(super) fn hv_vcpu_get_exec_time(vcpu: u32, time: *mut u64) -> i32;
    pub(super) fn hv_vcpu_set_tsc_relative(vcpu: u32, offset: i64) -> i32;
    pub(super) fn hv_vmx_vcpu_read_vmcs(vcpu: u32, field: u32, value: *mut u64) -> i32;
    pub(super) fn hv_vmx_vcpu_write_vmcs(vcpu: u32, field: u32, value: u64) -> i32;
    pub(super) fn hv_vmx_vcpu_get_cap_write_vmcs(
        vcpu: u32,
        field: u32,
        allowed_0: *mut u64,
        allowed_1: *mut u64,
    ) -> i32;
    pub(super) fn hv_vmx_vcpu_set_apic_address(vcpu: u32, gpa: u64) -> i32;
    fn hv_vmx_read_capability(capability: u32, value: *mut u64) -> i32;
    fn hv_vmx_get_msr_info(info: u32, value: *mut u64) -> i32;
    fn hv_capability(capability: u64, value: *mut u64) -> i32;
}

/// `HV_DEADLINE_FOREVER`.
pub(super) const DEADLINE_FOREVER: u64 = u64::MAX;

pub(super) fn vmx_capability(capability: u32) -> Result<u64> {
    let mut value = 0;
    // SAFETY: the out-pointer is valid for the call.
    check("hv_vmx_read_capability", unsafe { hv_vmx_read_capability(capability, &raw mut value) })?;
    Ok(value)
}

pub(super) fn msr_info(info: u32) -> Result<u64> {
    let mut value = 0;
    // SAFETY: the out-pointer is valid for the call.
    check("hv_vmx_get_msr_info", unsafe { hv_vmx_get_msr_info(info, &raw mut value) })?;
    Ok(value)
}

pub(super) fn capability(capability: u64) -> Result<u64> {
    let mut value = 0;
    // SAFETY: the out-pointer is valid for the call.
    check("hv_capability", unsafe { hv_capability(capability, &raw mut value) })?;
    Ok(value)
}
