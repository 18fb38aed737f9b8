//! Declarations of vmnet.framework (vmnet/vmnet.h), and of what it needs of XPC and dispatch, which the C library has.

use std::ffi::{c_char, c_int, c_void};

/// `interface_ref`.
pub(super) type Interface = *mut c_void;
/// `xpc_object_t`.
pub(super) type XpcObject = *mut c_void;
/// `dispatch_queue_t`.
pub(super) type DispatchQueue = *mut c_void;

/// `struct vmpktdesc`.
#[repr(C)]
pub(super) struct PacketDescription {
    pub(super) size: usize,
    pub(super) pieces: *mut libc::iovec,
    pub(super) piece_count: u32,
    pub(super) flags: u32,
}

/// `operating_modes_t`.
pub(super) const HOST_MODE: u64 = 1000;
pub(super) const SHARED_MODE: u64 = 1001;
pub(super) const BRIDGED_MODE: u64 = 1002;

/// `VMNET_INTERFACE_PACKETS_AVAILABLE`.
pub(super) const PACKETS_AVAILABLE: u32 = 1;

/// `vmnet_return_t`.
pub(super) const SUCCESS: u32 = 1000;
pub(super) const FAILURE: u32 = 1001;
pub(super) const MEM_FAILURE: u32 = 1002;
pub(super) const INVALID_ARGUMENT: u32 = 1003;
pub(super) const SETUP_INCOMPLETE: u32 = 1004;
pub(super) const INVALID_ACCESS: u32 = 1005;
pub(super) const PACKET_TOO_BIG: u32 = 1006;
pub(super) const BUFFER_EXHAUSTED: u32 = 1007;
pub(super) const TOO_MANY_PACKETS: u32 = 1008;
pub(super) const SHARING_SERVICE_BUSY: u32 = 1009;
pub(super) const NOT_AUTHORIZED: u32 = 1010;

#[link(name = "vmnet", kind = "framework")]
unsafe extern "C" {
    pub(super) static vmnet_operation_mode_key: *const c_char;
    pub(super) static vmnet_shared_interface_name_key: *const c_char;
    pub(super) static vmnet_mac_address_key: *const c_char;
    pub(super) static vmnet_mtu_key: *const c_char;
    pub(super) static vmnet_max_packet_size_key: *const c_char;

    pub(super) fn vmnet_start_interface(
        description: XpcObject,
        queue: DispatchQueue,
        handler: *const c_void,
    ) -> Interface;
    pub(super) fn vmnet_stop_interface(
        interface: Interface,
        queue: DispatchQueue,
        handler: *const c_void,
    ) -> u32;
    pub(super) fn vmnet_interface_set_event_callback(
        interface: Interface,
        events: u32,
        queue: DispatchQueue,
        handler: *const c_void,
    ) -> u32;
    pub(super) fn vmnet_read(interface: Interface, packets: *mut PacketDescription, count: *mut c_int)
    -> u32;
    pub(super) fn vmnet_write(
        interface: Interface,
        packets: *mut PacketDescription,
        count: *mut c_int,
    ) -> u32;
}

unsafe extern "C" {
    pub(super) fn xpc_dictionary_create(
        keys: *const *const c_char,
        values: *const XpcObject,
        count: usize,
    ) -> XpcObject;
    pub(super) fn xpc_dictionary_set_uint64(dictionary: XpcObject, key: *const c_char, value: u64);
    pub(super) fn xpc_dictionary_set_string(dictionary: XpcObject, key: *const c_char, value: *const c_char);
    pub(super) fn xpc_dictionary_get_uint64(dictionary: XpcObject, key: *const c_char) -> u64;
    pub(super) fn xpc_dictionary_get_string(dictionary: XpcObject, key: *const c_char) -> *const c_char;
    pub(super) fn xpc_release(object: XpcObject);

    pub(super) fn dispatch_queue_create(label: *const c_char, attributes: *mut c_void) -> DispatchQueue;
    pub(super) fn dispatch_release(queue: DispatchQueue);
}
