//! Registers of the local APIC: Intel SDM volume 3, "Advanced Programmable Interrupt Controller".

/// Model-specific registers.
pub mod msr {
    /// IA32_APIC_BASE.
    pub const APIC_BASE: u32 = 0x1b;
    /// IA32_TSC_DEADLINE.
    pub const TSC_DEADLINE: u32 = 0x6e0;
    /// The first register of x2APIC mode; register n of the page is `X2APIC_FIRST + n / 16`.
    pub const X2APIC_FIRST: u32 = 0x800;
}
