//! Arithmetic against a reference that works bit by bit.

use proptest::prelude::*;

use super::*;

const CF: u64 = 1;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;
const ALL: u64 = CF | PF | AF | ZF | SF | OF;

/// The eight operations in the order of their opcodes.
const NAMES: [&str; 8] = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];

/// A ripple-carry adder: sum, carry out, carry into the highest bit, carry out of bit 3.
fn ripple(a: u64, b: u64, carry: bool, bits: u32) -> (u64, bool, bool, bool) {
    let (mut sum, mut carry, mut into_top, mut nibble) = (0, carry, false, false);
    for i in 0..bits {
        if i == bits - 1 {
            into_top = carry;
        }
        let (x, y) = (a >> i & 1 != 0, b >> i & 1 != 0);
        if x ^ y ^ carry {
            sum |= 1 << i;
        }
        carry = (x && y) || (carry && (x || y));
        if i == 3 {
            nibble = carry;
        }
    }
    (sum, carry, into_top, nibble)
}

fn bit(flag: u64, set: bool) -> u64 {
    if set { flag } else { 0 }
}

fn result_flags(value: u64, bits: u32) -> u64 {
    let ones = (0..8).filter(|i| value >> i & 1 != 0).count();
    bit(PF, ones % 2 == 0) | bit(ZF, value == 0) | bit(SF, value >> (bits - 1) & 1 != 0)
}

