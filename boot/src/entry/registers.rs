//! The registers a boot processor starts with.

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Base address.
    pub base: u64,
    /// Limit in bytes, the granularity already applied (0xffff_ffff for a flat segment).
    pub limit: u32,
    /// Access rights in VMX format (SDM volume 3, 25.4.1, table "Format of Access Rights"): bits 3:0 type, 4 S, 6:5 DPL, 7 P, 12 AVL,
    /// 13 L, 14 D/B, 15 G, 16 unusable.
    pub access_rights: u32,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableRegister {
    /// Linear address of the table.
    pub base: u64,
    /// Last byte's offset.
    pub limit: u16,
}

/// The boot processor's registers at the first guest instruction. Registers not named are zero (DR6 and DR7 have their
/// reset values). Control registers are the guest's view: a VMM adds what its hypervisor forces (CR0.NE, CR4.VMXE) behind
/// its shadows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitialState {
    /// First instruction.
    pub rip: u64,
    /// A small stack in low memory; the protocols promise none, it is a safety net.
    pub rsp: u64,
    /// Flags: interrupts off.
    pub rflags: u64,
    /// Zero page for the Linux entries, else 0.
    pub rsi: u64,
    /// Start info for the PVH entry, else 0.
    pub rbx: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3: the identity page tables for the 64-bit entry, else 0.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER, LMA included where the entry is in long mode.
    pub efer: u64,
    /// Code segment.
    pub cs: Segment,
    /// Data segment.
    pub ds: Segment,
    /// Extra segment.
    pub es: Segment,
    /// FS.
    pub fs: Segment,
    /// GS.
    pub gs: Segment,
    /// Stack segment.
    pub ss: Segment,
    /// Task register, a busy TSS (VMX refuses an entry without).
    pub tr: Segment,
    /// Local descriptor table register, unusable.
    pub ldtr: Segment,
    /// GDTR.
    pub gdtr: TableRegister,
    /// IDTR, empty.
    pub idtr: TableRegister,
}
