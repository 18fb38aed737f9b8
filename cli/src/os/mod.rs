//! What depends on the host's system.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod gnu;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) use gnu::return_large_allocations;

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod elsewhere;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) use elsewhere::return_large_allocations;
