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
    /// IDTR, without a gate. The limit is not 0, which a kernel loads to reset the machine by a triple fault.
    pub idtr: TableRegister,
}

/// Selector of the code segment; both Linux entries ask for 0x10.
pub(crate) const CODE_SELECTOR: u16 = 0x10;
/// Selector of the data segments; both Linux entries ask for 0x18.
pub(crate) const DATA_SELECTOR: u16 = 0x18;
/// Selector of the task state segment.
const TASK_SELECTOR: u16 = 0x20;

/// Present, ring 0, code, readable, accessed, 64-bit, limit in pages.
pub(crate) const CODE_64: u32 = 0xa09b;
/// Present, ring 0, code, readable, accessed, 32-bit, limit in pages.
pub(crate) const CODE_32: u32 = 0xc09b;
/// Present, ring 0, data, writable, accessed, 32-bit stack, limit in pages.
const DATA: u32 = 0xc093;
/// Present, busy 32-bit (in long mode 64-bit) task state segment.
const TASK: u32 = 0x008b;
/// The "unusable" bit.
const UNUSABLE: u32 = 1 << 16;
/// A task state segment's smallest limit; PVH asks for this one.
const TASK_LIMIT: u32 = 0x67;

/// A limit of the interrupt descriptor table that no gate fits in.
const NO_GATE: u16 = 1;

/// Flags with only the bit that is always set.
const RFLAGS_RESET: u64 = 1 << 1;

impl InitialState {
    /// Flat segments with `code_rights` for CS, a descriptor table at `gdt`, and the instruction pointer; the rest is zero.
    pub(crate) fn flat(code_rights: u32, gdt: u64, stack: u64, rip: u64) -> Self {
        let flat = |selector, access_rights| Segment { selector, base: 0, limit: u32::MAX, access_rights };
        let data = flat(DATA_SELECTOR, DATA);
        Self {
            rip,
            rsp: stack,
            rflags: RFLAGS_RESET,
            cs: flat(CODE_SELECTOR, code_rights),
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            tr: Segment { selector: TASK_SELECTOR, base: 0, limit: TASK_LIMIT, access_rights: TASK },
            ldtr: Segment { access_rights: UNUSABLE, ..Segment::default() },
            gdtr: TableRegister { base: gdt, limit: GDT_SIZE as u16 - 1 },
            idtr: TableRegister { base: 0, limit: NO_GATE },
            ..Self::default()
        }
    }

    /// The descriptor table that the segment registers were loaded from. The task's descriptor takes two entries, as it
    /// does in long mode.
    pub(crate) fn gdt(&self) -> [u8; GDT_SIZE] {
        let mut table = [0; GDT_SIZE];
        for segment in [&self.cs, &self.ds, &self.tr] {
            let at = usize::from(segment.selector);
            table[at..at + 8].copy_from_slice(&segment.descriptor().to_le_bytes());
        }
        table
    }
}

/// Null, unused, code, data, and two for the task.
pub(crate) const GDT_SIZE: usize = 6 * 8;

impl Segment {
    /// The segment as a descriptor of 8 bytes (SDM volume 3, figure 3-8).
    fn descriptor(&self) -> u64 {
        let in_pages = self.access_rights & (1 << 15) != 0;
        let limit = u64::from(if in_pages { self.limit >> 12 } else { self.limit });
        let rights = u64::from(self.access_rights & 0xf0ff);
        (limit & 0xffff)
            | (self.base & 0xff_ffff) << 16
            | rights << 40
            | (limit >> 16 & 0xf) << 48
            | (self.base >> 24 & 0xff) << 56
    }
}
