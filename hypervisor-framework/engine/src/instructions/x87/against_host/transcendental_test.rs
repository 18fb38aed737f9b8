//! Transcendental functions: within a unit in the last place of the host's, and the same exceptions.

use super::samples::Random;
use super::{Pair, State};

/// What may differ: C1 and, as processors disagree about results at the edge of the denormals, nothing else.
const C1: u16 = 0x200;

/// Values in order, so that neighbours differ by one.
fn ordinal((sign_exponent, significand): (u16, u64)) -> i128 {
    let exponent = sign_exponent & 0x7fff;
    // Denormals have the exponent of the smallest normals; NaNs are apart by far.
    let magnitude = i128::from(exponent.max(1)) << 63;
    let magnitude = magnitude + i128::from(significand);
    if sign_exponent >> 15 != 0 { -magnitude } else { magnitude }
}

fn close(host: (u16, u64), engine: (u16, u64)) -> bool {
    host == engine || (ordinal(host) - ordinal(engine)).abs() <= 1
}

/// Compares with the first two registers within a unit in the last place.
fn compare(pair: &mut Pair, code: &[u8], state: &State) {
    let (mut host, guest) = pair.run(code, state);
    let as_run = host.clone();
    for i in [0, 1] {
        if close(host.st(i), guest.st(i)) {
            host.set_st(i, guest.st(i));
        }
    }
    host.set_status(host.status() & !C1 | guest.status() & C1);
    if host != guest {
        pair.report(code, state, &as_run, &guest);
    }
}

/// A finite value with an exponent from `2^low` to `2^high`.
fn value(random: &mut Random, low: i32, high: i32) -> (u16, u64) {
    let sign = (random.next() as u16 & 1) << 15;
    let exponent = 0x3fff + low + random.below((high - low + 1) as u64) as i32;
    (sign | exponent as u16, random.bits() | 1 << 63)
}

fn state(random: &mut Random, st0: (u16, u64), st1: (u16, u64)) -> State {
    let mut state = random.x87_state();
    let control = random.control() | 0x3f;
    state.set_control(control);
    state.set_status(state.status() & !0xff);
    state.image.0[4] = !(1 << ((state.top() + 7) & 7));
    state.set_st(0, st0);
    state.set_st(1, st1);
    state
}

#[test]
fn special_operands_equal_the_host() {
    let mut random = Random::new(3);
    let mut pair = Pair::new();
    for function in [0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff] {
        for _ in 0..40_000 {
            let state = random.x87_state();
            let (exponent, _) = state.st(0);
            // F2XM1 and FYL2XP1 are undefined beyond 1 and 1 − √½.
            let limit = if function == 0xf0 { 0x3fff } else { 0x3ffd };
            let outside = exponent & 0x7fff >= limit && exponent & 0x7fff != 0x7fff;
            if matches!(function, 0xf0 | 0xf9) && outside {
                continue;
            }
            compare(&mut pair, &[0xd9, function], &state);
        }
    }
    pair.finish();
}

#[test]
fn circular_functions_are_near_the_host() {
    let mut random = Random::new(4);
    let mut pair = Pair::new();
    for function in [0xf2, 0xfb, 0xfe, 0xff] {
        for _ in 0..20_000 {
            let st0 = if random.one_in(4) { value(&mut random, -70, 70) } else { value(&mut random, -8, 8) };
            let st1 = random.extended();
            let state = state(&mut random, st0, st1);
            compare(&mut pair, &[0xd9, function], &state);
        }
    }
    pair.finish();
}

#[test]
fn exponential_and_logarithms_are_near_the_host() {
    let mut random = Random::new(5);
    let mut pair = Pair::new();
    for _ in 0..40_000 {
        let x = if random.one_in(4) { value(&mut random, -80, -1) } else { value(&mut random, -8, -1) };
        let y = value(&mut random, -100, 100);
        compare(&mut pair, &[0xd9, 0xf0], &state(&mut random, x, y));
        let small = value(&mut random, if x.1 & 4 == 0 { -80 } else { -8 }, -3);
        compare(&mut pair, &[0xd9, 0xf9], &state(&mut random, small, y));
        let (se, significand) =
            if random.one_in(3) { value(&mut random, -2, 1) } else { value(&mut random, -16000, 16000) };
        compare(&mut pair, &[0xd9, 0xf1], &state(&mut random, (se & 0x7fff, significand), y));
        let near_one = (0x3fff - (random.next() as u16 & 1), (1 << 63) + random.bits() % (1 << 20));
        compare(&mut pair, &[0xd9, 0xf1], &state(&mut random, near_one, y));
    }
    pair.finish();
}

#[test]
fn arctangent_is_near_the_host() {
    let mut random = Random::new(6);
    let mut pair = Pair::new();
    for _ in 0..80_000 {
        let (low, high) = if random.one_in(4) { (-100, 100) } else { (-4, 4) };
        let (x, y) = (value(&mut random, low, high), value(&mut random, low, high));
        compare(&mut pair, &[0xd9, 0xf3], &state(&mut random, x, y));
    }
    pair.finish();
}
