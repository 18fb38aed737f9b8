//! The architectural state of one CPU.

pub(crate) mod control;
pub(crate) mod descriptor;
pub(crate) mod flags;
pub(crate) mod segment;
pub(crate) mod snapshot;
mod stack;
mod state;
mod trap;

use std::sync::Arc;

use crate::exit::Exit;
use crate::intercept::Intercepts;
use crate::memory::{Mailbox, PhysicalMemory};
use crate::mmu::Mmu;
use crate::{DescriptorTable, Event, Segment, Sequence};

use control::Mode;
use flags::Flags;
pub(crate) use stack::Stack;
pub(crate) use trap::{Trap, TrapCause, vector as trap_vector};

/// Slots of the register file beyond the 16 general registers; operands are addressed through them.
pub(crate) mod slot {
    /// Always 0: an absent base or index.
    pub(crate) const ZERO: u8 = 16;
    /// RIP of the running block's first instruction.
    pub(crate) const BLOCK_RIP: u8 = 17;
    /// Base of FS.
    pub(crate) const FS_BASE: u8 = 18;
    /// Base of GS.
    pub(crate) const GS_BASE: u8 = 19;
    /// A linear address computed by the micro-op before.
    pub(crate) const ADDRESS: u8 = 20;
    /// Slots in all; a power of two, so that masked indices need no check.
    pub(crate) const COUNT: usize = 32;
}

/// General registers by ModRM number.
pub(crate) mod gpr {
    pub(crate) const RAX: u8 = 0;
    pub(crate) const RCX: u8 = 1;
    pub(crate) const RDX: u8 = 2;
    pub(crate) const RBX: u8 = 3;
    pub(crate) const RSP: u8 = 4;
    pub(crate) const RBP: u8 = 5;
    pub(crate) const RSI: u8 = 6;
    pub(crate) const RDI: u8 = 7;
}

/// Where the guest's time comes from.
pub trait TimeSource: Send + Sync {
    /// The time-stamp counter before the offset of [`Intercepts::tsc_offset`].
    fn tsc(&self) -> u64;
}

/// Model-specific registers the engine keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Msrs {
    /// IA32_STAR
    pub star: u64,
    /// IA32_LSTAR
    pub lstar: u64,
    /// IA32_CSTAR
    pub cstar: u64,
    /// IA32_FMASK
    pub fmask: u64,
    /// IA32_KERNEL_GS_BASE
    pub kernel_gs_base: u64,
    /// IA32_TSC_AUX
    pub tsc_aux: u64,
    /// IA32_SYSENTER_CS
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP
    pub sysenter_eip: u64,
    /// IA32_SPEC_CTRL, stored only.
    pub spec_ctrl: u64,
    /// IA32_XSS
    pub xss: u64,
}

/// The instructions a CPU has: a microarchitecture level of the x86-64 psABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// x86-64-v2: up to SSE4.2, POPCNT and CMPXCHG16B.
    #[default]
    V2,
    /// x86-64-v3: with AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT and MOVBE. What is VEX-encoded raises #UD before.
    V3,
}

bitflags::bitflags! {
    /// What blocks events for now (SDM vol. 3, table 25-3).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Interruptibility: u32 {
        /// The instruction before was STI that set IF.
        const STI = 1 << 0;
        /// The instruction before loaded SS.
        const MOV_SS = 1 << 1;
        /// System-management interrupts.
        const SMI = 1 << 2;
        /// An NMI handler has not yet returned.
        const NMI = 1 << 3;
    }
}

/// One virtual CPU: registers, TLB and policy. [`crate::Engine`] runs it.
pub struct Cpu {
    /// RAX–R15 by ModRM number, then the slots of [`slot`].
    pub(crate) regs: [u64; slot::COUNT],
    /// RIP; while a block runs, of its first instruction.
    pub(crate) rip: u64,
    pub(crate) flags: Flags,
    pub(crate) mmu: Mmu,
    /// XMM0–XMM15.
    pub(crate) xmm: [u128; 16],
    /// The upper halves of YMM0–YMM15.
    pub(crate) ymm_upper: [u128; 16],
    /// What a VEX-encoded instruction computes with, between its micro-ops.
    pub(crate) lanes: crate::instructions::vex::Lanes,
    /// MXCSR.
    pub(crate) mxcsr: u32,
    /// The x87 unit (and MMX, which aliases it).
    pub(crate) fpu: crate::instructions::x87::Fpu,
    /// Why x87 and MMX (bit 0), SSE (bit 1) or AVX (bit 2) instructions cannot run; 0 when they can. Follows CR0, CR4
    /// and XCR0.
    pub(crate) fpu_blocked: u8,
    /// Derived from the state below; see `update_mode`.
    pub(crate) mode: Mode,
    pub(crate) cpl: u8,
    pub(crate) segments: [Segment; 8],
    pub(crate) gdtr: DescriptorTable,
    pub(crate) idtr: DescriptorTable,
    pub(crate) cr0: u64,
    pub(crate) cr2: u64,
    pub(crate) cr3: u64,
    pub(crate) cr4: u64,
    /// CR8, 0–15.
    pub(crate) cr8: u64,
    pub(crate) efer: u64,
    pub(crate) xcr0: u64,
    pub(crate) dr: [u64; 8],
    pub(crate) msrs: Msrs,
    pub(crate) interruptibility: Interruptibility,
    /// DR6 bits of debug exceptions to raise after the current instruction.
    pub(crate) pending_debug: u64,
    /// What a trap within generated code came to, until it is taken.
    pub(crate) left: Option<Exit>,
    /// Delivered at the next run.
    pub(crate) injected: Option<Event>,
    /// Being delivered now: cut short if something exits.
    pub(crate) delivering: Option<Event>,
    pub(crate) nmi_unblocked_by_iret: bool,
    /// The next instruction runs in a block of its own.
    pub(crate) step_next: bool,
    /// A monitor-trap exit is due.
    pub(crate) trap_flag_due: bool,
    /// The cause of the last [`Trap`].
    pub(crate) cause: TrapCause,
    /// Offset in its block and length of the instruction that trapped.
    pub(crate) trapped: Trapped,
    /// Guest instructions completed, and exceptions and software interrupts raised by instructions. One that exits is
    /// not among them.
    pub(crate) instructions: u64,
    /// What RDRAND and RDSEED answer; `None` asks the host.
    pub(crate) entropy: Option<Sequence>,
    /// The instructions there are.
    pub(crate) level: Level,
    /// Exits, exceptions and features.
    pub intercepts: Intercepts,
    pub(crate) time: Arc<dyn TimeSource>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) memory: Arc<PhysicalMemory>,
}

/// Where a trap happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trapped {
    pub(crate) start: u8,
    pub(crate) len: u8,
    pub(crate) stack_segment: bool,
}
