//! FXSAVE, XSAVE, FNSAVE and their opposites.

use super::guest::DATA;
use super::samples::Random;
use super::{Guest, Native, State};
use crate::cpu::{TrapCause, gpr, trap_vector};
use crate::{Cpu, XsaveImageError};

/// Random x87 and SSE state.
fn full_state(random: &mut Random) -> State {
    let mut state = random.x87_state();
    for i in 0..16 {
        let value = if random.one_in(4) { [0; 16] } else { random_bytes(random) };
        state.image.0[160 + 16 * i..176 + 16 * i].copy_from_slice(&value);
    }
    let mxcsr = 0x1f80 | random.next() as u32 & 0xe07f;
    state.image.0[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    for chunk in state.operand.0.chunks_exact_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes());
    }
    state
}

fn random_bytes(random: &mut Random) -> [u8; 16] {
    (u128::from(random.next()) << 64 | u128::from(random.next())).to_le_bytes()
}

/// Makes the parts of a saved image equal that processors fill differently: last opcode and pointers, MXCSR_MASK.
fn forget_pointers(state: &mut State, from: usize, to: usize) {
    state.operand.0[from..to].fill(0);
}

/// Runs `code` in both and compares all but `[from, to)` of the operand.
fn same(native: &mut Native, guest: &mut Guest, code: &[u8], state: &State, skip: &[(usize, usize)]) {
    let mut host = native.run(code, state).cleaned();
    let mut engine = guest.run(code, state).cleaned();
    for &(from, to) in skip {
        forget_pointers(&mut host, from, to);
        forget_pointers(&mut engine, from, to);
    }
    assert!(host == engine, "{code:02x?}: {}\n{}", state.describe(), host.difference(&engine));
}

const FXSAVE: [(usize, usize); 2] = [(5, 24), (28, 32)];

#[test]
fn fxsave_images_equal_the_hosts() {
    let (mut random, mut native, mut guest) = (Random::new(7), Native::new(), Guest::new());
    for _ in 0..5000 {
        let state = full_state(&mut random);
        for code in [&[0x0f, 0xae, 0x06][..], &[0x48, 0x0f, 0xae, 0x06]] {
            same(&mut native, &mut guest, code, &state, &FXSAVE);
        }
    }
}

#[test]
fn fxrstor_loads_as_the_host() {
    let (mut random, mut native, mut guest) = (Random::new(8), Native::new(), Guest::new());
    for _ in 0..5000 {
        let mut state = full_state(&mut random);
        let saved = full_state(&mut random);
        state.operand.0[..512].copy_from_slice(&saved.image.0);
        for code in [&[0x0f, 0xae, 0x0e][..], &[0x48, 0x0f, 0xae, 0x0e]] {
            same(&mut native, &mut guest, code, &state, &[]);
        }
    }
}

#[test]
fn environments_equal_the_hosts() {
    let (mut random, mut native, mut guest) = (Random::new(9), Native::new(), Guest::new());
    let fields = [(12, 28)];
    for _ in 0..5000 {
        let mut state = full_state(&mut random);
        same(&mut native, &mut guest, &[0xd9, 0x36], &state, &fields);
        same(&mut native, &mut guest, &[0xdd, 0x36], &state, &fields);
        // With 16-bit fields.
        same(&mut native, &mut guest, &[0x66, 0xd9, 0x36], &state, &[(6, 14)]);
        same(&mut native, &mut guest, &[0x66, 0xdd, 0x36], &state, &[(6, 14)]);
        for code in [&[0xd9, 0x26][..], &[0xdd, 0x26], &[0x66, 0xd9, 0x26], &[0x66, 0xdd, 0x26]] {
            let control = random.control();
            state.operand.0[..2].copy_from_slice(&control.to_le_bytes());
            same(&mut native, &mut guest, code, &state, &[]);
        }
    }
}

/// A header that XRSTOR accepts.
fn set_header(state: &mut State, components: u64, compaction: u64) {
    state.operand.0[512..576].fill(0);
    state.operand.0[512..520].copy_from_slice(&components.to_le_bytes());
    state.operand.0[520..528].copy_from_slice(&compaction.to_le_bytes());
}

