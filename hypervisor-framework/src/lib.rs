//! Hypervisor.framework's API in Rust, with two providers.
//!
//! A virtual machine monitor written against [`x86_64`] runs unchanged on a Mac's hypervisor ([`native`], macOS only)
//! and on our own CPU engine ([`soft`], every host). Both guest architectures are modules, compiled on every host.
//!
//! A real-mode guest that halts:
//!
//! ```
//! use std::sync::Arc;
//!
//! use hypervisor_framework::soft::Soft;
//! use hypervisor_framework::x86_64::vmcs::Field;
//! use hypervisor_framework::x86_64::{
//!     Deadline, ExitReason, Hypervisor, MemoryFlags, ProcBased, VcpuOptions, VmOptions, VmxCapability, canonical_control,
//! };
//! use hypervisor_framework::{HostRegion, Result};
//! use vm_memory::{Bytes, VolatileMemory};
//!
//! # fn main() -> Result<()> {
//! let soft = Soft::default();
//! let vm = soft.create_vm(VmOptions::empty())?;
//! let ram = Arc::new(HostRegion::new(0x10000).expect("64 KiB"));
//! ram.as_volatile_slice().write_slice(&[0x90, 0xf4], 0x1000).expect("a NOP and a HLT");
//! vm.map(&ram, 0, 0, 0x10000, MemoryFlags::RWX)?;
//!
//! // Claimed by the thread that runs it. A new vCPU is in its reset state; CS is moved to the program.
//! let mut vcpu = vm.vcpu_ticket(VcpuOptions::empty())?.claim()?;
//! let primary = canonical_control(ProcBased::HLT.bits(), soft.vmx_capability(VmxCapability::PROCBASED)?);
//! vcpu.write_vmcs(Field::CTRL_CPU_BASED, primary.into())?;
//! vcpu.write_vmcs(Field::GUEST_CR0, 0x30)?;
//! vcpu.write_vmcs(Field::GUEST_CR4, 0x2000)?;
//! vcpu.write_vmcs(Field::GUEST_CS, 0x100)?;
//! vcpu.write_vmcs(Field::GUEST_CS_BASE, 0x1000)?;
//! vcpu.write_vmcs(Field::GUEST_RIP, 0)?;
//!
//! let reason = ExitReason(vcpu.run_until(Deadline::Forever)?);
//!
//! assert_eq!(reason, ExitReason::HLT);
//! assert_eq!(vcpu.read_vmcs(Field::GUEST_RIP)?, 1);
//! # Ok(())
//! # }
//! ```

mod error;
pub mod native;
pub mod probe;
pub mod soft;
pub mod x86_64;

pub use engine::{HostRegion, WriteWatch};
pub use error::{Error, Result, ReturnCode};
