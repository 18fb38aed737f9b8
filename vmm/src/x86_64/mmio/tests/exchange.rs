use super::*;

const AT: u64 = DEVICE + 0x100;
const ZF: u64 = 1 << 6;

#[test]
fn xchg_swaps_in_every_size() {
    for width in [1, 2, 4, 8] {
        let code = sized(width, 0, &[0x86], &[0x87], &[0x0b]);
        let mut machine = Machine::new(64, &code);
        let (register, memory) = (machine.cpu.gprs[RCX], machine.peek(AT, width));
        machine.retire(code.len());
        let value = register & mask(width);
        assert_eq!(
            machine.device.touches,
            [Touch::Read { gpa: AT, width }, Touch::Write { gpa: AT, width, value }]
        );
        let kept = if width >= 4 { 0 } else { register & !mask(width) };
        assert_eq!(machine.cpu.gprs[RCX], kept | memory);
        assert_eq!(machine.cpu.rflags, 2);
    }
    // AH to BH.
    let mut machine = Machine::new(64, &[0x86, 0x23]);
    let (rax, memory) = (machine.cpu.gprs[RAX], machine.peek(AT, 1));
    machine.retire(2);
    assert_eq!(machine.peek(AT, 1), rax >> 8 & 0xff);
    assert_eq!(machine.cpu.gprs[RAX], rax & !0xff00 | memory << 8);
}

#[test]
fn xadd_leaves_the_old_value_in_the_register() {
    for width in [1, 2, 4, 8] {
        let code = [&[0xf0][..], &sized(width, 0, &[0x0f, 0xc0], &[0x0f, 0xc1], &[0x0b])].concat();
        let mut machine = Machine::new(64, &code);
        machine.poke(AT, 8, u64::MAX);
        machine.cpu.gprs[RCX] = 1;
        machine.retire(code.len());
        assert_eq!(machine.peek(AT, width), 0);
        assert_eq!(machine.cpu.gprs[RCX], mask(width));
        // 1 + -1: carry, zero, parity, auxiliary.
        assert_eq!(machine.cpu.rflags, 2 | 1 | 4 | 0x10 | ZF);
    }
}

#[test]
fn cmpxchg_matches() {
    for width in [1, 2, 4, 8] {
        let code = sized(width, 0, &[0x0f, 0xb0], &[0x0f, 0xb1], &[0x0b]);
        let mut machine = Machine::new(64, &code);
        machine.poke(AT, 8, machine.cpu.gprs[RAX]);
        let before = machine.cpu.gprs;
        machine.retire(code.len());
        assert_eq!(machine.peek(AT, width), before[RCX] & mask(width));
        assert_eq!(machine.cpu.gprs, before, "the accumulator is not touched, its upper half neither");
        assert_eq!(machine.cpu.rflags, 2 | ZF | 4);
    }
}

#[test]
fn cmpxchg_that_differs_loads_the_accumulator_and_still_writes() {
    for width in [1, 2, 4, 8] {
        let code = sized(width, 0, &[0x0f, 0xb0], &[0x0f, 0xb1], &[0x0b]);
        let mut machine = Machine::new(64, &code);
        machine.cpu.gprs[RAX] = 0x5555_5555_5555_5555;
        machine.poke(AT, 8, 0x5555_5555_5555_5556);
        machine.retire(code.len());
        let value = 0x5555_5555_5555_5556 & mask(width);
        assert_eq!(
            machine.device.touches,
            [Touch::Read { gpa: AT, width }, Touch::Write { gpa: AT, width, value }]
        );
        let kept = if width >= 4 { 0 } else { 0x5555_5555_5555_5555 & !mask(width) };
        assert_eq!(machine.cpu.gprs[RAX], kept | value);
        // 0x..55 - 0x..56 = -1.
        assert_eq!(machine.cpu.rflags, 2 | 1 | 4 | 0x10 | 0x80);
    }
}

#[test]
fn cmpxchg8b_and_16b() {
    for (code, half) in [(&[0x0f, 0xc7, 0x0b][..], 4_u8), (&[0x48, 0x0f, 0xc7, 0x0b], 8)] {
        for equal in [true, false] {
            let mut machine = Machine::new(64, code);
            machine.cpu.gprs[RBX] = AT;
            let (rax, rdx) = (machine.cpu.gprs[RAX], machine.cpu.gprs[RDX]);
            machine.poke(AT, half, if equal { rax } else { !rax });
            machine.poke(AT + u64::from(half), half, rdx);
            let flags = 2 | 0x8d5 & !ZF;
            machine.cpu.rflags = flags;
            machine.retire(code.len());
            if equal {
                assert_eq!(machine.peek(AT, half), AT & mask(half));
                assert_eq!(machine.peek(AT + u64::from(half), half), machine.cpu.gprs[RCX] & mask(half));
                assert_eq!((machine.cpu.gprs[RAX], machine.cpu.gprs[RDX]), (rax, rdx));
                assert_eq!(machine.cpu.rflags, flags | ZF);
            } else {
                assert_eq!(machine.cpu.gprs[RAX], !rax & mask(half));
                assert_eq!(machine.cpu.gprs[RDX], rdx & mask(half));
                assert_eq!(machine.peek(AT, half), !rax & mask(half));
                assert_eq!(machine.cpu.rflags, flags);
            }
        }
    }
    let mut machine = Machine::new(64, &[0x48, 0x0f, 0xc7, 0x0b]);
    machine.cpu.gprs[RBX] = AT + 8;
    machine.fault(Exception::general_protection());
}
