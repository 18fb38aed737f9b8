//! Flags that instructions leave undefined: the tiers may differ in them, and nothing may depend on them.

use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, RflagsBits};

use crate::machine::{CODE, CODE_SIZE, Machine};

const CONVERT: [(u32, u64); 6] = [
    (RflagsBits::CF, 1),
    (RflagsBits::PF, 1 << 2),
    (RflagsBits::AF, 1 << 4),
    (RflagsBits::ZF, 1 << 6),
    (RflagsBits::SF, 1 << 7),
    (RflagsBits::OF, 1 << 11),
];

/// The flags that are undefined now, as iced-x86 names them.
#[derive(Default)]
pub(crate) struct Undefined {
    flags: u32,
    factory: Option<InstructionInfoFactory>,
}

/// Whether an instruction shows RFLAGS, or may, by a fault or an interrupt that pushes them.
fn shows_all(insn: &Instruction) -> bool {
    matches!(
        insn.mnemonic(),
        Mnemonic::Pushfq | Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Lahf | Mnemonic::Syscall
    )
}

/// A string instruction that may overwrite code, perhaps itself: it is fetched anew wherever it next pauses, which is not
/// the same place in the tiers.
fn overwrites_code(machine: &Machine, insn: &Instruction) -> bool {
    if !insn.has_rep_prefix() && !insn.has_repne_prefix() || !insn.is_string_instruction() {
        return false;
    }
    let cpu = &machine.engine.cpu;
    let reach = cpu.gpr(1).saturating_mul(8).saturating_add(8);
    let (low, high) = (cpu.gpr(7).saturating_sub(reach), cpu.gpr(7).saturating_add(reach));
    low < (CODE + CODE_SIZE) as u64 && high > CODE as u64
}

impl Undefined {
    /// The bits of RFLAGS that may differ.
    pub(crate) fn mask(&self) -> u64 {
        CONVERT.iter().filter(|(flag, _)| self.flags & flag != 0).map(|(_, bit)| bit).sum()
    }

    /// Both tiers have the same flags again.
    pub(crate) fn clear(&mut self) {
        self.flags = 0;
    }

    /// Looks at the instruction that the machine is about to execute; false if it uses undefined flags, or if it may
    /// fault, which shows them to its handler, or if what it does is not the same everywhere for another reason.
    pub(crate) fn step(&mut self, machine: &Machine) -> bool {
        let cpu = &machine.engine.cpu;
        let bits = match machine.engine.cpu.segment(engine::SegmentRegister::Cs).access_rights >> 13 & 3 {
            1 | 3 => 64,
            2 => 32,
            _ => 16,
        };
        let bytes = machine.bytes_at(cpu.rip());
        let insn = Decoder::with_ip(bits, &bytes, cpu.rip(), DecoderOptions::NONE).decode();
        let factory = self.factory.get_or_insert_with(InstructionInfoFactory::new);
        let touches_memory = !factory.info(&insn).used_memory().is_empty();
        let may_show = shows_all(&insn)
            || touches_memory
            || insn.is_invalid()
            || insn.is_privileged()
            || insn.op0_register().is_segment_register()
            || matches!(
                insn.mnemonic(),
                Mnemonic::Div | Mnemonic::Idiv | Mnemonic::Int | Mnemonic::Int1 | Mnemonic::Int3
            )
            || insn.is_jmp_short_or_near()
            || insn.is_call_near()
            || insn.is_jmp_near_indirect()
            || insn.is_call_near_indirect();
        let traps = cpu.rflags() & (1 << 8) != 0;
        let read = insn.rflags_read() & self.flags != 0;
        if overwrites_code(machine, &insn) || self.flags != 0 && (may_show || traps || read) {
            return false;
        }
        // A count of 0 leaves flags as they were.
        let by_count = matches!(
            insn.mnemonic(),
            Mnemonic::Shl
                | Mnemonic::Shr
                | Mnemonic::Sar
                | Mnemonic::Rol
                | Mnemonic::Ror
                | Mnemonic::Rcl
                | Mnemonic::Rcr
                | Mnemonic::Shld
                | Mnemonic::Shrd
        );
        if !by_count {
            self.flags &= !(insn.rflags_written() | insn.rflags_cleared() | insn.rflags_set());
        }
        self.flags |= insn.rflags_undefined();
        true
    }
}
