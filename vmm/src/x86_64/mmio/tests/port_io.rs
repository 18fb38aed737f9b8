use super::*;

/// Ports that answer with a counter and remember what they were told.
#[derive(Debug, Default)]
struct Ports {
    next: u32,
    touches: Vec<(u16, u8, Option<u32>)>,
}

impl PortAccess for Ports {
    fn read(&mut self, port: u16, width: u8) -> u32 {
        self.touches.push((port, width, None));
        self.next = self.next.wrapping_add(0x1111_1111);
        self.next
    }

    fn write(&mut self, port: u16, width: u8, value: u32) {
        self.touches.push((port, width, Some(value)));
    }
}

fn run(machine: &mut Machine, ports: &mut Ports) -> Ending {
    emulate_port_io(&mut machine.cpu, ports, &mut machine.device)
}

#[test]
fn in_and_out() {
    for (code, port, width) in [
        (&[0xe4, 0x71][..], 0x71, 1),
        (&[0x66, 0xe5, 0x71], 0x71, 2),
        (&[0xe5, 0x71], 0x71, 4),
        (&[0xec], 0x3f8, 1),
        (&[0x66, 0xed], 0x3f8, 2),
        (&[0xed], 0x3f8, 4),
    ] {
        let mut machine = Machine::new(64, code);
        machine.cpu.gprs[RDX] = 0xffff_0000_0000_03f8;
        let (rax, mut ports) = (machine.cpu.gprs[RAX], Ports::default());
        assert_eq!(run(&mut machine, &mut ports), Ok(Outcome::Retired));
        assert_eq!(ports.touches, [(port, width, None)]);
        let kept = if width == 4 { 0 } else { rax & !mask(width) };
        assert_eq!(machine.cpu.gprs[RAX], kept | 0x1111_1111 & mask(width));
        assert_eq!(machine.cpu.rip, CODE + code.len() as u64);

        let mut code = code.to_vec();
        *code.iter_mut().find(|byte| matches!(**byte, 0xe4 | 0xe5 | 0xec | 0xed)).unwrap() |= 2;
        let mut machine = Machine::new(64, &code);
        machine.cpu.gprs[RDX] = 0x3f8;
        let (value, mut ports) = (machine.cpu.gprs[RAX] & mask(width), Ports::default());
        assert_eq!(run(&mut machine, &mut ports), Ok(Outcome::Retired));
        let written: Vec<_> = ports
            .touches
            .iter()
            .map(|(port, width, value)| (*port, *width, value.map(|v| u64::from(v) & mask(*width))))
            .collect();
        assert_eq!(written, [(port, width, Some(value))]);
    }
}

#[test]
fn rep_ins_fills_memory() {
    for width in [1_u8, 2, 4] {
        for down in [false, true] {
            let code = [&[0xf3][..], &sized(width, 0, &[0x6c], &[0x6d], &[])].concat();
            let mut machine = Machine::new(64, &code);
            machine.cpu.gprs[RDX] = 0x1f0;
            machine.cpu.gprs[RDI] = 0x6000;
            machine.cpu.gprs[RCX] = 5;
            machine.cpu.rflags |= if down { 1 << 10 } else { 0 };
            let mut ports = Ports::default();
            assert_eq!(run(&mut machine, &mut ports), Ok(Outcome::Retired));
            assert_eq!(ports.touches, [(0x1f0, width, None); 5]);
            for i in 0..5_u64 {
                let step = i * u64::from(width);
                let at = if down { 0x6000 - step } else { 0x6000 + step };
                assert_eq!(machine.peek(at, width), (0x1111_1111 * (i + 1)) & mask(width));
            }
            assert_eq!(machine.cpu.gprs[RCX], 0);
        }
    }
}

#[test]
fn rep_outs_reads_memory_through_its_segment() {
    let mut machine = Machine::new(32, &[0xf3, 0x65, 0x66, 0x6f]); // rep outsw, gs:
    machine.cpu.segments[Segment::Gs as usize].base = 0x2000;
    machine.cpu.gprs[RDX] = 0x3f8;
    machine.cpu.gprs[RSI] = 0x1000;
    machine.cpu.gprs[RCX] = 3;
    let mut ports = Ports::default();
    assert_eq!(run(&mut machine, &mut ports), Ok(Outcome::Retired));
    let expected: Vec<_> = (0..3).map(|i| (0x3f8, 2, Some(machine.peek(0x3000 + 2 * i, 2) as u32))).collect();
    assert_eq!(ports.touches, expected);
    assert_eq!(machine.cpu.gprs[RSI], 0x1006);
}

#[test]
fn the_memory_side_may_be_a_device() {
    let mut machine = Machine::new(64, &[0x6d]);
    machine.cpu.gprs[RDI] = DEVICE;
    let mut ports = Ports::default();
    assert_eq!(run(&mut machine, &mut ports), Ok(Outcome::Retired));
    assert_eq!(machine.device.touches, [Touch::Write { gpa: DEVICE, width: 4, value: 0x1111_1111 }]);
}

#[test]
fn a_faulting_destination_reads_no_port() {
    let mut machine = Machine::new(64, &[0xf3, 0x6c]);
    machine.cpu.gprs[RDI] = 0x6ffe;
    machine.cpu.gprs[RCX] = 5;
    machine.cpu.pages.insert(0x7000, Some((0x7000, false)));
    let mut ports = Ports::default();
    assert_eq!(run(&mut machine, &mut ports), Ok(Outcome::Exception(Exception::page_fault(0x7000, 3))));
    assert_eq!(ports.touches.len(), 2);
    assert_eq!((machine.cpu.gprs[RCX], machine.cpu.gprs[RDI]), (3, 0x7000));
}

#[test]
fn long_transfers_come_in_parts_and_zero_is_none() {
    let mut machine = Machine::new(64, &[0xf3, 0x6e]);
    machine.cpu.gprs[RSI] = 0x4000;
    machine.cpu.gprs[RCX] = u64::from(MAX_ITERATIONS) + 1;
    let mut ports = Ports::default();
    assert_eq!(run(&mut machine, &mut ports), Ok(Outcome::Partial));
    assert_eq!(machine.cpu.gprs[RCX], 1);
    assert_eq!(run(&mut machine, &mut ports), Ok(Outcome::Retired));
    assert_eq!(ports.touches.len(), MAX_ITERATIONS as usize + 1);
    let mut machine = Machine::new(64, &[0xf3, 0x6e]);
    machine.cpu.gprs[RCX] = 0;
    let mut ports = Ports::default();
    assert_eq!(run(&mut machine, &mut ports), Ok(Outcome::Retired));
    assert!(ports.touches.is_empty());
}

#[test]
fn each_door_takes_its_own_instructions() {
    for code in [&[0x6c][..], &[0xf3, 0x6f]] {
        let mut machine = Machine::new(64, code);
        machine.unsupported(Unsupported::Instruction);
    }
    Machine::new(64, &[0xec]).unsupported(Unsupported::NoMemoryOperand);
    let mut machine = Machine::new(64, &[0x89, 0x0b]);
    assert!(matches!(
        run(&mut machine, &mut Ports::default()),
        Err(EmulationError::Unsupported { reason: Unsupported::Instruction, .. })
    ));
}
