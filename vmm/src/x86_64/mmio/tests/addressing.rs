//! Effective addresses, segments and their checks.

use super::*;

/// `mov ecx, [...]` with the given ModRM bytes, expecting the device to be read at `at`.
fn reads(machine: &mut Machine, length: usize, at: u64) {
    machine.retire(length);
    assert_eq!(machine.device.touches, [Touch::Read { gpa: at, width: 4 }]);
}

#[test]
fn base_index_scale_displacement() {
    // mov ecx, [r9 + r10*8 - 0x80]
    let mut machine = Machine::new(64, &[0x43, 0x8b, 0x4c, 0xd1, 0x80]);
    (machine.cpu.gprs[9], machine.cpu.gprs[10]) = (DEVICE + 0x180 - 0x800, 0x100);
    reads(&mut machine, 5, DEVICE + 0x100);
    // mov ecx, [rbx + rcx*4 + disp32], index negative
    let mut machine = Machine::new(64, &[0x8b, 0x8c, 0x8b, 0x00, 0x01, 0x00, 0x00]);
    machine.cpu.gprs[RCX] = (-0x10_i64) as u64;
    reads(&mut machine, 7, DEVICE + 0x100 + 0x100 - 0x40);
    // mov ecx, [disp32] without base, sign-extended in 64-bit mode
    let mut machine = Machine::new(64, &[0x8b, 0x0c, 0x25, 0x00, 0xe0, 0xff, 0xff]);
    machine.cpu.pages.insert(0xffff_ffff_ffff_e000, Some((DEVICE, true)));
    reads(&mut machine, 7, DEVICE);
    // The same bytes with 67: zero-extended.
    let mut machine = Machine::new(64, &[0x67, 0x8b, 0x0c, 0x25, 0x00, 0xe0, 0xff, 0xff]);
    machine.cpu.pages.insert(0xffff_e000, Some((DEVICE, true)));
    reads(&mut machine, 8, DEVICE);
}

#[test]
fn rip_relative_counts_from_the_next_instruction() {
    let displacement = (DEVICE + 0x40 - (CODE + 6)) as u32;
    let code = [&[0x8b, 0x0d][..], &displacement.to_le_bytes()].concat();
    reads(&mut Machine::new(64, &code), 6, DEVICE + 0x40);
    // An immediate counts too: mov dword [rip+d], imm32
    let displacement = (DEVICE + 0x40 - (CODE + 10)) as u32;
    let code = [&[0xc7, 0x05][..], &displacement.to_le_bytes(), &[1, 0, 0, 0]].concat();
    let mut machine = Machine::new(64, &code);
    machine.retire(10);
    assert_eq!(machine.device.touches, [Touch::Write { gpa: DEVICE + 0x40, width: 4, value: 1 }]);
    // EIP-relative wraps at 4 GiB.
    let code = [&[0x67, 0x8b, 0x0d][..], &0x101_u32.to_le_bytes()].concat();
    let mut machine = Machine::new(64, &code);
    machine.cpu.rip = 0xffff_fff0;
    machine.cpu.pages.insert(0xffff_f000, Some((0x3000, true)));
    machine.cpu.ram[0x3ff0..0x3ff7].copy_from_slice(&code);
    machine.cpu.pages.insert(0, Some((DEVICE, true)));
    reads(&mut machine, 7, DEVICE + 0xf8);
}

#[test]
fn addresses_of_32_bits_wrap_in_64_bit_mode() {
    // mov ecx, [ebx + eax]
    let mut machine = Machine::new(64, &[0x67, 0x8b, 0x0c, 0x03]);
    machine.cpu.gprs[RBX] = 0xdead_beef_0001_0200;
    machine.cpu.gprs[RAX] = 0xffff_ff00;
    reads(&mut machine, 4, DEVICE + 0x100);
}

#[test]
fn sixteen_bit_address_forms() {
    const RBP: usize = 5;
    for (modrm, setup, offset) in [
        (0x08_u8, &[(RBX, 0x30), (RSI, 0x4)][..], 0x34),
        (0x09, &[(RBX, 0x30), (RDI, 0x8)], 0x38),
        (0x0a, &[(RBP, 0x30), (RSI, 0x4)], 0x34),
        (0x0b, &[(RBP, 0x30), (RDI, 0x8)], 0x38),
        (0x0c, &[(RSI, 0x44)], 0x44),
        (0x0d, &[(RDI, 0x44)], 0x44),
        (0x0f, &[(RBX, 0x44)], 0x44),
        (0x4e, &[(RBP, 0x44)], 0x40),
    ] {
        let displacement = if modrm == 0x4e { &[0xfc][..] } else { &[] };
        let code = [&[0x66, 0x8b, modrm][..], displacement].concat();
        let mut machine = Machine::new(16, &code);
        // BP addresses through SS.
        machine.cpu.segments[Segment::Ds as usize].base = DEVICE;
        machine.cpu.segments[Segment::Ss as usize].base = DEVICE + 0x1000;
        for (register, value) in setup {
            machine.cpu.gprs[*register] = 0xffff_0000 | value;
        }
        let base = if setup[0].0 == RBP { DEVICE + 0x1000 } else { DEVICE };
        reads(&mut machine, code.len(), base + offset);
    }
}

#[test]
fn only_fs_and_gs_have_a_base_in_64_bit_mode() {
    for (prefix, used) in [
        (0x26, None),
        (0x2e, None),
        (0x36, None),
        (0x3e, None),
        (0x64, Some(Segment::Fs)),
        (0x65, Some(Segment::Gs)),
    ] {
        let mut machine = Machine::new(64, &[prefix, 0x8b, 0x0b]);
        for (index, segment) in machine.cpu.segments.iter_mut().enumerate() {
            segment.base = 0x10 + 0x10 * index as u64;
            segment.limit = 0;
            segment.rights = 1 << 16;
        }
        let base = used.map_or(0, |segment| machine.cpu.segments[segment as usize].base);
        reads(&mut machine, 3, DEVICE + 0x100 + base);
    }
}