#[test]
fn xsave_areas_equal_the_hosts() {
    let (mut random, mut native, mut guest) = (Random::new(10), Native::new(), Guest::new());
    for _ in 0..5000 {
        let mut state = full_state(&mut random);
        state.rax = random.below(4);
        state.rdx = 0;
        // XSAVE, XSAVEOPT and XSAVEC with REX.W; XSTATE_BV keeps the bits that are not asked for.
        for code in [[0x48, 0x0f, 0xae, 0x26], [0x48, 0x0f, 0xae, 0x36], [0x48, 0x0f, 0xc7, 0x26]] {
            same(&mut native, &mut guest, &code, &state, &FXSAVE);
        }
    }
}

#[test]
fn xrstor_loads_as_the_host() {
    let (mut random, mut native, mut guest) = (Random::new(11), Native::new(), Guest::new());
    for _ in 0..10_000 {
        let mut state = full_state(&mut random);
        let saved = full_state(&mut random);
        state.operand.0[..512].copy_from_slice(&saved.image.0);
        let present = random.below(4);
        let compaction = if random.one_in(2) { 0 } else { 1 << 63 | 3 };
        set_header(&mut state, present, compaction);
        state.rax = random.below(4);
        state.rdx = 0;
        same(&mut native, &mut guest, &[0x48, 0x0f, 0xae, 0x2e], &state, &[]);
    }
}

fn fault(vector: u8, error_code: Option<u32>) -> Option<TrapCause> {
    Some(TrapCause::Fault { vector, error_code })
}

