use super::*;

const AT: u64 = DEVICE + 0x100;

#[test]
fn push_from_a_device() {
    for (bits, code, width) in [
        (64, &[0xff, 0x33][..], 8),
        (64, &[0x66, 0xff, 0x33], 2),
        (32, &[0xff, 0x33], 4),
        (32, &[0x66, 0xff, 0x33], 2),
    ] {
        let mut machine = Machine::new(bits, code);
        let memory = machine.peek(AT, width);
        machine.retire(code.len());
        assert_eq!(machine.cpu.gprs[RSP], 0x8000 - u64::from(width));
        assert_eq!(machine.peek(0x8000 - u64::from(width), width), memory);
        assert_eq!(machine.device.touches, [Touch::Read { gpa: AT, width }]);
    }
}

#[test]
fn pop_to_a_device() {
    for (bits, code, width) in [
        (64, &[0x8f, 0x03][..], 8),
        (64, &[0x66, 0x8f, 0x03], 2),
        (32, &[0x8f, 0x03], 4),
        (32, &[0x66, 0x8f, 0x03], 2),
    ] {
        let mut machine = Machine::new(bits, code);
        let value = machine.peek(0x8000, width);
        machine.retire(code.len());
        assert_eq!(machine.cpu.gprs[RSP], 0x8000 + u64::from(width));
        assert_eq!(machine.device.touches, [Touch::Write { gpa: AT, width, value }]);
    }
}

#[test]
fn push_and_pop_with_rsp_as_base_use_it_before_and_after() {
    // push [rsp+0x10]: the address is that before the push.
    let mut machine = Machine::new(64, &[0xff, 0x74, 0x24, 0x10]);
    machine.cpu.gprs[RSP] = AT;
    let memory = machine.peek(AT + 0x10, 8);
    machine.retire(4);
    assert_eq!(machine.peek(AT - 8, 8), memory);
    assert_eq!(machine.cpu.gprs[RSP], AT - 8);
    // pop [rsp+0x10]: the address is that after the pop.
    let mut machine = Machine::new(64, &[0x8f, 0x44, 0x24, 0x10]);
    machine.cpu.gprs[RSP] = AT;
    let memory = machine.peek(AT, 8);
    machine.retire(4);
    assert_eq!(machine.peek(AT + 8 + 0x10, 8), memory);
}

#[test]
fn a_16_bit_stack_wraps_and_keeps_the_upper_half() {
    let mut machine = Machine::new(16, &[0xff, 0x37]); // push [bx]
    machine.cpu.segments[Segment::Ds as usize].base = DEVICE;
    machine.cpu.segments[Segment::Ss as usize].rights = 0x0093;
    machine.cpu.gprs[RBX] = 0x100;
    machine.cpu.gprs[RSP] = 0x1234_0000;
    let memory = machine.peek(AT, 2);
    machine.retire(2);
    assert_eq!(machine.cpu.gprs[RSP], 0x1234_fffe);
    assert_eq!(machine.peek(0xfffe, 2), memory);
}

#[test]
fn stack_faults_come_before_the_device_is_read() {
    let mut machine = Machine::new(64, &[0xff, 0x33]);
    machine.cpu.gprs[RSP] = 0x8000_0000_0000 + 8;
    machine.cpu.pages.insert(0x8000_0000_0000, Some((0, true)));
    machine.fault(Exception::stack_fault());
    let mut machine = Machine::new(64, &[0xff, 0x33]);
    machine.cpu.pages.insert(0x7000, None);
    machine.fault(Exception::page_fault(0x7ff8, 2));
    // The pop's destination faults: RSP stays.
    let mut machine = Machine::new(64, &[0x8f, 0x03]);
    machine.cpu.pages.insert(DEVICE, Some((DEVICE, false)));
    machine.fault(Exception::page_fault(AT, 3));
}