/// Result and flags of operation `op` (an index of [`NAMES`]).
fn reference(op: usize, a: u64, b: u64, carry: bool, width: u8) -> (u64, u64) {
    let bits = 8 * u32::from(width);
    let (a, b) = (a & mask(width), b & mask(width));
    let added = |carry_in| {
        let (sum, out, into_top, nibble) = ripple(a, b, carry_in, bits);
        (sum, bit(CF, out) | bit(AF, nibble) | bit(OF, out != into_top) | result_flags(sum, bits))
    };
    // a - b - c is a + !b + !c with the carries inverted.
    let subtracted = |borrow: bool| {
        let (difference, out, into_top, nibble) = ripple(a, !b, !borrow, bits);
        (
            difference,
            bit(CF, !out) | bit(AF, !nibble) | bit(OF, out != into_top) | result_flags(difference, bits),
        )
    };
    match op {
        0 => added(false),
        2 => added(carry),
        3 => subtracted(carry),
        5 | 7 => subtracted(false),
        1 => (a | b, result_flags(a | b, bits)),
        4 => (a & b, result_flags(a & b, bits)),
        _ => (a ^ b, result_flags(a ^ b, bits)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `op [rbx], rcx`
    MemoryRegister,
    /// `op rcx, [rbx]`
    RegisterMemory,
    /// `op [rbx], imm` of the operand's size, 32 bits at most.
    MemoryImmediate,
    /// `op [rbx], imm8`, sign-extended.
    MemoryImmediate8,
}

fn encode(op: usize, form: Form, width: u8, immediate: u64) -> Vec<u8> {
    let group = (op as u8) << 3;
    match form {
        Form::MemoryRegister => sized(width, 0, &[group], &[group | 1], &[0x0b]),
        Form::RegisterMemory => sized(width, 0, &[group | 2], &[group | 3], &[0x0b]),
        Form::MemoryImmediate => {
            let immediate = immediate.to_le_bytes();
            let mut code = sized(width, 0, &[0x80], &[0x81], &[group | 3]);
            code.extend_from_slice(&immediate[..usize::from(width.min(4))]);
            code
        }
        Form::MemoryImmediate8 => sized(width, 0, &[0x80], &[0x83], &[group | 3, immediate as u8]),
    }
}

/// Values near the edges of every width, besides any.
fn operand() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..64_u32, -2..=2_i64).prop_map(|(shift, near)| (1_u64 << shift).wrapping_add(near as u64)),
        (-3..=3_i64).prop_map(|near| near as u64),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn binary_operations(
        op in 0..8_usize,
        form in prop_oneof![
            Just(Form::MemoryRegister), Just(Form::RegisterMemory),
            Just(Form::MemoryImmediate), Just(Form::MemoryImmediate8)
        ],
        width in prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)],
        (memory, register) in (operand(), operand()),
        flags in any::<u64>(),
        locked in any::<bool>(),
    ) {
        let lockable = locked && op != 7 && form != Form::RegisterMemory;
        let mut code = if lockable { vec![0xf0] } else { vec![] };
        code.extend(encode(op, form, width, register));
        let mut machine = Machine::new(64, &code);
        let at = DEVICE + 0x100;
        machine.poke(at, 8, memory);
        machine.cpu.gprs[RCX] = register;
        machine.cpu.rflags = 2 | flags & ALL;
        let carry = machine.cpu.rflags & CF != 0;
        machine.retire(code.len());

        let other = match form {
            Form::MemoryRegister | Form::RegisterMemory => register,
            Form::MemoryImmediate8 => register as i8 as u64,
            Form::MemoryImmediate if width == 8 => register as i32 as u64,
            Form::MemoryImmediate => register,
        };
        let (a, b) = if form == Form::RegisterMemory { (register, memory) } else { (memory, other) };
        let (value, expected_flags) = reference(op, a, b, carry, width);
        prop_assert_eq!(machine.cpu.rflags, 2 | expected_flags, "{} {:02x?}", NAMES[op], code);
        let read = Touch::Read { gpa: at, width };
        let mut touches = vec![read];
        let mut rcx = register;
        if op != 7 && form == Form::RegisterMemory {
            rcx = match width { 8 => value, 4 => value, _ => register & !mask(width) | value };
        } else if op != 7 {
            touches.push(Touch::Write { gpa: at, width, value });
        }
        prop_assert_eq!(&machine.device.touches, &touches, "{} {:02x?}", NAMES[op], code);
        prop_assert_eq!(machine.cpu.gprs[RCX], rcx, "{} {:02x?}", NAMES[op], code);
    }

    #[test]
    fn test_with_register_and_immediate(
        width in prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)],
        (memory, register) in (operand(), operand()),
        immediate in any::<bool>(),
        flags in any::<u64>(),
    ) {
        let code = if immediate {
            let mut code = sized(width, 0, &[0xf6], &[0xf7], &[0x03]);
            code.extend_from_slice(&register.to_le_bytes()[..usize::from(width.min(4))]);
            code
        } else {
            sized(width, 0, &[0x84], &[0x85], &[0x0b])
        };
        let mut machine = Machine::new(64, &code);
        machine.poke(DEVICE + 0x100, 8, memory);
        machine.cpu.gprs[RCX] = register;
        machine.cpu.rflags = 2 | flags & ALL;
        machine.retire(code.len());
        let other = if immediate && width == 8 { register as i32 as u64 } else { register };
        let (_, expected) = reference(4, memory, other, false, width);
        prop_assert_eq!(machine.cpu.rflags, 2 | expected);
        prop_assert_eq!(machine.device.touches, [Touch::Read { gpa: DEVICE + 0x100, width }]);
    }

    #[test]
    fn unary_operations(
        op in 0..4_usize,
        width in prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)],
        memory in operand(),
        flags in any::<u64>(),
    ) {
        // inc, dec, not, neg
        let (byte, wide, modrm) = [(0xfe, 0xff, 0x03), (0xfe, 0xff, 0x0b), (0xf6, 0xf7, 0x13), (0xf6, 0xf7, 0x1b)][op];
        let code = sized(width, 0, &[byte], &[wide], &[modrm]);
        let mut machine = Machine::new(64, &code);
        let at = DEVICE + 0x100;
        machine.poke(at, 8, memory);
        machine.cpu.rflags = 2 | flags & ALL;
        let before = machine.cpu.rflags;
        machine.retire(code.len());
        let (value, expected) = match op {
            0 => { let (v, f) = reference(0, memory, 1, false, width); (v, f & !CF | before & CF) }
            1 => { let (v, f) = reference(5, memory, 1, false, width); (v, f & !CF | before & CF) }
            2 => (!memory & mask(width), before & ALL),
            _ => reference(5, 0, memory, false, width),
        };
        prop_assert_eq!(machine.cpu.rflags, 2 | expected, "{:02x?}", code);
        let touches = [Touch::Read { gpa: at, width }, Touch::Write { gpa: at, width, value }];
        prop_assert_eq!(machine.device.touches, touches, "{:02x?}", code);
    }

    #[test]
    fn bit_tests(
        op in 0..4_u8,
        width in prop_oneof![Just(2_u8), Just(4), Just(8)],
        offset in prop_oneof![-2000..2000_i64, 0..64_i64],
        immediate in any::<bool>(),
        flags in any::<u64>(),
    ) {
        let code = if immediate {
            sized(width, 0, &[], &[0x0f, 0xba], &[0x23 | op << 3, offset as u8])
        } else {
            sized(width, 0, &[], &[0x0f, 0xa3 | op << 3], &[0x0b])
        };
        let mut machine = Machine::new(64, &code);
        machine.cpu.gprs[RBX] = DEVICE + 0x800;
        // Bits above the operand's width do not count.
        machine.cpu.gprs[RCX] = if width == 8 { offset as u64 } else { offset as u64 & mask(width) | 0x7f << 57 };
        machine.cpu.rflags = 2 | flags & ALL;
        let before = machine.clone();
        machine.retire(code.len());
        let bits = 8 * i64::from(width);
        let (unit, bit) = if immediate { (0, i64::from(offset as u8) % bits) } else { (offset.div_euclid(bits), offset.rem_euclid(bits)) };
        let at = (DEVICE + 0x800).wrapping_add_signed(unit * i64::from(width));
        let old = before.peek(at, width);
        let new = match op { 0 => old, 1 => old | 1 << bit, 2 => old & !(1 << bit), _ => old ^ 1 << bit };
        prop_assert_eq!(machine.cpu.rflags, before.cpu.rflags & !CF | old >> bit & 1);
        let mut touches = vec![Touch::Read { gpa: at, width }];
        if op != 0 {
            touches.push(Touch::Write { gpa: at, width, value: new });
        }
        prop_assert_eq!(machine.device.touches, touches, "{:02x?}", code);
        prop_assert_eq!(machine.cpu.gprs, before.cpu.gprs);
    }
}

#[test]
fn a_write_that_faults_reads_nothing_first() {
    for code in [&[0x09, 0x0b][..], &[0xff, 0x03], &[0x0f, 0xab, 0x0b], &[0x87, 0x0b], &[0x0f, 0xb1, 0x0b]] {
        let mut machine = Machine::new(64, code);
        machine.cpu.gprs[RCX] = 1;
        machine.cpu.pages.insert(DEVICE, Some((DEVICE, false)));
        machine.fault(Exception::page_fault(DEVICE + 0x100, 3));
    }
}
