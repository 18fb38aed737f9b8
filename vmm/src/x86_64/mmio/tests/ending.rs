//! What is left of an instruction that has ended.

use super::*;

#[test]
fn rip_wraps_within_the_mode() {
    for (bits, rip, next) in [(16, 0xfffe, 0), (32, 0xffff_fffe, 0), (64, 0xffff_ffff_ffff_fffe, 0)] {
        let mut machine = Machine::new(bits, &[]);
        machine.cpu.rip = rip;
        let page = rip & !0xfff;
        machine.cpu.pages.insert(page, Some((0x3000, true)));
        machine.poke(0x3ffe, 2, if bits == 16 { 0x0f89 } else { 0x0b89 });
        if bits == 16 {
            machine.cpu.segments[Segment::Ds as usize].base = DEVICE;
        }
        assert_eq!(machine.emulate(), Ok(Outcome::Retired));
        assert_eq!(machine.cpu.rip, next);
    }
}

#[test]
fn single_stepping_is_told() {
    for tf in [0, TF] {
        let mut machine = Machine::new(64, &[0x01, 0x0b]);
        machine.cpu.rflags |= tf;
        machine.retire(2);
        assert_eq!(machine.cpu.retired, Some((CODE + 2, tf != 0)));
        assert_eq!(machine.cpu.rflags & TF, tf);
    }
}

#[test]
fn moves_leave_the_flags() {
    for code in [&[0x89, 0x0b][..], &[0x8b, 0x0b], &[0x87, 0x0b], &[0xf7, 0x13], &[0xa5]] {
        let mut machine = Machine::new(64, code);
        machine.cpu.rflags = 2 | flags::STATUS;
        machine.cpu.gprs[RSI] = DEVICE;
        machine.cpu.gprs[RDI] = DEVICE + 8;
        machine.retire(code.len());
        assert_eq!(machine.cpu.rflags, 2 | flags::STATUS);
    }
}

#[test]
fn ram_operands_work_as_well() {
    let mut machine = Machine::new(64, &[0x01, 0x0b]);
    machine.cpu.gprs[RBX] = 0x5ffe;
    let expected = machine.peek(0x5ffe, 4).wrapping_add(machine.cpu.gprs[RCX]) & mask(4);
    machine.retire(2);
    assert_eq!(machine.peek(0x5ffe, 4), expected);
    assert_eq!(machine.device.touches, []);
}

#[test]
fn writes_are_translated_as_writes_and_reads_as_reads() {
    let touch = |code: &[u8]| {
        let mut machine = Machine::new(64, code);
        machine.cpu.gprs[RDX] = 3;
        machine.retire(code.len());
        machine.cpu.translated[1..].to_vec()
    };
    assert_eq!(touch(&[0x8b, 0x0b]), [(DEVICE + 0x100, Access::Read)]);
    assert_eq!(touch(&[0x3b, 0x0b]), [(DEVICE + 0x100, Access::Read)]);
    assert_eq!(touch(&[0x39, 0x0b]), [(DEVICE + 0x100, Access::Read)]);
    assert_eq!(touch(&[0x85, 0x0b]), [(DEVICE + 0x100, Access::Read)]);
    assert_eq!(touch(&[0x89, 0x0b]), [(DEVICE + 0x100, Access::Write)]);
    assert_eq!(touch(&[0x01, 0x0b]), [(DEVICE + 0x100, Access::Write)]);
    assert_eq!(touch(&[0x0f, 0xa3, 0x13])[0].1, Access::Read);
}
