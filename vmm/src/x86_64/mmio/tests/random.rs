//! Bytes nobody chose: nothing panics, and every way to end is one of the known ones.

use proptest::prelude::*;

use super::*;

/// A machine in which most addresses lead somewhere.
fn machine(bits: u32, code: &[u8], registers: [u64; 16], segment_seed: u64, rflags: u64) -> Machine {
    let mut machine = Machine::new(bits, code);
    machine.cpu.gprs = registers;
    machine.cpu.rflags = 2 | rflags & (flags::STATUS | 1 << 10 | TF);
    machine.cpu.mode.protected = segment_seed & 1 == 0;
    if segment_seed & 2 != 0 {
        for (index, segment) in machine.cpu.segments.iter_mut().enumerate() {
            if index != Segment::Cs as usize {
                segment.base = segment_seed.rotate_left(11 * index as u32);
                segment.limit = segment_seed.rotate_left(7 * index as u32) as u32;
                segment.rights ^= segment_seed.rotate_left(5 * index as u32) as u32 & 0x1_c00f;
            }
        }
    }
    machine
}

fn register() -> impl Strategy<Value = u64> {
    prop_oneof![4 => DEVICE..END, 2 => 0..DEVICE, 1 => any::<u64>(), 1 => 0..64_u64]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(
        bits in prop_oneof![Just(16_u32), Just(32), Just(64)],
        code in prop::collection::vec(any::<u8>(), 15),
        prefix in prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(prop_oneof![
            Just(0x66_u8), Just(0x67), Just(0xf0), Just(0xf2), Just(0xf3), Just(0x64), Just(0x48), Just(0x0f)
        ], 0..4)],
        registers in prop::array::uniform16(register()),
        segment_seed in any::<u64>(),
        rflags in any::<u64>(),
        port_io in any::<bool>(),
    ) {
        struct Ports;
        impl PortAccess for Ports {
            fn read(&mut self, _port: u16, _width: u8) -> u32 { u32::MAX }
            fn write(&mut self, _port: u16, _width: u8, _value: u32) {}
        }
        let code = [prefix, code].concat();
        let mut machine = machine(bits, &code, registers, segment_seed, rflags);
        let (rip, gprs, mode) = (machine.cpu.rip, machine.cpu.gprs, machine.cpu.mode);
        let ending = if port_io {
            emulate_port_io(&mut machine.cpu, &mut Ports, &mut machine.device)
        } else {
            machine.emulate()
        };
        match ending {
            Ok(Outcome::Retired) => {
                let length = machine.cpu.rip.wrapping_sub(rip);
                prop_assert!((1..=15).contains(&length));
            }
            Ok(Outcome::Partial) => prop_assert_eq!(machine.cpu.rip, rip),
            Ok(Outcome::Exception(exception)) => {
                prop_assert!(matches!(exception.vector, 6 | 12 | 13 | 14));
                prop_assert_eq!(exception.cr2.is_some(), exception.vector == 14);
                prop_assert!(mode.protected || exception.error_code.is_none());
                prop_assert_eq!(machine.cpu.rip, rip);
            }
            Err(EmulationError::Unsupported { .. }) => {
                prop_assert_eq!(machine.cpu.gprs, gprs);
                prop_assert!(machine.device.touches.is_empty());
            }
            Err(EmulationError::Context(error)) => prop_assert!(false, "{error:?}"),
        }
    }
}
