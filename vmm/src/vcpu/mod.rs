//! vCPU threads, whatever the architecture: how they are kicked, held and stopped.

#[cfg(test)]
pub(crate) mod counting_vm;
mod doorbell;
mod group;
mod turns;

pub(crate) use doorbell::{Doorbell, MAX_RUN};
pub(crate) use group::{Hold, Order, VcpuGroup};
pub(crate) use turns::{Rest, Turns};
