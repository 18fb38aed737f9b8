//! Every field: encoding, write right, meaning.

use super::WriteRight::{Checked, Free, Never, ReadOnly};
use super::{Field, Rule, WriteRight};

macro_rules! fields {
    ($($name:ident = $encoding:literal, $right:expr, $doc:literal;)*) => {
        impl Field {
            $(#[doc = $doc] pub const $name: Self = Self($encoding);)*

            /// Every field, in ascending order within each width.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The constant's name: that of the header without `VMCS_`.
            pub const fn name(self) -> Option<&'static str> {
                Some(match self.0 {
                    $($encoding => stringify!($name),)*
                    _ => return None,
                })
            }

            /// May a client write it? `None` for an encoding that is no field.
            pub const fn write_right(self) -> Option<WriteRight> {
                Some(match self.0 {
                    $($encoding => $right,)*
                    _ => return None,
                })
            }
        }
    };
}

fields! {
    // 16-bit fields.
    CTRL_VPID = 0x0000, Never, "Virtual processor identifier.";
    CTRL_POSTED_INT_N_VECTOR = 0x0002, Never, "Posted-interrupt notification vector.";
    CTRL_EPTP_INDEX = 0x0004, Never, "EPTP index.";
    GUEST_ES = 0x0800, Free, "Selector.";
    GUEST_CS = 0x0802, Free, "Selector.";
    GUEST_SS = 0x0804, Free, "Selector.";
    GUEST_DS = 0x0806, Free, "Selector.";
    GUEST_FS = 0x0808, Free, "Selector.";
    GUEST_GS = 0x080a, Free, "Selector.";
    GUEST_LDTR = 0x080c, Free, "Selector.";
    GUEST_TR = 0x080e, Free, "Selector.";
    GUEST_INT_STATUS = 0x0810, Never, "Guest interrupt status.";
    GUEST_PML_INDEX = 0x0812, Never, "Page-modification log index.";
    HOST_ES = 0x0c00, Never, "Host state.";
    HOST_CS = 0x0c02, Never, "Host state.";
    HOST_SS = 0x0c04, Never, "Host state.";
    HOST_DS = 0x0c06, Never, "Host state.";
    HOST_FS = 0x0c08, Never, "Host state.";
    HOST_GS = 0x0c0a, Never, "Host state.";
    HOST_TR = 0x0c0c, Never, "Host state.";
    // 64-bit fields.
    CTRL_IO_BITMAP_A = 0x2000, Never, "Address of I/O bitmap A.";
    CTRL_IO_BITMAP_B = 0x2002, Never, "Address of I/O bitmap B.";
    CTRL_MSR_BITMAPS = 0x2004, Never, "Address of the MSR bitmaps.";
    CTRL_VMEXIT_MSR_STORE_ADDR = 0x2006, Never, "VM-exit MSR-store address.";
    CTRL_VMEXIT_MSR_LOAD_ADDR = 0x2008, Never, "VM-exit MSR-load address.";
    CTRL_VMENTRY_MSR_LOAD_ADDR = 0x200a, Never, "VM-entry MSR-load address.";
    CTRL_EXECUTIVE_VMCS_PTR = 0x200c, Never, "Executive-VMCS pointer.";
    CTRL_PML_ADDR = 0x200e, Never, "Page-modification log address.";
    CTRL_TSC_OFFSET = 0x2010, ReadOnly, "TSC offset; set through `hv_vm_sync_tsc` and `hv_vcpu_set_tsc_relative`.";
    CTRL_VIRTUAL_APIC = 0x2012, Never, "Virtual-APIC address.";
    CTRL_APIC_ACCESS = 0x2014, ReadOnly, "APIC-access address; set through `hv_vmx_vcpu_set_apic_address`.";
    CTRL_POSTED_INT_DESC_ADDR = 0x2016, Never, "Posted-interrupt descriptor address.";
    CTRL_VMFUNC_CTRL = 0x2018, Never, "VM-function controls.";
    CTRL_EPTP = 0x201a, Never, "EPT pointer.";
    CTRL_EOI_EXIT_BITMAP_0 = 0x201c, Never, "EOI-exit bitmap.";
    CTRL_EOI_EXIT_BITMAP_1 = 0x201e, Never, "EOI-exit bitmap.";
    CTRL_EOI_EXIT_BITMAP_2 = 0x2020, Never, "EOI-exit bitmap.";
    CTRL_EOI_EXIT_BITMAP_3 = 0x2022, Never, "EOI-exit bitmap.";
    CTRL_EPTP_LIST_ADDR = 0x2024, Never, "EPTP-list address.";
    CTRL_VMREAD_BITMAP_ADDR = 0x2026, Never, "VMREAD bitmap address.";
    CTRL_VMWRITE_BITMAP_ADDR = 0x2028, Never, "VMWRITE bitmap address.";
    CTRL_VIRT_EXC_INFO_ADDR = 0x202a, Never, "Virtualization-exception information address.";
    CTRL_XSS_EXITING_BITMAP = 0x202c, Never, "XSS-exiting bitmap.";
    CTRL_ENCLS_EXITING_BITMAP = 0x202e, Never, "ENCLS-exiting bitmap.";
    CTRL_SPP_TABLE_POINTER = 0x2030, Never, "Sub-page permission table pointer.";
    CTRL_TSC_MULTIPLIER = 0x2032, Never, "TSC multiplier.";
    GUEST_PHYSICAL_ADDRESS = 0x2400, ReadOnly, "Guest physical address of an EPT violation.";
    GUEST_LINK_POINTER = 0x2800, Never, "VMCS link pointer.";
    GUEST_IA32_DEBUGCTL = 0x2802, Free, "IA32_DEBUGCTL.";
    GUEST_IA32_PAT = 0x2804, Never, "IA32_PAT; macOS refuses writes.";
    GUEST_IA32_EFER = 0x2806, Free, "IA32_EFER.";
    GUEST_IA32_PERF_GLOBAL_CTRL = 0x2808, Never, "IA32_PERF_GLOBAL_CTRL.";
    GUEST_PDPTE0 = 0x280a, Free, "Page-directory pointer entry of PAE paging.";
    GUEST_PDPTE1 = 0x280c, Free, "Page-directory pointer entry of PAE paging.";
    GUEST_PDPTE2 = 0x280e, Free, "Page-directory pointer entry of PAE paging.";
    GUEST_PDPTE3 = 0x2810, Free, "Page-directory pointer entry of PAE paging.";
    GUEST_IA32_BNDCFGS = 0x2812, Never, "IA32_BNDCFGS.";
    HOST_IA32_PAT = 0x2c00, Never, "Host state.";
    HOST_IA32_EFER = 0x2c02, Never, "Host state.";
    HOST_IA32_PERF_GLOBAL_CTRL = 0x2c04, Never, "Host state.";
    // 32-bit fields.
    CTRL_PIN_BASED = 0x4000, Checked(Rule::PinControls), "Pin-based controls.";
    CTRL_CPU_BASED = 0x4002, Checked(Rule::PrimaryControls), "Primary processor-based controls.";
    CTRL_EXC_BITMAP = 0x4004, Free, "Exceptions that exit, by vector.";
    CTRL_PF_ERROR_MASK = 0x4006, Free, "Page-fault error-code mask.";
    CTRL_PF_ERROR_MATCH = 0x4008, Free, "Page-fault error-code match.";
    CTRL_CR3_COUNT = 0x400a, Never, "Number of CR3 targets.";
    CTRL_VMEXIT_CONTROLS = 0x400c, Checked(Rule::ExitControls), "VM-exit controls.";
    CTRL_VMEXIT_MSR_STORE_COUNT = 0x400e, Never, "VM-exit MSR-store count.";
    CTRL_VMEXIT_MSR_LOAD_COUNT = 0x4010, Never, "VM-exit MSR-load count.";
    CTRL_VMENTRY_CONTROLS = 0x4012, Checked(Rule::EntryControls), "VM-entry controls.";
    CTRL_VMENTRY_MSR_LOAD_COUNT = 0x4014, Never, "VM-entry MSR-load count.";
    CTRL_VMENTRY_IRQ_INFO = 0x4016, Free, "VM-entry interruption information; bit 31 is cleared by an entry.";
    CTRL_VMENTRY_EXC_ERROR = 0x4018, Free, "VM-entry exception error code.";
    CTRL_VMENTRY_INSTR_LEN = 0x401a, Free, "VM-entry instruction length.";
    CTRL_TPR_THRESHOLD = 0x401c, Free, "TPR threshold, bits 3:0.";
    CTRL_CPU_BASED2 = 0x401e, Checked(Rule::SecondaryControls), "Secondary processor-based controls.";
    CTRL_PLE_GAP = 0x4020, Free, "Pause-loop gap.";
    CTRL_PLE_WINDOW = 0x4022, Free, "Pause-loop window.";
    RO_INSTR_ERROR = 0x4400, ReadOnly, "VM-instruction error (SDM vol. 3, 31.4).";
    RO_EXIT_REASON = 0x4402, ReadOnly, "Exit reason.";
    RO_VMEXIT_IRQ_INFO = 0x4404, ReadOnly, "VM-exit interruption information.";
    RO_VMEXIT_IRQ_ERROR = 0x4406, ReadOnly, "VM-exit interruption error code.";
    RO_IDT_VECTOR_INFO = 0x4408, ReadOnly, "IDT-vectoring information.";
    RO_IDT_VECTOR_ERROR = 0x440a, ReadOnly, "IDT-vectoring error code.";
    RO_VMEXIT_INSTR_LEN = 0x440c, ReadOnly, "VM-exit instruction length, bytes.";
    RO_VMX_INSTR_INFO = 0x440e, ReadOnly, "VM-exit instruction information.";
    GUEST_ES_LIMIT = 0x4800, Free, "Segment limit.";
    GUEST_CS_LIMIT = 0x4802, Free, "Segment limit.";
    GUEST_SS_LIMIT = 0x4804, Free, "Segment limit.";
    GUEST_DS_LIMIT = 0x4806, Free, "Segment limit.";
    GUEST_FS_LIMIT = 0x4808, Free, "Segment limit.";
    GUEST_GS_LIMIT = 0x480a, Free, "Segment limit.";
    GUEST_LDTR_LIMIT = 0x480c, Free, "Segment limit.";
    GUEST_TR_LIMIT = 0x480e, Free, "Segment limit.";
    GUEST_GDTR_LIMIT = 0x4810, Free, "Table limit, bytes minus 1.";
    GUEST_IDTR_LIMIT = 0x4812, Free, "Table limit, bytes minus 1.";
    GUEST_ES_AR = 0x4814, Free, "Access rights.";
    GUEST_CS_AR = 0x4816, Free, "Access rights.";
    GUEST_SS_AR = 0x4818, Free, "Access rights.";
    GUEST_DS_AR = 0x481a, Free, "Access rights.";
    GUEST_FS_AR = 0x481c, Free, "Access rights.";
    GUEST_GS_AR = 0x481e, Free, "Access rights.";
    GUEST_LDTR_AR = 0x4820, Free, "Access rights.";
    GUEST_TR_AR = 0x4822, Free, "Access rights.";
    GUEST_INTERRUPTIBILITY = 0x4824, Free, "Interruptibility state.";
    GUEST_ACTIVITY_STATE = 0x4826, Checked(Rule::Activity), "Activity state.";
    GUEST_SMBASE = 0x4828, Never, "SMBASE.";
    GUEST_IA32_SYSENTER_CS = 0x482a, Free, "IA32_SYSENTER_CS.";
    GUEST_VMX_TIMER_VALUE = 0x482e, Free, "VMX-preemption timer value.";
    HOST_IA32_SYSENTER_CS = 0x4c00, Never, "Host state.";
    // Natural-width fields.
    CTRL_CR0_MASK = 0x6000, Checked(Rule::Cr0Mask), "CR0 bits owned by the host.";
    CTRL_CR4_MASK = 0x6002, Free, "CR4 bits owned by the host.";
    CTRL_CR0_SHADOW = 0x6004, Free, "What the guest reads of the CR0 bits owned by the host.";
    CTRL_CR4_SHADOW = 0x6006, Free, "What the guest reads of the CR4 bits owned by the host.";
    CTRL_CR3_VALUE0 = 0x6008, Free, "CR3 target.";
    CTRL_CR3_VALUE1 = 0x600a, Free, "CR3 target.";
    CTRL_CR3_VALUE2 = 0x600c, Free, "CR3 target.";
    CTRL_CR3_VALUE3 = 0x600e, Free, "CR3 target.";
    RO_EXIT_QUALIFIC = 0x6400, ReadOnly, "Exit qualification.";
    RO_IO_RCX = 0x6402, ReadOnly, "RCX of an SMI in string I/O.";
    RO_IO_RSI = 0x6404, ReadOnly, "RSI of an SMI in string I/O.";
    RO_IO_RDI = 0x6406, ReadOnly, "RDI of an SMI in string I/O.";
    RO_IO_RIP = 0x6408, ReadOnly, "RIP of an SMI in string I/O.";
    RO_GUEST_LIN_ADDR = 0x640a, ReadOnly, "Guest linear address.";
    GUEST_CR0 = 0x6800, Checked(Rule::Cr0), "CR0 as the processor uses it.";
    GUEST_CR3 = 0x6802, Free, "CR3.";
    GUEST_CR4 = 0x6804, Free, "CR4 as the processor uses it.";
    GUEST_ES_BASE = 0x6806, Free, "Segment base.";
    GUEST_CS_BASE = 0x6808, Free, "Segment base.";
    GUEST_SS_BASE = 0x680a, Free, "Segment base.";
    GUEST_DS_BASE = 0x680c, Free, "Segment base.";
    GUEST_FS_BASE = 0x680e, Free, "Segment base.";
    GUEST_GS_BASE = 0x6810, Free, "Segment base.";
    GUEST_LDTR_BASE = 0x6812, Free, "Segment base.";
    GUEST_TR_BASE = 0x6814, Free, "Segment base.";
    GUEST_GDTR_BASE = 0x6816, Free, "Table base.";
    GUEST_IDTR_BASE = 0x6818, Free, "Table base.";
    GUEST_DR7 = 0x681a, Free, "DR7.";
    GUEST_RSP = 0x681c, Free, "Stack pointer.";
    GUEST_RIP = 0x681e, Free, "Instruction pointer.";
    GUEST_RFLAGS = 0x6820, Free, "Flags.";
    GUEST_DEBUG_EXC = 0x6822, Free, "Pending debug exceptions.";
    GUEST_SYSENTER_ESP = 0x6824, Free, "IA32_SYSENTER_ESP.";
    GUEST_SYSENTER_EIP = 0x6826, Free, "IA32_SYSENTER_EIP.";
    HOST_CR0 = 0x6c00, Never, "Host state.";
    HOST_CR3 = 0x6c02, Never, "Host state.";
    HOST_CR4 = 0x6c04, Never, "Host state.";
    HOST_FS_BASE = 0x6c06, Never, "Host state.";
    HOST_GS_BASE = 0x6c08, Never, "Host state.";
    HOST_TR_BASE = 0x6c0a, Never, "Host state.";
    HOST_GDTR_BASE = 0x6c0c, Never, "Host state.";
    HOST_IDTR_BASE = 0x6c0e, Never, "Host state.";
    HOST_SYSENTER_ESP = 0x6c10, Never, "Host state.";
    HOST_SYSENTER_EIP = 0x6c12, Never, "Host state.";
    HOST_RSP = 0x6c14, Never, "Host state.";
    HOST_RIP = 0x6c16, Never, "Host state.";
}
