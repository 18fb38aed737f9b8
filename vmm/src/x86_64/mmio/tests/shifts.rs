//! Shifts, rotates, IMUL, SETcc and CMOVcc.

use proptest::prelude::*;

use super::*;

const CF: u64 = 1;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;
const AT: u64 = DEVICE + 0x100;

/// One step of `op` (ROL, ROR, RCL, RCR, SHL, SHR, SAL, SAR) on a value of `bits`: value and carry.
fn step(op: u8, value: u64, carry: bool, bits: u32) -> (u64, bool) {
    let mask = u64::MAX >> (64 - bits);
    let (low, high) = (value & 1, value >> (bits - 1) & 1);
    let carry = u64::from(carry);
    let (value, carry) = match op {
        0 => (value << 1 | high, high),
        1 => (value >> 1 | low << (bits - 1), low),
        2 => (value << 1 | carry, high),
        3 => (value >> 1 | carry << (bits - 1), low),
        4 | 6 => (value << 1, high),
        5 => (value >> 1, low),
        _ => (value >> 1 | high << (bits - 1), low),
    };
    (value & mask, carry != 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shifts_and_rotates(
        op in 0..8_u8,
        form in 0..3_u8,
        width in prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)],
        memory in any::<u64>(),
        count in prop_oneof![0..4_u8, any::<u8>()],
        flags in any::<u64>(),
    ) {
        let modrm = op << 3 | 3;
        let (code, count) = match form {
            0 => (sized(width, 0, &[0xd0], &[0xd1], &[modrm]), 1),
            1 => (sized(width, 0, &[0xd2], &[0xd3], &[modrm]), count),
            _ => (sized(width, 0, &[0xc0], &[0xc1], &[modrm, count]), count),
        };
        let mut machine = Machine::new(64, &code);
        machine.poke(AT, 8, memory);
        machine.cpu.gprs[RCX] = 0xffff_ff00 | u64::from(count);
        machine.cpu.rflags = 2 | flags & (CF | PF | AF | ZF | SF | OF);
        let before = machine.cpu.rflags;
        machine.retire(code.len());

        let bits = 8 * u32::from(width);
        let steps = u32::from(count) & if width == 8 { 63 } else { 31 };
        let (mut value, mut carry) = (memory & mask(width), before & CF != 0);
        for _ in 0..steps {
            (value, carry) = step(op, value, carry, bits);
        }
        if steps == 0 {
            prop_assert_eq!(machine.device.touches, [Touch::Read { gpa: AT, width }]);
            prop_assert_eq!(machine.cpu.rflags, before);
            return Ok(());
        }
        let expected = [Touch::Read { gpa: AT, width }, Touch::Write { gpa: AT, width, value }];
        prop_assert_eq!(machine.device.touches, expected, "{:02x?}", code);
        let flag = |mask: u64| machine.cpu.rflags & mask != 0;
        // A shift by more than the width leaves CF undefined, except SAR's.
        if op < 4 || op == 7 || steps <= bits {
            prop_assert_eq!(flag(CF), carry, "{:02x?}", code);
        }
        if steps == 1 {
            let old = memory >> (bits - 1) & 1;
            let new = value >> (bits - 1) & 1;
            prop_assert_eq!(flag(OF), old != new, "OF: the sign has changed, {:02x?}", code);
        }
        if op >= 4 {
            prop_assert_eq!(flag(ZF), value == 0);
            prop_assert_eq!(flag(SF), value >> (bits - 1) != 0);
            prop_assert_eq!(flag(PF), (value as u8).count_ones().is_multiple_of(2));
        } else {
            let kept = PF | AF | ZF | SF;
            prop_assert_eq!(machine.cpu.rflags & kept, before & kept);
        }
    }

    #[test]
    fn products(
        width in prop_oneof![Just(2_u8), Just(4), Just(8)],
        (memory, register) in prop_oneof![
            (any::<u64>(), any::<u64>()),
            (-200..200_i64, -200..200_i64).prop_map(|(a, b)| (a as u64, b as u64)),
        ],
        form in 0..3_u8,
    ) {
        let code = match form {
            0 => sized(width, 0, &[], &[0x0f, 0xaf], &[0x0b]),
            1 => sized(width, 0, &[], &[0x6b], &[0x0b, register as u8]),
            _ => {
                let immediate = register.to_le_bytes();
                let size = usize::from(width.min(4));
                sized(width, 0, &[], &[0x69], &[&[0x0b], &immediate[..size]].concat())
            }
        };
        let mut machine = Machine::new(64, &code);
        machine.poke(AT, 8, memory);
        machine.cpu.gprs[RCX] = register;
        machine.retire(code.len());
        let other = match form { 1 => register as i8 as u64, 2 if width == 8 => register as i32 as u64, _ => register };
        let (low, fits) = match width {
            2 => { let (v, o) = (memory as i16).overflowing_mul(other as i16); (register & !0xffff | v as u16 as u64, !o) }
            4 => { let (v, o) = (memory as i32).overflowing_mul(other as i32); (v as u32 as u64, !o) }
            _ => { let (v, o) = (memory as i64).overflowing_mul(other as i64); (v as u64, !o) }
        };
        prop_assert_eq!(machine.cpu.gprs[RCX], low, "{:02x?}", code);
        prop_assert_eq!(machine.cpu.rflags & (CF | OF), if fits { 0 } else { CF | OF });
    }
}

/// The sixteen conditions by their number, as the manual's table words them.
fn holds(number: u8, flags: u64) -> bool {
    let [c, z, s, o, p] = [CF, ZF, SF, OF, PF].map(|mask| flags & mask != 0);
    let even = match number / 2 {
        0 => o,
        1 => c,
        2 => z,
        3 => c || z,
        4 => s,
        5 => p,
        6 => s != o,
        _ => z || s != o,
    };
    even == number.is_multiple_of(2)
}

#[test]
fn every_condition_with_every_flag() {
    for number in 0..16_u8 {
        for case in 0..32_u64 {
            let flags = [CF, ZF, SF, OF, PF]
                .iter()
                .enumerate()
                .fold(2, |all, (i, mask)| if case >> i & 1 != 0 { all | mask } else { all });
            let mut set = Machine::new(64, &[0x0f, 0x90 | number, 0x03]);
            set.cpu.rflags = flags;
            set.retire(3);
            let value = u64::from(holds(number, flags));
            assert_eq!(
                set.device.touches,
                [Touch::Write { gpa: AT, width: 1, value }],
                "{number} {flags:#x}"
            );
            assert_eq!(set.cpu.rflags, flags);
            for width in [2, 4, 8] {
                let code = sized(width, 0, &[], &[0x0f, 0x40 | number], &[0x0b]);
                let mut cmov = Machine::new(64, &code);
                cmov.cpu.rflags = flags;
                let (old, memory) = (cmov.cpu.gprs[RCX], cmov.peek(AT, width));
                cmov.retire(code.len());
                let kept = if width == 2 { old & !mask(2) } else { 0 };
                let expected = kept | if holds(number, flags) { memory } else { old & mask(width) };
                assert_eq!(cmov.cpu.gprs[RCX], expected, "{number} {flags:#x}");
                assert_eq!(cmov.device.touches, [Touch::Read { gpa: AT, width }], "read in any case");
            }
        }
    }
}
