//! A vCPU's registers, for people.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{Reg, Segment};

use super::X86Vcpu;
use crate::stop::RegisterDump;
use crate::x86_64::paging::{self, GuestRam};

/// Bytes of code shown.
const CODE_BYTES: u64 = 16;

const REGISTERS: [(&str, Reg); 19] = [
    ("rip", Reg::RIP),
    ("rflags", Reg::RFLAGS),
    ("rax", Reg::RAX),
    ("rbx", Reg::RBX),
    ("rcx", Reg::RCX),
    ("rdx", Reg::RDX),
    ("rsi", Reg::RSI),
    ("rdi", Reg::RDI),
    ("rbp", Reg::RBP),
    ("rsp", Reg::RSP),
    ("r8", Reg::R8),
    ("r9", Reg::R9),
    ("r10", Reg::R10),
    ("r11", Reg::R11),
    ("r12", Reg::R12),
    ("r13", Reg::R13),
    ("r14", Reg::R14),
    ("r15", Reg::R15),
    ("cr2", Reg::CR2),
];

const FIELDS: [(&str, Field); 18] = [
    ("cr0", Field::GUEST_CR0),
    ("cr3", Field::GUEST_CR3),
    ("cr4", Field::GUEST_CR4),
    ("efer", Field::GUEST_IA32_EFER),
    ("cs", Field::GUEST_CS),
    ("cs.base", Field::GUEST_CS_BASE),
    ("cs.rights", Field::GUEST_CS_AR),
    ("ss", Field::GUEST_SS),
    ("ss.rights", Field::GUEST_SS_AR),
    ("ds", Field::GUEST_DS),
    ("tr", Field::GUEST_TR),
    ("gdtr", Field::GUEST_GDTR_BASE),
    ("idtr", Field::GUEST_IDTR_BASE),
    ("idtr.limit", Field::GUEST_IDTR_LIMIT),
    ("interruptibility", Field::GUEST_INTERRUPTIBILITY),
    ("exit.qualification", Field::RO_EXIT_QUALIFIC),
    ("exit.vectoring", Field::RO_IDT_VECTOR_INFO),
    ("instruction.error", Field::RO_INSTR_ERROR),
];

impl X86Vcpu {
    /// Everything worth seeing when a guest ends; what cannot be read is left out.
    pub(super) fn dump(&self) -> RegisterDump {
        let registers =
            REGISTERS.iter().filter_map(|(name, reg)| Some((*name, self.vcpu.read_register(*reg).ok()?)));
        let fields =
            FIELDS.iter().filter_map(|(name, field)| Some((*name, self.vcpu.read_vmcs(*field).ok()?)));
        RegisterDump {
            registers: registers.chain(fields).collect(),
            code: self.code_at_rip().unwrap_or_default(),
        }
    }

    fn code_at_rip(&self) -> Option<Vec<u8>> {
        let base = self.vcpu.read_vmcs(Segment::Cs.base()).ok()?;
        let linear = base.wrapping_add(self.vcpu.read_register(Reg::RIP).ok()?);
        let state = self.paging_state().ok()?;
        let memory = self.platform.ram.memory();
        let mut code = Vec::new();
        for offset in 0..CODE_BYTES {
            let at = paging::probe(memory, &state, linear.wrapping_add(offset));
            let mut byte = [0];
            match at {
                Some(translation) if memory.read(translation.gpa, &mut byte) => code.extend(byte),
                _ => break,
            }
        }
        Some(code)
    }
}
