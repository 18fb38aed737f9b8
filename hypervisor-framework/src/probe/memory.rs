//! Mappings and what the guest sees of them.

use std::fmt::Write as _;

use super::machine::{CODE, Machine, RAM};
use super::{Answer, code};
use crate::x86_64::vmcs::Field;
use crate::x86_64::{ExitReason, Hypervisor, MemoryFlags, Reg};

const HALT: [u8; 1] = [0xf4];
const PAGE: usize = 4096;
/// Mapped by nothing.
const HOLE: u64 = 0x4000_0000;

pub(super) fn misaligned(hypervisor: &dyn Hypervisor) -> Answer {
    let machine = Machine::real(hypervisor, &HALT)?;
    let map = |offset, gpa, size| code(&machine.vm.map(&machine.ram, offset, gpa, size, MemoryFlags::RWX));
    Ok(format!(
        "address {}\noffset {}\nsize {}\nempty {}",
        map(0, HOLE + 0x800, PAGE),
        map(0x800, HOLE, PAGE),
        map(0, HOLE, PAGE / 2),
        map(0, HOLE, 0)
    ))
}

pub(super) fn overlapping(hypervisor: &dyn Hypervisor) -> Answer {
    let machine = Machine::real(hypervisor, &HALT)?;
    machine.vm.map(&machine.ram, 0, HOLE, 2 * PAGE, MemoryFlags::RWX)?;
    let same = code(&machine.vm.map(&machine.ram, 0, HOLE, 2 * PAGE, MemoryFlags::RWX));
    let shifted = code(&machine.vm.map(&machine.ram, 0, HOLE + 0x1000, 2 * PAGE, MemoryFlags::RWX));
    Ok(format!("the same range {same}\na shifted range {shifted}"))
}

pub(super) fn hole(hypervisor: &dyn Hypervisor) -> Answer {
    let machine = Machine::real(hypervisor, &HALT)?;
    let unmap = code(&machine.vm.unmap(HOLE, PAGE));
    let protect = code(&machine.vm.protect(HOLE, PAGE, MemoryFlags::READ));
    let half = code(&machine.vm.unmap(RAM as u64 - PAGE as u64, 2 * PAGE));
    Ok(format!("unmap {unmap}\nprotect {protect}\nunmap half a hole {half}"))
}

pub(super) fn instruction_length(hypervisor: &dyn Hypervisor) -> Answer {
    let mut answer = String::new();
    // DS is based in the hole.
    for (name, program) in [
        ("mov al, [0] (3 bytes)", &[0xa0, 0, 0][..]),
        ("mov [0], eax (4 bytes)", &[0x66, 0xa3, 0, 0]),
        ("movsb to ES, from DS (1 byte)", &[0xa4]),
    ] {
        let mut machine = Machine::real(hypervisor, program)?;
        machine.set(Field::GUEST_DS_BASE, HOLE)?;
        let reason = machine.run()?;
        let _ = writeln!(
            answer,
            "{name}: {reason}, length {}, qualification {:#x}, linear {:#x}, physical {:#x}",
            machine.get(Field::RO_VMEXIT_INSTR_LEN)?,
            machine.get(Field::RO_EXIT_QUALIFIC)?,
            machine.get(Field::RO_GUEST_LIN_ADDR)?,
            machine.get(Field::GUEST_PHYSICAL_ADDRESS)?
        );
    }
    Ok(answer)
}

/// Touches a byte of every page from 4 MiB to 8 MiB under plain run, and lists where it exits.
pub(super) fn lazy_fill(hypervisor: &dyn Hypervisor) -> Answer {
    const START: u64 = 4 << 20;
    const END: u64 = 8 << 20;
    // again: mov al, [0]; hlt — the page is chosen by the base of DS.
    let mut machine = Machine::real(hypervisor, &[0xa0, 0, 0, 0xf4])?;
    let mut touched = Vec::new();
    for page in (START..END).step_by(PAGE) {
        machine.set(Field::GUEST_DS_BASE, page)?;
        machine.set(Field::GUEST_RIP, 0)?;
        loop {
            match ExitReason(machine.vcpu.run()?) {
                ExitReason::HLT => break,
                ExitReason::EXTERNAL_INTERRUPT => {}
                ExitReason::EPT_VIOLATION => {
                    let gpa = machine.get(Field::GUEST_PHYSICAL_ADDRESS)?;
                    if touched.last() == Some(&gpa) {
                        return Ok(format!("{gpa:#x} exits again and again"));
                    }
                    touched.push(gpa);
                }
                reason => return Ok(format!("{reason} at page {page:#x}")),
            }
        }
    }
    touched.retain(|gpa| (START..END).contains(gpa));
    let first: Vec<_> = touched.iter().take(4).map(|gpa| format!("{gpa:#x}")).collect();
    Ok(format!("{} first-touch exits in 4 MiB: {}", touched.len(), first.join(" ")))
}

/// Changes CR3 between two runs, without invalidating.
pub(super) fn cr3_write_flush(hypervisor: &dyn Hypervisor) -> Answer {
    const FIRST: u64 = 0x2000;
    const SECOND: u64 = 0x3000;
    // mov al, [0x400000]; hlt
    let mut machine = Machine::paged(hypervisor, &[0xa0, 0, 0, 0x40, 0, 0xf4], FIRST)?;
    let entry = |page: u32| (page | 0x83).to_le_bytes();
    for (directory, page) in [(FIRST, 0x40_0000), (SECOND, 0x80_0000)] {
        machine.write(directory, &entry(0))?;
        machine.write(directory + 4, &entry(page))?;
    }
    machine.write(0x40_0000, &[1])?;
    machine.write(0x80_0000, &[2])?;
    let mut reads = Vec::new();
    for step in 0..3 {
        match step {
            1 => machine.set(Field::GUEST_CR3, SECOND)?,
            2 => machine.vcpu.invalidate_tlb()?,
            _ => {}
        }
        machine.set(Field::GUEST_RIP, CODE)?;
        let reason = machine.run()?;
        if reason != ExitReason::HLT {
            return Ok(format!("{reason} instead of HLT"));
        }
        reads.push(machine.vcpu.read_register(Reg::RAX)? & 0xff);
    }
    let flushed = match reads[..] {
        [1, 2, 2] => "yes",
        [1, 1, 2] => "no",
        _ => "unclear",
    };
    Ok(format!("{flushed}: reads {reads:?} before, after writing CR3, after invalidating"))
}
