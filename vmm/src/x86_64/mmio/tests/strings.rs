use proptest::prelude::*;

use super::*;

const DF: u64 = 1 << 10;
const ZF: u64 = 1 << 6;

/// `rep movsb` and its like; `opcode` is that of the byte form.
fn code(width: u8, repeat: &[u8], opcode: u8) -> Vec<u8> {
    let mut code = repeat.to_vec();
    code.extend(sized(width, 0, &[opcode], &[opcode | 1], &[]));
    code
}

/// Runs until the instruction retires, as re-entering the guest does; answers how often it was entered.
fn run(machine: &mut Machine) -> u32 {
    for entries in 1..10_000 {
        match machine.emulate().unwrap() {
            Outcome::Retired => return entries,
            Outcome::Partial => assert_eq!(machine.cpu.retired, None, "what is partial has not retired"),
            Outcome::Exception(exception) => panic!("{exception:?}"),
        }
    }
    panic!("it never ends");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any of RAM and device to any of RAM and device, either direction, overlapping or not.
    #[test]
    fn rep_movs_copies_element_by_element(
        source in 0x2000..0x1_e000_u64,
        distance in prop_oneof![-64..64_i64, -0xf000..0xf000_i64],
        count in prop_oneof![0..40_u64, 0..900_u64],
        width in prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)],
        down in any::<bool>(),
    ) {
        let target = source.wrapping_add_signed(distance).clamp(0x2000, 0x1_e000);
        let code = code(width, &[0xf3], 0xa4);
        let mut machine = Machine::new(64, &code);
        machine.cpu.gprs[RSI] = source;
        machine.cpu.gprs[RDI] = target;
        machine.cpu.gprs[RCX] = count;
        if down { machine.cpu.rflags |= DF; }
        let mut expected = machine.clone();
        run(&mut machine);
        let step = if down { -i64::from(width) } else { i64::from(width) };
        for i in 0..count as i64 {
            let value = expected.peek(source.wrapping_add_signed(i * step), width);
            expected.poke(target.wrapping_add_signed(i * step), width, value);
        }
        prop_assert_eq!(&machine.cpu.ram, &expected.cpu.ram);
        prop_assert_eq!(&machine.device.bytes, &expected.device.bytes);
        prop_assert_eq!(machine.cpu.gprs[RCX], 0);
        prop_assert_eq!(machine.cpu.gprs[RSI], source.wrapping_add_signed(count as i64 * step));
        prop_assert_eq!(machine.cpu.gprs[RDI], target.wrapping_add_signed(count as i64 * step));
        prop_assert_eq!(machine.cpu.rip, CODE + code.len() as u64);
    }

    #[test]
    fn rep_cmps_and_scas_stop_where_they_should(
        same in 0..40_u64,
        count in 0..40_u64,
        width in prop_oneof![Just(1_u8), Just(2), Just(4), Just(8)],
        scan in any::<bool>(),
        while_equal in any::<bool>(),
        down in any::<bool>(),
    ) {
        let repeat = if while_equal { 0xf3 } else { 0xf2 };
        let code = code(width, &[repeat], if scan { 0xae } else { 0xa6 });
        let mut machine = Machine::new(64, &code);
        let step = if down { -i64::from(width) } else { i64::from(width) };
        let (source, target) = (0x6000_u64, DEVICE + 0x800);
        let at = |base: u64, i: u64| base.wrapping_add_signed(i as i64 * step);
        let key = 0x1122_3344_5566_7788;
        for i in 0..50 {
            machine.poke(at(source, i), width, key);
            let equal = (i < same) == while_equal;
            machine.poke(at(target, i), width, if equal { key } else { 0x99 });
        }
        machine.cpu.gprs[RAX] = key;
        (machine.cpu.gprs[RSI], machine.cpu.gprs[RDI], machine.cpu.gprs[RCX]) = (source, target, count);
        machine.cpu.rflags |= flags::STATUS;
        if down { machine.cpu.rflags |= DF; }
        let before = machine.cpu.clone();
        run(&mut machine);
        let iterations = count.min(same + 1);
        prop_assert_eq!(machine.cpu.gprs[RCX], count - iterations);
        prop_assert_eq!(machine.cpu.gprs[RDI], at(target, iterations));
        prop_assert_eq!(machine.cpu.gprs[RSI], if scan { source } else { at(source, iterations) });
        if iterations == 0 {
            prop_assert_eq!(machine.cpu.rflags, before.rflags);
        } else {
            let ended_by_condition = iterations == same + 1;
            prop_assert_eq!(machine.cpu.rflags & ZF != 0, while_equal != ended_by_condition);
        }
        prop_assert_eq!(&machine.cpu.ram, &before.ram);
    }
}

