use super::*;

const AT: u64 = DEVICE + 0x100;

fn memory(machine: &Machine, width: u8) -> u128 {
    let low = u128::from(machine.peek(AT, width.min(8)));
    if width == 16 { low | u128::from(machine.peek(AT + 8, 8)) << 64 } else { low }
}

const VALUE: u128 = 0xfedc_ba98_7654_3210_0f1e_2d3c_4b5a_6978;

/// (prefix, opcode, bytes, must be aligned)
const STORES: &[(&[u8], &[u8], u8, bool)] = &[
    (&[], &[0x0f, 0x11], 16, false),          // movups
    (&[0x66], &[0x0f, 0x11], 16, false),      // movupd
    (&[], &[0x0f, 0x29], 16, true),           // movaps
    (&[0x66], &[0x0f, 0x29], 16, true),       // movapd
    (&[0x66], &[0x0f, 0x7f], 16, true),       // movdqa
    (&[0xf3], &[0x0f, 0x7f], 16, false),      // movdqu
    (&[], &[0x0f, 0x2b], 16, true),           // movntps
    (&[0x66], &[0x0f, 0xe7], 16, true),       // movntdq
    (&[0x66], &[0x0f, 0x7e], 4, false),       // movd
    (&[0x66, 0x48], &[0x0f, 0x7e], 8, false), // movq
    (&[0x66], &[0x0f, 0xd6], 8, false),       // movq
    (&[0xf3], &[0x0f, 0x11], 4, false),       // movss
    (&[0xf2], &[0x0f, 0x11], 8, false),       // movsd
    (&[], &[0x0f, 0x13], 8, false),           // movlps
];

const LOADS: &[(&[u8], &[u8], u8, bool)] = &[
    (&[], &[0x0f, 0x10], 16, false),
    (&[0x66], &[0x0f, 0x10], 16, false),
    (&[], &[0x0f, 0x28], 16, true),
    (&[0x66], &[0x0f, 0x28], 16, true),
    (&[0x66], &[0x0f, 0x6f], 16, true),
    (&[0xf3], &[0x0f, 0x6f], 16, false),
    (&[0xf2], &[0x0f, 0xf0], 16, false),      // lddqu
    (&[0x66], &[0x0f, 0x38, 0x2a], 16, true), // movntdqa
    (&[0x66], &[0x0f, 0x6e], 4, false),
    (&[0x66, 0x48], &[0x0f, 0x6e], 8, false),
    (&[0xf3], &[0x0f, 0x7e], 8, false),
    (&[0xf3], &[0x0f, 0x10], 4, false),
    (&[0xf2], &[0x0f, 0x10], 8, false),
];

fn machine(prefix: &[u8], opcode: &[u8]) -> (Machine, usize) {
    let code = [prefix, opcode, &[0x2b]].concat(); // xmm5, [rbx]
    let mut machine = Machine::new(64, &code);
    machine.cpu.xmm.as_mut().unwrap()[5] = VALUE;
    (machine, code.len())
}

#[test]
fn stores() {
    for (prefix, opcode, width, _) in STORES {
        let (mut machine, length) = machine(prefix, opcode);
        machine.retire(length);
        let kept = u128::MAX >> (128 - 8 * u32::from(*width));
        assert_eq!(memory(&machine, *width), VALUE & kept, "{prefix:02x?} {opcode:02x?}");
        let bytes: u64 = machine
            .device
            .touches
            .iter()
            .map(|touch| match touch {
                Touch::Write { width, .. } => u64::from(*width),
                Touch::Read { .. } => panic!("a store read"),
            })
            .sum();
        assert_eq!(bytes, u64::from(*width));
    }
}

#[test]
fn loads_clear_what_they_do_not_fill() {
    for (prefix, opcode, width, _) in LOADS {
        let (mut machine, length) = machine(prefix, opcode);
        machine.retire(length);
        assert_eq!(machine.cpu.xmm.unwrap()[5], memory(&machine, *width), "{prefix:02x?} {opcode:02x?}");
    }
}

#[test]
fn halves_are_merged() {
    for (opcode, high) in [([0x0f, 0x12], false), ([0x0f, 0x16], true)] {
        for prefix in [&[][..], &[0x66]] {
            let (mut machine, length) = machine(prefix, &opcode);
            machine.retire(length);
            let loaded = memory(&machine, 8);
            let low = u128::from(u64::MAX);
            let expected = if high { VALUE & low | loaded << 64 } else { VALUE & !low | loaded };
            assert_eq!(machine.cpu.xmm.unwrap()[5], expected);
        }
    }
    let (mut machine, length) = machine(&[], &[0x0f, 0x17]);
    machine.retire(length);
    assert_eq!(memory(&machine, 8), VALUE >> 64);
}

#[test]
fn misalignment() {
    for (prefix, opcode, _, aligned) in STORES.iter().chain(LOADS) {
        let (mut machine, length) = machine(prefix, opcode);
        machine.cpu.gprs[RBX] = AT + 8;
        if *aligned {
            machine.fault(Exception::general_protection());
        } else {
            machine.retire(length);
        }
    }
}

#[test]
fn upper_registers() {
    // movdqu [r9], xmm14
    let mut machine = Machine::new(64, &[0xf3, 0x45, 0x0f, 0x7f, 0x31]);
    machine.cpu.gprs[9] = AT;
    machine.cpu.xmm.as_mut().unwrap()[14] = VALUE;
    machine.retire(5);
    assert_eq!(memory(&machine, 16), VALUE);
}

#[test]
fn without_vector_registers() {
    for (prefix, opcode, ..) in STORES.iter().chain(LOADS) {
        let (mut machine, _) = machine(prefix, opcode);
        machine.cpu.xmm = None;
        machine.unsupported(Unsupported::VectorRegisters);
    }
    // MMX: movq mm0, [rbx]
    Machine::new(64, &[0x0f, 0x6f, 0x03]).unsupported(Unsupported::Instruction);
    Machine::new(64, &[0x0f, 0xe7, 0x03]).unsupported(Unsupported::Instruction);
}
