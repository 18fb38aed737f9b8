use super::*;

/// What a register holds after `value` of `width` bytes was written to it (`high`: AH to BH).
fn merged(old: u64, value: u64, width: u8, high: bool) -> u64 {
    match (width, high) {
        (8, _) => value,
        (4, _) => value & mask(4),
        (_, true) => old & !0xff00 | (value & 0xff) << 8,
        (_, false) => old & !mask(width) | value & mask(width),
    }
}

/// ModRM `[rbx]` with register field `reg`, and REX.R for the upper eight.
fn modrm(reg: u8) -> (u8, u8) {
    (if reg >= 8 { 0x44 } else { 0 }, (reg & 7) << 3 | 3)
}

#[test]
fn store_every_register_in_every_size() {
    for width in [1, 2, 4, 8] {
        for reg in 0..16_u8 {
            let (rex, modrm) = modrm(reg);
            // Without REX, byte registers 4 to 7 are AH to BH.
            for rex in if width == 1 && reg < 8 { vec![rex, 0x40] } else { vec![rex] } {
                let code = sized(width, rex, &[0x88], &[0x89], &[modrm]);
                let mut machine = Machine::new(64, &code);
                let high = width == 1 && rex == 0 && (4..8).contains(&reg);
                let value = if high {
                    machine.cpu.gprs[usize::from(reg & 3)] >> 8
                } else {
                    machine.cpu.gprs[usize::from(reg)]
                };
                let at = machine.cpu.gprs[RBX];
                let before = machine.cpu.clone();
                machine.retire(code.len());
                let expected = Touch::Write { gpa: at, width, value: value & mask(width) };
                assert_eq!(machine.device.touches, [expected], "{code:02x?}");
                assert_eq!(machine.cpu.gprs, before.gprs);
                assert_eq!(machine.cpu.rflags, before.rflags);
            }
        }
    }
}

#[test]
fn load_every_register_in_every_size() {
    for width in [1, 2, 4, 8] {
        for reg in 0..16_u8 {
            let (rex, modrm) = modrm(reg);
            for rex in if width == 1 && reg < 8 { vec![rex, 0x40] } else { vec![rex] } {
                let code = sized(width, rex, &[0x8a], &[0x8b], &[modrm]);
                let mut machine = Machine::new(64, &code);
                let high = width == 1 && rex == 0 && (4..8).contains(&reg);
                let number = usize::from(if high { reg & 3 } else { reg });
                let at = machine.cpu.gprs[RBX];
                let mut expected = machine.cpu.gprs;
                expected[number] = merged(expected[number], machine.peek(at, width), width, high);
                machine.retire(code.len());
                assert_eq!(machine.device.touches, [Touch::Read { gpa: at, width }]);
                assert_eq!(machine.cpu.gprs, expected, "{code:02x?}");
            }
        }
    }
}

#[test]
fn immediates_are_sign_extended_to_64_bits() {
    for (code, width, value) in [
        (&[0xc6, 0x03, 0x9a][..], 1, 0x9a),
        (&[0x66, 0xc7, 0x03, 0x34, 0x92], 2, 0x9234),
        (&[0xc7, 0x03, 0x78, 0x56, 0x34, 0x92], 4, 0x9234_5678),
        (&[0x48, 0xc7, 0x03, 0x78, 0x56, 0x34, 0x92], 8, 0xffff_ffff_9234_5678),
        (&[0x48, 0xc7, 0x03, 0x78, 0x56, 0x34, 0x12], 8, 0x1234_5678),
    ] {
        let mut machine = Machine::new(64, code);
        machine.retire(code.len());
        assert_eq!(machine.device.touches, [Touch::Write { gpa: DEVICE + 0x100, width, value }]);
    }
}

#[test]
fn moffs_in_every_address_and_operand_size() {
    let at = DEVICE + 0x128;
    for (bits, address_size, address_prefix) in
        [(64, 8, false), (64, 4, true), (32, 4, false), (32, 2, true), (16, 2, false), (16, 4, true)]
    {
        for width in [1, 2, 4, 8] {
            if width == 8 && bits != 64 {
                continue;
            }
            for store in [false, true] {
                let mut code = Vec::new();
                if address_prefix {
                    code.push(0x67);
                }
                if (width == 2 && bits != 16) || (width == 4 && bits == 16) {
                    code.push(0x66);
                }
                if width == 8 {
                    code.push(0x48);
                }
                code.push(0xa0 | u8::from(width != 1) | u8::from(store) << 1);
                // 16-bit offsets reach the device through DS.
                let base = if address_size == 2 { DEVICE } else { 0 };
                code.extend_from_slice(&(at - base).to_le_bytes()[..address_size]);
                let mut machine = Machine::new(bits, &code);
                machine.cpu.segments[Segment::Ds as usize].base = if bits == 64 { 0x5555 } else { base };
                let rax = machine.cpu.gprs[RAX];
                let memory = machine.peek(at, width);
                machine.retire(code.len());
                if store {
                    let value = rax & mask(width);
                    assert_eq!(
                        machine.device.touches,
                        [Touch::Write { gpa: at, width, value }],
                        "{code:02x?}"
                    );
                } else {
                    assert_eq!(machine.device.touches, [Touch::Read { gpa: at, width }], "{code:02x?}");
                    assert_eq!(machine.cpu.gprs[RAX], merged(rax, memory, width, false), "{code:02x?}");
                }
            }
        }
    }
}