#[test]
fn every_segment_has_a_base_outside_it() {
    let segments = [Segment::Es, Segment::Cs, Segment::Ss, Segment::Ds, Segment::Fs, Segment::Gs];
    for (prefix, segment) in [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65].into_iter().zip(segments) {
        let mut machine = Machine::new(32, &[prefix, 0x8b, 0x0b]);
        if segment == Segment::Cs {
            // The code segment's base moves the instruction as well.
            machine.cpu.rip = CODE - 0x40;
        }
        machine.cpu.segments[segment as usize].base = 0x40;
        reads(&mut machine, 3, DEVICE + 0x140);
    }
    // Base plus offset wraps at 4 GiB.
    let mut machine = Machine::new(32, &[0x8b, 0x0b]);
    machine.cpu.segments[Segment::Ds as usize].base = 0xffff_ff00;
    machine.cpu.gprs[RBX] = DEVICE + 0x200;
    reads(&mut machine, 2, DEVICE + 0x100);
}

#[test]
fn limits_and_rights() {
    let load = &[0x8b, 0x0b][..];
    let store = &[0x89, 0x0b][..];
    let at = (DEVICE + 0x100) as u32;
    // (limit, rights, code, allowed)
    for (limit, rights, code, allowed) in [
        (at + 3, 0xc093, load, true),
        (at + 2, 0xc093, load, false),
        (u32::MAX, 0xc091, load, true),
        (u32::MAX, 0xc091, store, false),
        (u32::MAX, 0xc09b, load, true),
        (u32::MAX, 0xc09b, store, false),
        (u32::MAX, 0xc099, load, false),
        (u32::MAX, 0x1_c093, load, false),
        // Expand-down: valid above the limit.
        (at - 1, 0xc097, store, true),
        (at, 0xc097, store, false),
        // With a 64 KiB upper bound everything here is outside.
        (0x10, 0x8097, store, false),
    ] {
        let mut machine = Machine::new(32, code);
        let ds = &mut machine.cpu.segments[Segment::Ds as usize];
        (ds.limit, ds.rights) = (limit, rights);
        if allowed {
            machine.retire(2);
        } else {
            machine.fault(Exception::general_protection());
        }
    }
    // The stack segment has its own fault.
    let mut machine = Machine::new(32, &[0x36, 0x8b, 0x0b]);
    machine.cpu.segments[Segment::Ss as usize].limit = at;
    machine.fault(Exception::stack_fault());
}

#[test]
fn real_mode_checks_limits_alone_and_has_no_error_codes() {
    let mut machine = Machine::new(16, &[0x2e, 0x89, 0x0f]); // mov cs:[bx], cx
    machine.cpu.mode.protected = false;
    machine.cpu.rip = 0;
    machine.cpu.segments[Segment::Cs as usize] =
        SegmentState { selector: 0x100, base: 0x1000, limit: 0xffff, rights: 0x9b };
    machine.cpu.gprs[RBX] = 0xf100;
    let value = machine.cpu.gprs[RCX] & 0xffff;
    machine.retire(3);
    assert_eq!(machine.device.touches, [Touch::Write { gpa: DEVICE + 0x100, width: 2, value }]);
    let mut machine = Machine::new(16, &[0x89, 0x0f]);
    machine.cpu.mode.protected = false;
    machine.cpu.segments[Segment::Ds as usize].limit = 0xffff;
    machine.cpu.gprs[RBX] = 0xffff;
    machine.fault(Exception { error_code: None, ..Exception::general_protection() });
}

#[test]
fn non_canonical_addresses() {
    for (at, fine) in [
        (0x0000_7fff_ffff_fffc, true),
        (0x0000_7fff_ffff_fffd, false),
        (0x0000_8000_0000_0000, false),
        (0xffff_7fff_ffff_ffff, false),
        (0xffff_8000_0000_0000, true),
        (0xffff_ffff_ffff_ffff, true),
    ] {
        let mut machine = Machine::new(64, &[0x8b, 0x0b]);
        machine.cpu.gprs[RBX] = at;
        if fine {
            // Canonical, and not mapped.
            machine.fault(Exception::page_fault(at, 0));
        } else {
            machine.fault(Exception::general_protection());
        }
        // Through RSP, #SS.
        let mut machine = Machine::new(64, &[0x8b, 0x0c, 0x24]);
        machine.cpu.gprs[RSP] = at;
        if !fine {
            machine.fault(Exception::stack_fault());
        }
    }
    // A prefix without effect does not choose the fault: ss mov ecx, [rbx]; ds mov ecx, [rsp]; ss lodsb.
    for (code, register, exception) in [
        (&[0x36, 0x8b, 0x0b][..], RBX, Exception::general_protection()),
        (&[0x3e, 0x8b, 0x0c, 0x24], RSP, Exception::stack_fault()),
        (&[0x36, 0xac], RSI, Exception::general_protection()),
    ] {
        let mut machine = Machine::new(64, code);
        machine.cpu.gprs[register] = 0x0000_8000_0000_0000;
        machine.fault(exception);
    }
    let mut machine = Machine::new(64, &[0x8b, 0x0b]);
    machine.cpu.mode.linear_bits = 57;
    machine.cpu.gprs[RBX] = 0x0000_8000_0000_0000;
    machine.fault(Exception::page_fault(0x0000_8000_0000_0000, 0));
}