#[test]
fn single_forms_in_every_size() {
    for width in [1, 2, 4, 8] {
        let (source, target) = (DEVICE + 0x200, DEVICE + 0x300);
        let start = |opcode| {
            let code = code(width, &[], opcode);
            let mut machine = Machine::new(64, &code);
            (machine.cpu.gprs[RSI], machine.cpu.gprs[RDI]) = (source, target);
            (machine, code.len())
        };
        let read = |gpa| Touch::Read { gpa, width };
        let write = |gpa, value| Touch::Write { gpa, width, value };
        let step = u64::from(width);

        let (mut movs, length) = start(0xa4);
        movs.retire(length);
        let value = movs.peek(source, width);
        assert_eq!(movs.device.touches, [read(source), write(target, value)]);
        assert_eq!((movs.cpu.gprs[RSI], movs.cpu.gprs[RDI]), (source + step, target + step));

        let (mut stos, length) = start(0xaa);
        let rax = stos.cpu.gprs[RAX];
        stos.retire(length);
        assert_eq!(stos.device.touches, [write(target, rax & mask(width))]);
        assert_eq!((stos.cpu.gprs[RSI], stos.cpu.gprs[RDI]), (source, target + step));

        let (mut lods, length) = start(0xac);
        lods.cpu.rflags |= DF;
        let memory = lods.peek(source, width);
        lods.retire(length);
        let kept = if width >= 4 { 0 } else { rax & !mask(width) };
        assert_eq!(lods.cpu.gprs[RAX], kept | memory);
        assert_eq!((lods.cpu.gprs[RSI], lods.cpu.gprs[RDI]), (source - step, target));

        let (mut cmps, length) = start(0xa6);
        cmps.retire(length);
        assert_eq!(cmps.device.touches, [read(source), read(target)]);
        let expected = flags::subtract(cmps.peek(source, width), cmps.peek(target, width), false, width);
        assert_eq!(cmps.cpu.rflags, 2 | expected.flags, "source minus destination");

        let (mut scas, length) = start(0xae);
        scas.retire(length);
        assert_eq!(scas.device.touches, [read(target)]);
        let expected = flags::subtract(rax, scas.peek(target, width), false, width);
        assert_eq!(scas.cpu.rflags, 2 | expected.flags, "accumulator minus destination");
        assert_eq!((scas.cpu.gprs[RSI], scas.cpu.gprs[RDI]), (source, target + step));
    }
}

#[test]
fn long_counts_are_done_in_parts() {
    let mut machine = Machine::new(64, &[0xf3, 0xaa]);
    machine.cpu.gprs[RCX] = 5000;
    machine.cpu.gprs[RDI] = DEVICE;
    assert_eq!(machine.emulate(), Ok(Outcome::Partial));
    assert_eq!(machine.cpu.gprs[RCX], 5000 - u64::from(MAX_ITERATIONS));
    assert_eq!(machine.cpu.gprs[RDI], DEVICE + u64::from(MAX_ITERATIONS));
    assert_eq!(machine.cpu.rip, CODE);
    assert_eq!(run(&mut machine), 4);
    assert_eq!(machine.device.touches.len(), 5000);
    // A count that fits exactly retires at once.
    let mut machine = Machine::new(64, &[0xf3, 0xaa]);
    machine.cpu.gprs[RCX] = u64::from(MAX_ITERATIONS);
    machine.cpu.gprs[RDI] = DEVICE;
    assert_eq!(run(&mut machine), 1);
}

#[test]
fn zero_count_touches_nothing() {
    for opcode in [0xa4, 0xa6, 0xaa, 0xac, 0xae] {
        let mut machine = Machine::new(64, &[0xf3, opcode]);
        machine.cpu.gprs[RCX] = 0;
        let before = machine.cpu.gprs;
        machine.retire(2);
        assert_eq!((machine.cpu.gprs, machine.device.touches.len()), (before, 0));
    }
    // With 32-bit addresses ECX counts.
    let mut machine = Machine::new(64, &[0x67, 0xf3, 0xaa]);
    machine.cpu.gprs[RCX] = 0xffff_ffff_0000_0000;
    machine.retire(3);
    assert_eq!(machine.device.touches, []);
}

#[test]
fn address_size_bounds_pointers_and_count() {
    // 32-bit addresses in 64-bit mode clear the upper halves.
    let mut machine = Machine::new(64, &[0x67, 0xf3, 0xa4]);
    machine.cpu.gprs[RCX] = 0x7_0000_0002;
    machine.cpu.gprs[RSI] = 0x8_0000_2000;
    machine.cpu.gprs[RDI] = 0x9_0000_0000 | DEVICE;
    machine.retire(3);
    assert_eq!(
        [machine.cpu.gprs[RCX], machine.cpu.gprs[RSI], machine.cpu.gprs[RDI]],
        [0, 0x2002, DEVICE + 2]
    );
    // 16-bit addresses wrap and keep what is above.
    let mut machine = Machine::new(16, &[0xf3, 0xaa]);
    machine.cpu.segments[Segment::Es as usize].base = DEVICE;
    machine.cpu.gprs[RCX] = 0x5555_0004;
    machine.cpu.gprs[RDI] = 0x6666_fffe;
    machine.cpu.gprs[RAX] = 0xab;
    machine.retire(2);
    assert_eq!([machine.cpu.gprs[RCX], machine.cpu.gprs[RDI]], [0x5555_0000, 0x6666_0002]);
    assert_eq!(machine.peek(DEVICE + 0xfffe, 2), 0xabab);
    assert_eq!(machine.peek(DEVICE, 2), 0xabab);
}

