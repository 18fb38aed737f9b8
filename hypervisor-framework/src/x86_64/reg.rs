//! `hv_x86_reg_t`: the registers of `hv_vcpu_read_register` and `hv_vcpu_write_register`.

/// A register's index in the framework. The order of the general registers is not that of ModRM: see [`Reg::gpr`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Reg(pub u32);

macro_rules! registers {
    ($($name:ident = $index:literal, $doc:literal;)*) => {
        impl Reg {
            $(#[doc = $doc] pub const $name: Self = Self($index);)*

            /// Every register, in the framework's order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The constant's name, that of the header without `HV_X86_`.
            pub fn name(self) -> Option<&'static str> {
                Some(match self.0 {
                    $($index => stringify!($name),)*
                    _ => return None,
                })
            }
        }
    };
}

registers! {
    RIP = 0, "Instruction pointer.";
    RFLAGS = 1, "Flags.";
    RAX = 2, "General register, ModRM number 0.";
    RCX = 3, "General register, ModRM number 1.";
    RDX = 4, "General register, ModRM number 2.";
    RBX = 5, "General register, ModRM number 3.";
    RSI = 6, "General register, ModRM number 6.";
    RDI = 7, "General register, ModRM number 7.";
    RSP = 8, "Stack pointer, ModRM number 4.";
    RBP = 9, "General register, ModRM number 5.";
    R8 = 10, "General register.";
    R9 = 11, "General register.";
    R10 = 12, "General register.";
    R11 = 13, "General register.";
    R12 = 14, "General register.";
    R13 = 15, "General register.";
    R14 = 16, "General register.";
    R15 = 17, "General register.";
    CS = 18, "Code segment selector.";
    SS = 19, "Stack segment selector.";
    DS = 20, "Data segment selector.";
    ES = 21, "Extra segment selector.";
    FS = 22, "FS selector.";
    GS = 23, "GS selector.";
    IDT_BASE = 24, "Linear address of the IDT.";
    IDT_LIMIT = 25, "Limit of the IDT, bytes minus 1.";
    GDT_BASE = 26, "Linear address of the GDT.";
    GDT_LIMIT = 27, "Limit of the GDT, bytes minus 1.";
    LDTR = 28, "LDT selector.";
    LDT_BASE = 29, "Linear address of the LDT.";
    LDT_LIMIT = 30, "Limit of the LDT.";
    LDT_AR = 31, "Access rights of the LDT (VMX format).";
    TR = 32, "Task register selector.";
    TSS_BASE = 33, "Linear address of the TSS.";
    TSS_LIMIT = 34, "Limit of the TSS.";
    TSS_AR = 35, "Access rights of the TSS (VMX format).";
    CR0 = 36, "Control register 0; prefer the VMCS field, this one disturbs mask and shadow users.";
    CR1 = 37, "Control register 1; does not exist in the architecture.";
    CR2 = 38, "Page-fault linear address.";
    CR3 = 39, "Page-table base.";
    CR4 = 40, "Control register 4; prefer the VMCS field.";
    DR0 = 41, "Debug register 0.";
    DR1 = 42, "Debug register 1.";
    DR2 = 43, "Debug register 2.";
    DR3 = 44, "Debug register 3.";
    DR4 = 45, "Debug register 4; an alias in the architecture.";
    DR5 = 46, "Debug register 5; an alias in the architecture.";
    DR6 = 47, "Debug status.";
    DR7 = 48, "Debug control.";
    TPR = 49, "Task priority: the whole byte, CR8 << 4.";
    XCR0 = 50, "Extended control register 0.";
}

impl Reg {
    /// The general register with this ModRM (and exit qualification) number; only the low four bits count.
    pub const fn gpr(number: u8) -> Self {
        const MAP: [Reg; 16] = [
            Reg::RAX,
            Reg::RCX,
            Reg::RDX,
            Reg::RBX,
            Reg::RSP,
            Reg::RBP,
            Reg::RSI,
            Reg::RDI,
            Reg::R8,
            Reg::R9,
            Reg::R10,
            Reg::R11,
            Reg::R12,
            Reg::R13,
            Reg::R14,
            Reg::R15,
        ];
        MAP[(number & 15) as usize]
    }
}

impl std::fmt::Debug for Reg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Reg({})", self.0),
        }
    }
}
