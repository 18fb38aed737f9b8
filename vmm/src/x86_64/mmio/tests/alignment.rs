//! Every size at every alignment, within a page and across two.

use super::*;

/// Device pages 1 and 4 side by side at linear 0x40000, RAM page 2 between devices at 0x50000.
fn machine(code: &[u8]) -> Machine {
    let mut machine = Machine::new(64, code);
    for (linear, gpa) in [
        (0x4_0000, DEVICE + 0x1000),
        (0x4_1000, DEVICE + 0x4000),
        (0x5_0000, DEVICE + 0x2000),
        (0x5_1000, 0x2000),
        (0x5_2000, DEVICE + 0x3000),
    ] {
        machine.cpu.pages.insert(linear, Some((gpa, true)));
    }
    machine
}

/// Physical address of a linear one in [`machine`].
fn physical(machine: &Machine, linear: u64) -> u64 {
    machine.cpu.pages[&(linear & !0xfff)].unwrap().0 | linear & 0xfff
}

/// Offsets around both ends of a page, and some inside.
fn offsets() -> impl Iterator<Item = u64> {
    (0..24).chain(0xfd0..0x1010)
}

#[test]
fn loads() {
    for base in [0x4_0000, 0x5_0000, 0x5_1000] {
        for at in offsets().map(|offset| base + offset) {
            for width in [1, 2, 4, 8] {
                let code = sized(width, 0, &[0x8a], &[0x8b], &[0x0b]);
                let mut machine = machine(&code);
                machine.cpu.gprs[RBX] = at;
                machine.cpu.gprs[RCX] = 0;
                machine.retire(code.len());
                let expected = (0..u64::from(width))
                    .map(|i| u64::from(pattern(physical(&machine, at + i))) << (8 * i))
                    .fold(0, |all, byte| all | byte);
                assert_eq!(machine.cpu.gprs[RCX], expected, "{width} bytes at {at:#x}");
                let device_bytes =
                    (0..width).filter(|i| physical(&machine, at + u64::from(*i)) >= DEVICE).count();
                let touched: usize = machine
                    .device
                    .touches
                    .iter()
                    .map(|touch| match touch {
                        Touch::Read { width, .. } => usize::from(*width),
                        Touch::Write { .. } => panic!("a load wrote"),
                    })
                    .sum();
                assert_eq!(touched, device_bytes, "each byte is read once");
                if at % u64::from(width) == 0 {
                    assert!(machine.device.touches.len() <= 1, "aligned accesses are not split");
                }
            }
        }
    }
}

#[test]
fn stores() {
    for base in [0x4_0000, 0x5_0000, 0x5_1000] {
        for at in offsets().map(|offset| base + offset) {
            for width in [1, 2, 4, 8] {
                let code = sized(width, 0, &[0x88], &[0x89], &[0x0b]);
                let mut machine = machine(&code);
                machine.cpu.gprs[RBX] = at;
                machine.cpu.gprs[RCX] = 0x8877_6655_4433_2211;
                let mut expected = machine.clone();
                machine.retire(code.len());
                for i in 0..u64::from(width) {
                    expected.poke(physical(&machine, at + i), 1, 0x8877_6655_4433_2211 >> (8 * i));
                }
                assert_eq!(machine.cpu.ram, expected.cpu.ram, "{width} bytes at {at:#x}");
                assert_eq!(machine.device.bytes, expected.device.bytes, "{width} bytes at {at:#x}");
                let written: u64 = machine
                    .device
                    .touches
                    .iter()
                    .map(|touch| match touch {
                        Touch::Write { width, value, .. } => {
                            assert_eq!(value & !mask(*width), 0, "no stray upper bits");
                            u64::from(*width)
                        }
                        Touch::Read { .. } => panic!("a store read"),
                    })
                    .sum();
                let device_bytes =
                    (0..u64::from(width)).filter(|i| physical(&machine, at + i) >= DEVICE).count();
                assert_eq!(written, device_bytes as u64, "each byte is written once");
            }
        }
    }
}

#[test]
fn a_fault_on_the_second_page_comes_before_any_access() {
    for width in [2, 4, 8] {
        for reach in 1..u64::from(width) {
            let code = sized(width, 0, &[0x88], &[0x89], &[0x0b]);
            let mut machine = machine(&code);
            machine.cpu.pages.insert(0x4_1000, None);
            machine.cpu.gprs[RBX] = 0x4_1000 - reach;
            machine.fault(Exception::page_fault(0x4_1000, 2));
            let code = sized(width, 0, &[0x8a], &[0x8b], &[0x0b]);
            machine.cpu.ram[CODE as usize..CODE as usize + code.len()].copy_from_slice(&code);
            machine.fault(Exception::page_fault(0x4_1000, 0));
        }
    }
}

#[test]
fn sixteen_bytes_at_every_alignment() {
    for at in offsets().map(|offset| 0x4_0000 + offset) {
        let mut machine = machine(&[0xf3, 0x0f, 0x6f, 0x13]); // movdqu xmm2, [rbx]
        machine.cpu.gprs[RBX] = at;
        machine.retire(4);
        let bytes: Vec<u8> = (0..16).map(|i| pattern(physical(&machine, at + i))).collect();
        assert_eq!(machine.cpu.xmm.unwrap()[2].to_le_bytes()[..], bytes[..]);
    }
}
