//! vCPU threads, whatever the architecture: how they are kicked, held and stopped.

#[cfg(test)]
pub(crate) mod counting_vm;
mod doorbell;
mod group;

pub(crate) use doorbell::{Doorbell, MAX_RUN};
pub(crate) use group::{Hold, Order, VcpuGroup};