#[test]
fn bad_areas_fault() {
    let gp = fault(trap_vector::GP, Some(0));
    let xrstor = [0x48, 0x0f, 0xae, 0x2e];
    let mut guest = Guest::new();
    let mut run = |code: &[u8], components: u64, compaction: u64, spoil: &dyn Fn(&mut State), rsi: u64| {
        let mut state = State::initial();
        state.operand.0[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        set_header(&mut state, components, compaction);
        spoil(&mut state);
        state.rax = 7;
        guest.load(&state);
        guest.cpu.set_gpr(gpr::RSI, DATA + rsi);
        guest.execute(code)
    };
    let nothing = |_: &mut State| {};
    assert_eq!(run(&xrstor, 3, 0, &nothing, 0), None);
    assert_eq!(run(&xrstor, 4, 0, &nothing, 0), gp, "a component that is not enabled");
    assert_eq!(run(&xrstor, 3, 1, &nothing, 0), gp, "XCOMP_BV in standard format");
    assert_eq!(run(&xrstor, 3, 1 << 63 | 1, &nothing, 0), gp, "XSTATE_BV beyond XCOMP_BV");
    assert_eq!(run(&xrstor, 3, 1 << 63 | 7, &nothing, 0), gp, "XCOMP_BV beyond XCR0");
    assert_eq!(run(&xrstor, 3, 0, &|s| s.operand.0[528] = 1, 0), gp, "reserved header byte");
    assert_eq!(run(&xrstor, 3, 0, &|s| s.operand.0[575] = 1, 0), None, "not checked in standard format");
    assert_eq!(run(&xrstor, 3, 1 << 63 | 3, &|s| s.operand.0[575] = 1, 0), gp, "checked when compacted");
    assert_eq!(run(&xrstor, 0, 0, &|s| s.operand.0[26] = 1, 0), gp, "reserved bit of MXCSR");
    assert_eq!(run(&xrstor, 1, 1 << 63 | 3, &|s| s.operand.0[26] = 1, 0), None, "MXCSR is not loaded");
    for aligned_to_64 in
        [&[0x0f, 0xae, 0x26][..], &[0x0f, 0xae, 0x2e], &[0x0f, 0xc7, 0x26], &[0x0f, 0xc7, 0x2e]]
    {
        assert_eq!(run(aligned_to_64, 3, 0, &nothing, 32), gp, "{aligned_to_64:02x?}");
    }
    assert_eq!(run(&[0x0f, 0xae, 0x06], 3, 0, &nothing, 8), gp, "FXSAVE");
    assert_eq!(run(&[0x0f, 0xae, 0x06], 3, 0, &nothing, 16), None, "FXSAVE");
    // XRSTORS takes the compacted format alone.
    assert_eq!(run(&[0x0f, 0xc7, 0x1e], 3, 0, &nothing, 0), gp);
    assert_eq!(run(&[0x0f, 0xc7, 0x1e], 3, 1 << 63 | 3, &nothing, 0), None);
}

#[test]
fn xsaves_round_trips() {
    let (mut random, mut guest) = (Random::new(12), Guest::new());
    for _ in 0..200 {
        let mut state = full_state(&mut random);
        (state.rax, state.rdx) = (7, 0);
        let saved = guest.run(&[0x48, 0x0f, 0xc7, 0x2e], &state);
        let mut other = full_state(&mut random);
        other.operand = saved.operand.clone();
        other.operand.0[528..576].fill(0);
        (other.rax, other.rdx) = (7, 0);
        let restored = guest.run(&[0x48, 0x0f, 0xc7, 0x1e], &other);
        assert!(restored.image == guest_image(&state), "{}", state.describe());
    }
}

/// An image as the engine has it after loading it.
fn guest_image(state: &State) -> super::Image {
    let mut guest = Guest::new();
    guest.load(state);
    guest.save().image
}

#[test]
fn control_registers_block() {
    let mut guest = Guest::new();
    let (nm, ud) = (fault(trap_vector::NM, None), fault(trap_vector::UD, None));
    let cr0 = guest.cpu.cr(0);
    let (fld1, xsave, emms, wait) = ([0xd9, 0xe8], [0x0f, 0xae, 0x26], [0x0f, 0x77], [0x9b]);
    let mut run = |bits: u64, cr4: u64, code: &[u8]| {
        guest.load(&State::initial());
        guest.cpu.set_cr(0, cr0 & !6 | bits);
        guest.cpu.set_cr(4, 0x620 | cr4);
        guest.execute(code)
    };
    let (mp, em, ts, osxsave) = (2, 4, 8, 1 << 18);
    assert_eq!(run(0, osxsave, &fld1), None);
    assert_eq!(run(ts, osxsave, &fld1), nm);
    assert_eq!(run(em, osxsave, &fld1), nm);
    assert_eq!(run(em, osxsave, &emms), ud);
    assert_eq!(run(ts, osxsave, &emms), nm);
    assert_eq!(run(ts, osxsave, &wait), None);
    assert_eq!(run(ts | mp, osxsave, &wait), nm);
    assert_eq!(run(em, osxsave, &wait), None);
    assert_eq!(run(em, osxsave, &xsave), None);
    assert_eq!(run(ts, osxsave, &xsave), nm);
    assert_eq!(run(0, 0, &xsave), ud);
    assert_eq!(run(0, 0, &[0x0f, 0x01, 0xd0]), ud, "XGETBV");
}

#[test]
fn extended_control_register() {
    let mut guest = Guest::new();
    guest.load(&State::initial());
    let (xgetbv, xsetbv) = ([0x0f, 0x01, 0xd0], [0x0f, 0x01, 0xd1]);
    let run = |guest: &mut Guest, rcx: u64| {
        guest.cpu.set_gpr(gpr::RCX, rcx);
        let cause = guest.execute(&xgetbv);
        (cause, guest.cpu.gpr(gpr::RAX), guest.cpu.gpr(gpr::RDX))
    };
    assert_eq!(run(&mut guest, 0), (None, 3, 0));
    assert_eq!(run(&mut guest, 1), (None, 0, 0), "nothing is in use");
    guest.cpu.set_xmm(15, 1);
    assert_eq!(run(&mut guest, 1), (None, 2, 0));
    assert_eq!(guest.execute(&[0xd9, 0xe8]), None);
    assert_eq!(run(&mut guest, 1), (None, 3, 0));
    assert_eq!(run(&mut guest, 2).0, fault(trap_vector::GP, Some(0)));
    assert_eq!(guest.execute(&xsetbv), None, "the exit that ends every test");
    guest.cpu.cpl = 3;
    // User pages are not mapped: run what was built before.
    assert_eq!(guest.execute(&xsetbv), fault(trap_vector::GP, Some(0)));
    guest.cpu.cpl = 0;
    guest.cpu.set_cr(4, 0x620);
    assert_eq!(guest.execute(&xsetbv), fault(trap_vector::UD, None));
}

#[test]
fn conversions_raise_simd_exceptions() {
    let mut guest = Guest::new();
    let mut state = State::initial();
    // Invalid is not masked; XMM2 holds a NaN.
    state.image.0[24..28].copy_from_slice(&0x1f00_u32.to_le_bytes());
    state.image.0[160 + 32..160 + 36].copy_from_slice(&0x7fc0_0000_u32.to_le_bytes());
    let cvtps2pi = [0x0f, 0x2d, 0xca];
    guest.load(&state);
    let before = guest.cpu.fpu.clone();
    assert_eq!(guest.execute(&cvtps2pi), fault(trap_vector::XM, None));
    assert_eq!((guest.cpu.mxcsr, &guest.cpu.fpu), (0x1f01, &before));
    guest.cpu.set_cr(4, 0x4_0220);
    assert_eq!(guest.execute(&cvtps2pi), fault(trap_vector::UD, None), "without CR4.OSXMMEXCPT");
    guest.cpu.set_cr(4, 0x4_0420);
    assert_eq!(guest.execute(&[0x0f, 0xfc, 0xca]), None, "PADDB needs no CR4.OSFXSR");
    assert_eq!(guest.execute(&[0xf3, 0x0f, 0xd6, 0xca]), fault(trap_vector::UD, None), "MOVQ2DQ does");
}

#[test]
fn pending_exceptions_are_raised_by_waiting_instructions() {
    let mut guest = Guest::new();
    let mf = fault(trap_vector::MF, None);
    // Divide-by-zero is not masked and pending.
    let mut state = State::initial();
    state.set_control(0x37b);
    state.set_status(0x4);
    for code in [&[0xd9, 0xe8][..], &[0x9b], &[0xd9, 0x2e], &[0x0f, 0x77], &[0xdd, 0x26], &[0x0f, 0x6f, 0xc1]]
    {
        guest.load(&state);
        assert_eq!(guest.execute(code), mf, "{code:02x?}");
    }
    for code in
        [&[0xdf, 0xe0][..], &[0xdb, 0xe2], &[0xdb, 0xe3], &[0xd9, 0x3e], &[0xd9, 0x36], &[0x0f, 0xae, 0x06]]
    {
        guest.load(&state);
        assert_eq!(guest.execute(code), None, "{code:02x?}");
    }
    // Loading a control word makes it pending, or not.
    let mut masked = State::initial();
    masked.set_status(0x4);
    masked.operand.0[..2].copy_from_slice(&0x37b_u16.to_le_bytes());
    guest.load(&masked);
    assert_eq!(guest.execute(&[0xd9, 0x2e, 0xdf, 0xe0]), None);
    assert_eq!(guest.cpu.gpr(gpr::RAX) as u16, 0x8084);
    guest.load(&masked);
    assert_eq!(guest.execute(&[0xd9, 0x2e, 0xd9, 0xe8]), mf);
}

#[test]
fn pointers_follow_the_instruction() {
    let mut guest = Guest::new();
    let mut state = State::initial();
    state.set_control(0x37e);
    state.image.0[4] = 0xff;
    // NOP; FADD m32 of a signaling NaN, which is not masked; FNSTENV.
    let code = [0x90, 0xd8, 0x46, 0x10, 0xd9, 0x76, 0x40];
    state.operand.0[0x10..0x14].copy_from_slice(&0x7f80_0001_u32.to_le_bytes());
    guest.load(&state);
    let start = [0xd8, 0x46, 0x10];
    assert_eq!(guest.execute(&[&start[..], &code[4..]].concat()), None);
    let rip = guest.cpu.rip;
    let after = guest.save();
    let word = |i: usize| u32::from_le_bytes(after.operand.0[0x40 + 4 * i..0x44 + 4 * i].try_into().unwrap());
    assert_eq!(u64::from(word(3)), rip, "FIP");
    assert_eq!(word(4), 0x0046 << 16 | 8, "FOP and FCS");
    assert_eq!(u64::from(word(5)), DATA + 0x10, "FDP");
    assert_eq!(word(6) as u16, 16, "FDS");
}

/// Runs FADD m32 of a signaling NaN at DS:20, not masked, then FNSTENV to DS:40: the environment in words.
fn environment(real: bool, wide: bool) -> (u64, Vec<u16>) {
    let mut guest = Guest::legacy(real);
    let mut state = State::initial();
    state.set_control(0x37e);
    state.image.0[4] = 0xff;
    state.operand.0[0x20..0x24].copy_from_slice(&0x7f80_0001_u32.to_le_bytes());
    guest.load(&state);
    guest.cpu.set_gpr(gpr::RSI, 0);
    // fadd dword [si+0x20]; fnstenv [si+0x40]
    let mut code = vec![0xd8, 0x44, 0x20];
    code.extend(if wide { &[0x66][..] } else { &[] });
    code.extend([0xd9, 0x74, 0x40]);
    assert_eq!(guest.execute(&code), None);
    let rip = guest.cpu.rip;
    let operand = guest.save().operand.0;
    let words = operand[0x40..0x5c].chunks_exact(2);
    (rip, words.map(|word| u16::from_le_bytes([word[0], word[1]])).collect())
}

#[test]
fn environments_have_the_format_of_the_mode() {
    let (rip, words) = environment(false, false);
    assert_eq!(words[3..7], [rip as u16, 0x100, 0x20, 0x800], "16-bit protected");
    let (rip, words) = environment(false, true);
    assert_eq!(words[6..14], [rip as u16, 0, 0x100, 0x044, 0x20, 0, 0x800, 0xffff], "32-bit protected");
    // Real mode has linear addresses: 0x100 << 4 is CS's base, 0x800 << 4 DS's.
    let (rip, words) = environment(true, false);
    let linear = 0x1000 + rip;
    assert_eq!(words[3..7], [linear as u16, (linear >> 16 << 12) as u16 | 0x044, 0x8020, 0], "16-bit real");
    let (rip, words) = environment(true, true);
    let linear = 0x1000 + rip;
    let upper = (linear >> 16 << 12) as u16 | 0x044;
    assert_eq!(words[6..13], [linear as u16, 0xffff, upper, 0, 0x8020, 0xffff, 0], "32-bit real");
}

#[test]
fn what_blocks_the_unit_comes_before_bad_addresses() {
    let mut guest = Guest::legacy(false);
    guest.load(&State::initial());
    // fld dword [si] beyond DS's limit
    guest.cpu.set_gpr(gpr::RSI, 0xfff);
    assert_eq!(guest.execute(&[0xd9, 0x04]), Some(TrapCause::BadAddress));
    let cr0 = guest.cpu.cr(0);
    guest.cpu.set_cr(0, cr0 | 8);
    assert_eq!(guest.execute(&[0xd9, 0x04]), fault(trap_vector::NM, None));
}

#[test]
fn faults_change_nothing() {
    let mut guest = Guest::new();
    let mut state = State::initial();
    state.image.0[4] = 0xff;
    // fstp tbyte, fxrstor, fxsave, fnsave, fld, maskmovq at an address that is not mapped
    let codes: [&[u8]; 7] = [
        &[0xdb, 0x3e],
        &[0x0f, 0xae, 0x0e],
        &[0x0f, 0xae, 0x06],
        &[0xdd, 0x36],
        &[0xd9, 0x06],
        &[0x0f, 0x7f, 0x0e],
        &[0x0f, 0xae, 0x26],
    ];
    for code in codes {
        guest.load(&state);
        let before = guest.cpu.fpu.clone();
        guest.cpu.set_gpr(gpr::RSI, 0x40_0000);
        let cause = guest.execute(code);
        assert!(matches!(cause, Some(TrapCause::PageFault { .. })), "{code:02x?}: {cause:?}");
        assert_eq!(guest.cpu.fpu, before, "{code:02x?}");
    }
    // Ten bytes, of which the last two are on a page that is not there: nothing is stored.
    guest.load(&state);
    let end = 0x20_0000 - 8;
    guest.cpu.store(end, 0x55_u64).unwrap();
    guest.cpu.set_gpr(gpr::RSI, end);
    assert!(matches!(guest.execute(&[0xdb, 0x3e]), Some(TrapCause::PageFault { .. })));
    assert_eq!(guest.cpu.load::<u64>(end), Ok(0x55));
}

#[test]
fn outside_images_round_trip_and_are_checked() {
    let (mut random, mut guest, mut other) = (Random::new(13), Guest::new(), Guest::new());
    let mut image = [0xaa; 1024];
    guest.load(&full_state(&mut random));
    guest.cpu.read_xsave_image(&mut image).unwrap();
    assert!(image[576..].iter().all(|&byte| byte == 0));
    other.cpu.write_xsave_image(&image).unwrap();
    assert!(guest.save().image == other.save().image);

    let mut initial = image;
    initial[512] = 0;
    other.cpu.write_xsave_image(&initial).unwrap();
    assert_eq!((other.cpu.xmm(0), other.save().control()), (0, 0x37f));

    let mut short = [0; Cpu::XSAVE_IMAGE_SIZE - 1];
    let too_small = Err(XsaveImageError::TooSmall { size: 575, needed: 576 });
    assert_eq!(guest.cpu.read_xsave_image(&mut short), too_small);
    assert_eq!(guest.cpu.write_xsave_image(&short), too_small);
    let mut refused = |at: usize, byte: u8| {
        let mut image = image;
        image[at] = byte;
        guest.cpu.write_xsave_image(&image)
    };
    assert_eq!(refused(512, 7), Err(XsaveImageError::UnknownComponents { state: 7 }));
    assert_eq!(refused(527, 0x80), Err(XsaveImageError::NotStandard));
    assert!(matches!(refused(26, 1), Err(XsaveImageError::Mxcsr { .. })));
}