#[test]
fn zero_and_sign_extension() {
    let at = DEVICE + 0x100;
    for value in [0x1122_3344_5566_7788, 0xffee_ddcc_bbaa_9988_u64] {
        for (prefix, opcode, from, to, signed) in [
            (&[0x66][..], &[0x0f, 0xb6][..], 1, 2, false),
            (&[], &[0x0f, 0xb6], 1, 4, false),
            (&[0x48], &[0x0f, 0xb6], 1, 8, false),
            (&[], &[0x0f, 0xb7], 2, 4, false),
            (&[0x48], &[0x0f, 0xb7], 2, 8, false),
            (&[0x66], &[0x0f, 0xbe], 1, 2, true),
            (&[], &[0x0f, 0xbe], 1, 4, true),
            (&[0x48], &[0x0f, 0xbe], 1, 8, true),
            (&[], &[0x0f, 0xbf], 2, 4, true),
            (&[0x48], &[0x0f, 0xbf], 2, 8, true),
            (&[0x48], &[0x63], 4, 8, true),
        ] {
            let code = [prefix, opcode, &[0x0b]].concat(); // ecx, [rbx]
            let mut machine = Machine::new(64, &code);
            machine.poke(at, 8, value);
            let old = machine.cpu.gprs[RCX];
            machine.retire(code.len());
            let narrow = value & mask(from);
            let negative = signed && narrow >> (8 * u32::from(from) - 1) != 0;
            let wide = if negative { narrow | !mask(from) } else { narrow };
            assert_eq!(machine.cpu.gprs[RCX], merged(old, wide, to, false), "{code:02x?}");
            assert_eq!(machine.device.touches, [Touch::Read { gpa: at, width: from }]);
        }
    }
}

#[test]
fn movnti_and_movbe() {
    let at = DEVICE + 0x100;
    for (code, width) in [(&[0x0f, 0xc3, 0x0b][..], 4), (&[0x48, 0x0f, 0xc3, 0x0b], 8)] {
        let mut machine = Machine::new(64, code);
        machine.retire(code.len());
        let value = machine.cpu.gprs[RCX] & mask(width);
        assert_eq!(machine.device.touches, [Touch::Write { gpa: at, width, value }]);
    }
    for (prefix, width) in [(&[0x66][..], 2), (&[], 4), (&[0x48], 8)] {
        let load = [prefix, &[0x0f, 0x38, 0xf0, 0x0b]].concat();
        let mut machine = Machine::new(64, &load);
        machine.poke(at, 8, 0x1122_3344_5566_7788);
        let old = machine.cpu.gprs[RCX];
        machine.retire(load.len());
        let swapped = 0x8877_6655_4433_2211 >> (64 - 8 * u32::from(width));
        let swapped: u64 = match width {
            2 => 0x8877,
            4 => 0x8877_6655,
            _ => swapped,
        };
        assert_eq!(machine.cpu.gprs[RCX], merged(old, swapped, width, false));
        let store = [prefix, &[0x0f, 0x38, 0xf1, 0x0b]].concat();
        let mut machine = Machine::new(64, &store);
        machine.cpu.gprs[RCX] = 0x1122_3344_5566_7788;
        machine.retire(store.len());
        assert_eq!(machine.device.touches, [Touch::Write { gpa: at, width, value: swapped }]);
    }
}

#[test]
fn selectors_are_stored_in_16_bits() {
    for code in [&[0x8c, 0x1b][..], &[0x48, 0x8c, 0x1b], &[0x66, 0x8c, 0x1b]] {
        let mut machine = Machine::new(64, code);
        machine.cpu.segments[Segment::Ds as usize].selector = 0x1234;
        machine.retire(code.len());
        let expected = Touch::Write { gpa: DEVICE + 0x100, width: 2, value: 0x1234 };
        assert_eq!(machine.device.touches, [expected]);
    }
    Machine::new(64, &[0x8e, 0x1b]).unsupported(Unsupported::Instruction);
}

#[test]
fn sixteen_and_32_bit_code() {
    let mut machine = Machine::new(32, &[0x89, 0x0b]);
    machine.retire(2);
    let value = machine.cpu.gprs[RCX] & mask(4);
    assert_eq!(machine.device.touches, [Touch::Write { gpa: DEVICE + 0x100, width: 4, value }]);
    // mov [bx+si+8], cx with DS at the device.
    let mut machine = Machine::new(16, &[0x89, 0x48, 0x08]);
    machine.cpu.segments[Segment::Ds as usize].base = DEVICE;
    (machine.cpu.gprs[RBX], machine.cpu.gprs[RSI]) = (0xabcd_fff0, 0x7777_0020);
    machine.retire(3);
    let value = machine.cpu.gprs[RCX] & mask(2);
    assert_eq!(
        machine.device.touches,
        [Touch::Write { gpa: DEVICE + 0x18, width: 2, value }],
        "offsets wrap"
    );
}

#[test]
fn hints_touch_nothing() {
    for code in [
        &[0x0f, 0x18, 0x03][..],
        &[0x0f, 0x18, 0x0b],
        &[0x0f, 0x0d, 0x0b],
        &[0x0f, 0xae, 0x3b],
        &[0x66, 0x0f, 0xae, 0x3b],
        &[0x0f, 0x1f, 0x03],
    ] {
        let mut machine = Machine::new(64, code);
        machine.retire(code.len());
        assert_eq!(machine.device.touches, []);
    }
}
