//! Hypervisor.framework's API in Rust, with a native and a software provider.
