//! Registers of the local APIC: Intel SDM volume 3, "Advanced Programmable Interrupt Controller".

/// Model-specific registers.
pub mod msr {
    /// IA32_APIC_BASE.
    pub const APIC_BASE: u32 = 0x1b;
    /// IA32_TSC_DEADLINE.
    pub const TSC_DEADLINE: u32 = 0x6e0;
    /// The first register of x2APIC mode; the register at offset n of the page is `X2APIC_FIRST + n / 16`.
    pub const X2APIC_FIRST: u32 = 0x800;
    /// The last.
    pub const X2APIC_LAST: u32 = 0x8ff;
}

/// Bits of IA32_APIC_BASE.
pub mod base {
    /// Bootstrap processor.
    pub const BOOTSTRAP: u64 = 1 << 8;
    /// x2APIC mode (EXTD).
    pub const X2APIC: u64 = 1 << 10;
    /// Global enable (EN).
    pub const ENABLE: u64 = 1 << 11;
    /// The page's address; the architecture's limit of 52 address bits.
    pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}

/// Offsets in the register page; each register has 16 bytes, of which the first four count.
pub mod reg {
    /// Local APIC ID.
    pub const ID: u32 = 0x020;
    /// Version.
    pub const VERSION: u32 = 0x030;
    /// Task priority.
    pub const TPR: u32 = 0x080;
    /// Arbitration priority; xAPIC only.
    pub const APR: u32 = 0x090;
    /// Processor priority.
    pub const PPR: u32 = 0x0a0;
    /// End of interrupt.
    pub const EOI: u32 = 0x0b0;
    /// Remote read; xAPIC only.
    pub const RRD: u32 = 0x0c0;
    /// Logical destination.
    pub const LDR: u32 = 0x0d0;
    /// Destination format; xAPIC only.
    pub const DFR: u32 = 0x0e0;
    /// Spurious interrupt vector.
    pub const SVR: u32 = 0x0f0;
    /// In-service, eight registers.
    pub const ISR: u32 = 0x100;
    /// The last of them.
    pub const ISR_LAST: u32 = 0x170;
    /// Trigger mode, eight registers.
    pub const TMR: u32 = 0x180;
    /// The last of them.
    pub const TMR_LAST: u32 = 0x1f0;
    /// Interrupt request, eight registers.
    pub const IRR: u32 = 0x200;
    /// The last of them.
    pub const IRR_LAST: u32 = 0x270;
    /// Error status.
    pub const ESR: u32 = 0x280;
    /// Interrupt command, low half; all of it in x2APIC mode.
    pub const ICR_LOW: u32 = 0x300;
    /// Interrupt command, high half; xAPIC only.
    pub const ICR_HIGH: u32 = 0x310;
    /// Local vector table: timer.
    pub const LVT_TIMER: u32 = 0x320;
    /// Local vector table: thermal sensor.
    pub const LVT_THERMAL: u32 = 0x330;
    /// Local vector table: performance counters.
    pub const LVT_PERFORMANCE: u32 = 0x340;
    /// Local vector table: LINT0.
    pub const LVT_LINT0: u32 = 0x350;
    /// Local vector table: LINT1.
    pub const LVT_LINT1: u32 = 0x360;
    /// Local vector table: error.
    pub const LVT_ERROR: u32 = 0x370;
    /// Timer: initial count.
    pub const TIMER_INITIAL: u32 = 0x380;
    /// Timer: current count.
    pub const TIMER_CURRENT: u32 = 0x390;
    /// Timer: divide configuration.
    pub const TIMER_DIVIDE: u32 = 0x3e0;
    /// Self-IPI; x2APIC only.
    pub const SELF_IPI: u32 = 0x3f0;
}

/// The version register: version 0x14 (integrated), six LVT entries, no suppression of EOI broadcasts.
pub const VERSION: u32 = 0x0005_0014;

/// The lowest vector an APIC delivers; those below are illegal.
pub const FIRST_VECTOR: u8 = 16;

/// Bits of local vector table entries.
pub mod lvt {
    /// The vector.
    pub const VECTOR: u32 = 0xff;
    /// Where the delivery mode is; three bits.
    pub const MODE_SHIFT: u32 = 8;
    /// The delivery mode.
    pub const MODE: u32 = 7 << MODE_SHIFT;
    /// Delivery status; read only.
    pub const STATUS: u32 = 1 << 12;
    /// Input pin polarity; stored.
    pub const POLARITY: u32 = 1 << 13;
    /// A level is accepted and not yet ended; read only.
    pub const REMOTE_IRR: u32 = 1 << 14;
    /// Level-triggered.
    pub const LEVEL: u32 = 1 << 15;
    /// Masked.
    pub const MASKED: u32 = 1 << 16;
    /// Timer mode: periodic.
    pub const TIMER_PERIODIC: u32 = 1 << 17;
    /// Timer mode: TSC-deadline.
    pub const TIMER_TSC_DEADLINE: u32 = 1 << 18;
    /// Bits that are read only, which a write may carry.
    pub const READ_ONLY: u32 = STATUS | REMOTE_IRR;
    /// The entries' offsets, and the bits that can be written in each. The timer's includes TSC-deadline mode.
    pub const ENTRIES: [(u32, u32); 6] = [
        (super::reg::LVT_TIMER, VECTOR | MASKED | TIMER_PERIODIC | TIMER_TSC_DEADLINE),
        (super::reg::LVT_THERMAL, VECTOR | MODE | MASKED),
        (super::reg::LVT_PERFORMANCE, VECTOR | MODE | MASKED),
        (super::reg::LVT_LINT0, VECTOR | MODE | POLARITY | LEVEL | MASKED),
        (super::reg::LVT_LINT1, VECTOR | MODE | POLARITY | LEVEL | MASKED),
        (super::reg::LVT_ERROR, VECTOR | MASKED),
    ];
}

/// Bits of the spurious interrupt vector register.
pub mod svr {
    /// Software enable.
    pub const ENABLE: u32 = 1 << 8;
    /// What can be written: vector, enable, and the focus bit of old processors.
    pub const WRITABLE: u32 = 0x3ff;
    /// After reset.
    pub const RESET: u32 = 0xff;
}

/// Bits of the error status register.
pub mod esr {
    /// An IPI was to be sent with a vector below 16.
    pub const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
    /// A vector below 16 arrived, or an LVT entry has one.
    pub const RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
    /// A register that does not exist was accessed (xAPIC).
    pub const ILLEGAL_REGISTER: u32 = 1 << 7;
}

/// Bits of the interrupt command register.
pub mod icr {
    /// Where the delivery mode is; three bits.
    pub const MODE_SHIFT: u32 = 8;
    /// Logical destination.
    pub const LOGICAL: u64 = 1 << 11;
    /// Delivery status; read only, never set here: a message is posted at once.
    pub const STATUS: u64 = 1 << 12;
    /// Level: assert.
    pub const ASSERT: u64 = 1 << 14;
    /// Trigger mode: level.
    pub const LEVEL: u64 = 1 << 15;
    /// Where the destination shorthand is; two bits.
    pub const SHORTHAND_SHIFT: u32 = 18;
    /// Bits of the low half that exist.
    pub const WRITABLE_LOW: u64 = 0x000c_cfff;
}

/// The destination format register: bits 31:28 all ones for flat, zero for cluster; the others read as one.
pub mod dfr {
    /// The model.
    pub const MODEL: u32 = 0xf000_0000;
}