#[test]
fn segments_of_both_sides() {
    // rep movsb with a source override; the destination is ES always.
    let mut machine = Machine::new(32, &[0x64, 0xa4]);
    machine.cpu.segments[Segment::Fs as usize].base = 0x2000;
    machine.cpu.segments[Segment::Es as usize].base = DEVICE;
    machine.cpu.segments[Segment::Ds as usize].rights = 1 << 16;
    (machine.cpu.gprs[RSI], machine.cpu.gprs[RDI]) = (0x30, 0x40);
    machine.retire(2);
    assert_eq!(machine.peek(DEVICE + 0x40, 1), u64::from(pattern(0x2030)));
    let mut machine = Machine::new(32, &[0xf3, 0xaa]);
    machine.cpu.segments[Segment::Es as usize].limit = DEVICE as u32 + 9;
    (machine.cpu.gprs[RDI], machine.cpu.gprs[RCX]) = (DEVICE, 20);
    assert_eq!(machine.emulate(), Ok(Outcome::Exception(Exception::general_protection())));
    assert_eq!((machine.cpu.gprs[RDI], machine.cpu.gprs[RCX]), (DEVICE + 10, 10));
}

#[test]
fn a_fault_in_the_middle_keeps_what_was_done() {
    let mut machine = Machine::new(64, &[0xf3, 0xa5]); // rep movsd
    machine.cpu.pages.insert(DEVICE + 0x1000, None);
    machine.cpu.gprs[RSI] = 0x4000;
    machine.cpu.gprs[RDI] = DEVICE + 0x1000 - 10;
    machine.cpu.gprs[RCX] = 8;
    let fault = Exception::page_fault(DEVICE + 0x1000, 2);
    assert_eq!(machine.emulate(), Ok(Outcome::Exception(fault)));
    assert_eq!(machine.cpu.gprs[RCX], 6);
    assert_eq!(machine.cpu.gprs[RSI], 0x4008);
    assert_eq!(machine.cpu.gprs[RDI], DEVICE + 0x1000 - 2);
    assert_eq!((machine.cpu.rip, machine.cpu.retired), (CODE, None));
    // The page appears; the rest follows.
    machine.cpu.pages.clear();
    assert_eq!(run(&mut machine), 1);
    for i in 0..32 {
        assert_eq!(machine.peek(DEVICE + 0xff6 + i, 1), u64::from(pattern(0x4000 + i)));
    }
}

#[test]
fn flags_of_a_comparison_survive_a_fault() {
    let mut machine = Machine::new(64, &[0xf2, 0xae]); // repne scasb
    machine.cpu.pages.insert(DEVICE + 0x1000, None);
    machine.cpu.gprs[RDI] = DEVICE + 0xfff;
    machine.cpu.gprs[RCX] = 4;
    machine.cpu.gprs[RAX] = u64::from(!pattern(DEVICE + 0xfff));
    let expected = flags::subtract(machine.cpu.gprs[RAX], !machine.cpu.gprs[RAX], false, 1);
    let Ok(Outcome::Exception(_)) = machine.emulate() else { panic!("no fault") };
    assert_eq!(machine.cpu.rflags, 2 | expected.flags);
    assert_eq!(machine.cpu.gprs[RCX], 3);
}

#[test]
fn single_stepping_traps_after_every_iteration() {
    let mut machine = Machine::new(64, &[0xf3, 0xaa]);
    machine.cpu.rflags |= TF;
    (machine.cpu.gprs[RDI], machine.cpu.gprs[RCX]) = (DEVICE, 2);
    assert_eq!(machine.emulate(), Ok(Outcome::Partial));
    assert_eq!((machine.cpu.retired, machine.cpu.gprs[RCX]), (Some((CODE, true)), 1));
    assert_eq!(machine.emulate(), Ok(Outcome::Retired));
    assert_eq!((machine.cpu.retired, machine.cpu.gprs[RCX]), (Some((CODE + 2, true)), 0));
}

#[test]
fn pages_are_walked_once_each() {
    let mut machine = Machine::new(64, &[0xf3, 0xa4]);
    (machine.cpu.gprs[RSI], machine.cpu.gprs[RDI], machine.cpu.gprs[RCX]) = (0x4000, DEVICE + 0xf80, 0x100);
    machine.retire(2);
    let data: Vec<_> =
        machine.cpu.translated[1..].iter().map(|(linear, access)| (linear & !0xfff, *access)).collect();
    assert_eq!(data, [(0x4000, Access::Read), (DEVICE, Access::Write), (DEVICE + 0x1000, Access::Write)]);
}
