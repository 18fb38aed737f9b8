//! The instruction behind an MMIO exit, and string port I/O: fetched, decoded and done by the VMM.
//!
//! On an EPT violation hardware says which guest physical address was touched, not what was to happen there. So the
//! instruction is fetched through the guest's page tables at CS:RIP, parsed with iced-x86 and executed here, against
//! small traits: [`GuestContext`] for the CPU, [`MmioAccess`] and [`PortAccess`] for the devices. Nothing depends on
//! the exit's instruction length or linear address, which may be absent. The semantics are written apart from the
//! CPU engine's: the two are tested against each other, and on a Mac these are all there is.
//!
//! ```text
//! fetch ─▶ address (segment, canonical) ─▶ memory (page walk, split, RAM or device) ─▶ execute/* ─▶ retire
//! ```
//!
//! An instruction first finds all its operands, so that every fault comes before the first device access; then it
//! reads, computes and writes. Alignment checking (RFLAGS.AC) and data breakpoints are left to the hardware, which has
//! looked at them before it exited. A LOCK prefix is accepted where it is legal and adds nothing: a device access is
//! one call into the bus.

mod address;
mod context;
mod emulation;
mod error;
mod execute;
mod fetch;
mod flags;
mod memory;
mod operand;

#[cfg(test)]
mod tests;

pub use context::{CodeSize, CpuMode, GuestContext, MmioAccess, PortAccess, Segment, SegmentState};
pub use error::{EmulationError, Exception, Outcome, Stop, Unsupported};

use emulation::Emulation;

/// Elements of a repeated string instruction done per exit; then the vCPU is re-entered so that it can take
/// interrupts, and the instruction, which has not retired, exits again.
pub const MAX_ITERATIONS: u32 = 1024;

/// Executes the instruction at CS:RIP, whose memory access left the guest.
///
/// Whether an operand is RAM or a device is asked of the context byte range by byte range, so copies between any two
/// of them work.
/// # Errors
/// [`EmulationError`]: the instruction is of a kind that is not emulated, or the provider failed. Nothing of the
/// guest has changed then.
pub fn emulate<C: GuestContext>(
    context: &mut C,
    devices: &mut dyn MmioAccess,
) -> Result<Outcome, EmulationError<C::Error>> {
    Emulation::run(context, devices, Emulation::execute)
}

/// Executes the port I/O instruction (IN, OUT, INS, OUTS, with any REP) at CS:RIP, after an I/O exit.
///
/// `devices` is reached when the memory side of INS or OUTS is a device. Whether the guest may use the port has been
/// checked by the hardware.
/// # Errors
/// As [`emulate`].
pub fn emulate_port_io<C: GuestContext>(
    context: &mut C,
    ports: &mut dyn PortAccess,
    devices: &mut dyn MmioAccess,
) -> Result<Outcome, EmulationError<C::Error>> {
    Emulation::run(context, devices, |emulation| emulation.execute_port_io(ports))
}
