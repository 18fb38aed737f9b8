use super::*;

/// A store of CL to the device, as a five-byte instruction at `at`.
fn at(at: u64) -> Machine {
    let mut machine = Machine::new(64, &[]);
    for (i, byte) in [0x66, 0x89, 0x4b, 0x10, 0x90].into_iter().enumerate() {
        machine.poke(at + i as u64, 1, byte);
    }
    machine.cpu.rip = at;
    machine
}

#[test]
fn across_pages_at_every_split() {
    for before in 1..4 {
        let mut machine = at(0x3000 - before);
        machine.retire(4);
        assert_eq!(machine.device.touches.len(), 1, "{before} bytes in the first page");
    }
}

#[test]
fn the_second_page_is_needed_only_if_the_instruction_reaches_it() {
    let mut machine = at(0x3000 - 4);
    machine.cpu.pages.insert(0x3000, None);
    machine.retire(4);
    for before in 1..4 {
        let mut machine = at(0x3000 - before);
        machine.cpu.pages.insert(0x3000, None);
        machine.fault(Exception::page_fault(0x3000, 0));
    }
}

#[test]
fn a_discontiguous_second_page() {
    let mut machine = at(0x3000 - 2);
    machine.cpu.pages.insert(0x3000, Some((0x6000, true)));
    let rest = machine.peek(0x3000, 2);
    machine.poke(0x6000, 2, rest);
    machine.poke(0x3000, 2, 0xffff);
    machine.retire(4);
}

#[test]
fn the_code_segment_has_a_base_and_a_limit() {
    let mut machine = Machine::new(32, &[0x89, 0x0b]);
    machine.cpu.segments[Segment::Cs as usize].base = 0x800;
    machine.cpu.rip = CODE - 0x800;
    machine.cpu.segments[Segment::Cs as usize].limit = CODE as u32 - 0x800 + 1;
    machine.clone().retire(2);
    machine.cpu.segments[Segment::Cs as usize].limit -= 1;
    machine.fault(Exception::general_protection());
    machine.cpu.rip = 0xffff_0000;
    machine.fault(Exception::general_protection());
}

#[test]
fn what_is_too_long_or_invalid() {
    // Fifteen prefixes.
    Machine::new(64, &[0x66; 20]).fault(Exception::general_protection());
    // Fourteen and an opcode are still too long with its operand.
    let code = [&[0x66; 14][..], &[0x89, 0x0b]].concat();
    Machine::new(64, &code).fault(Exception::general_protection());
    let code = [&[0x66; 13][..], &[0x89, 0x0b]].concat();
    Machine::new(64, &code).retire(15);
    // ud2; lock mov; push es in 64-bit mode.
    for code in [&[0x0f, 0x0b][..], &[0xf0, 0x89, 0x0b], &[0x06]] {
        let mut machine = Machine::new(64, code);
        if code == [0x0f, 0x0b] {
            machine.unsupported(Unsupported::NoMemoryOperand);
        } else {
            machine.fault(Exception::invalid_opcode());
        }
    }
    // lock cmp; lock with a register destination.
    Machine::new(64, &[0xf0, 0x39, 0x0b]).fault(Exception::invalid_opcode());
    Machine::new(64, &[0xf0, 0x03, 0x0b]).fault(Exception::invalid_opcode());
}

#[test]
fn other_encodings_are_refused_by_name() {
    for code in [
        &[0xc5, 0xfa, 0x6f, 0x03][..],         // vmovdqu xmm0, [rbx]
        &[0xc5, 0xfe, 0x7f, 0x03],             // vmovdqu [rbx], ymm0
        &[0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x03], // vmovdqu64 zmm0, [rbx]
        &[0xc4, 0xe2, 0x78, 0xf2, 0x03],       // andn eax, eax, [rbx]
    ] {
        Machine::new(64, code).unsupported(Unsupported::Encoding);
    }
}

#[test]
fn what_is_not_emulated_is_refused() {
    Machine::new(64, &[0x89, 0xc8]).unsupported(Unsupported::NoMemoryOperand);
    Machine::new(64, &[0xc3]).unsupported(Unsupported::NoMemoryOperand);
    // fld, mul, lgdt, call
    for code in [&[0xd9, 0x03][..], &[0xf7, 0x23], &[0x0f, 0x01, 0x13], &[0xff, 0x13]] {
        Machine::new(64, code).unsupported(Unsupported::Instruction);
    }
    let mut machine = Machine::new(64, &[]);
    machine.cpu.rip = DEVICE;
    machine.unsupported(Unsupported::FetchFromDevice);
    let error = Machine::new(64, &[0xc3]).emulate().unwrap_err();
    assert!(error.to_string().contains("0x1000") && error.to_string().contains("[c3]"), "{error}");
}

#[test]
fn a_non_canonical_rip() {
    let mut machine = Machine::new(64, &[]);
    machine.cpu.rip = 0x8000_0000_0000;
    machine.fault(Exception::general_protection());
    // The last page of the lower half, and an instruction that goes on.
    let mut machine = Machine::new(64, &[]);
    machine.cpu.pages.insert(0x7fff_ffff_f000, Some((0x3000, true)));
    machine.poke(0x3fff, 1, 0x89);
    machine.cpu.rip = 0x7fff_ffff_ffff;
    machine.fault(Exception::general_protection());
}
