//! Interrupts: lines, messages, and the controllers between a device and a vCPU.
//!
//! ```text
//! device ─IrqLine─▶ IsaWiring ─▶ Pic8259Pair ─INT─▶ LINT0 of every LocalApic
//!                       └──────▶ IoApic ─InterruptMessage─▶ InterruptFabric ─▶ ApicMailbox ─▶ LocalApic ─▶ vCPU
//! device ─MsiTarget──────────────────────────────────────────────▲                 │
//! LocalApic (IPI) ───────────────────────────────────────────────┘      VcpuWaker ◀┘
//! ```

mod fabric;
mod io_apic;
mod isa_wiring;
mod line;
mod local_apic;
mod mailbox;
mod message;
mod pic8259;

pub use fabric::{EoiListener, InterruptFabric, VcpuWaker};
pub use io_apic::{IoApic, spec as io_apic_spec};
pub use isa_wiring::IsaWiring;
pub use line::{IrqInput, IrqLine, LineSplit, WiredOr};
pub use local_apic::{
    Deliverable, ExtIntSource, GeneralProtection, LocalApic, LocalApicConfig, NoSuchVcpu, VcpuEvent,
    spec as local_apic_spec,
};
pub use mailbox::ApicMailbox;
pub use message::{DeliveryMode, Destination, InterruptMessage, MsiMessage, MsiTarget, Trigger};
pub use pic8259::{Pic8259Pair, spec as pic8259_spec};
