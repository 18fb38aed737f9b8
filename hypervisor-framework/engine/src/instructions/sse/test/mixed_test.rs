//! The conversions of MMX registers against those of XMM registers that do the same.

use super::State;
use super::engine::Machine;
use super::operands::{Noise, doubles, integers, singles};
use crate::instructions::sse::mixed::{Conversion, convert};

#[test]
fn conversions_equal_those_of_xmm_registers() {
    let to_singles: &[u8] = &[0x0f, 0x5b, 0xc1];
    let to_doubles: &[u8] = &[0xf3, 0x0f, 0xe6, 0xc1];
    let cases = [
        (Conversion::IntegersToSingles, integers as fn(&mut Noise) -> u128, to_singles),
        (Conversion::IntegersToDoubles, integers, to_doubles),
        (Conversion::SinglesToIntegers { truncate: false }, singles, &[0x66, 0x0f, 0x5b, 0xc1]),
        (Conversion::SinglesToIntegers { truncate: true }, singles, &[0xf3, 0x0f, 0x5b, 0xc1]),
        (Conversion::DoublesToIntegers { truncate: false }, doubles, &[0xf2, 0x0f, 0xe6, 0xc1]),
        (Conversion::DoublesToIntegers { truncate: true }, doubles, &[0x66, 0x0f, 0xe6, 0xc1]),
    ];
    let mut machine = Machine::new();
    let mut noise = Noise::new(40);
    for (conversion, vector, code) in cases {
        for _ in 0..500 {
            let mut source = vector(&mut noise);
            if !matches!(conversion, Conversion::DoublesToIntegers { .. }) {
                source &= u128::from(u64::MAX);
            }
            let mxcsr = 0x1f80 | noise.next() as u32 & 0xe07f;
            let mut state = State { xmm: [0, source, 0], mxcsr, ..State::default() };
            assert_eq!(machine.run(code, &mut state), Ok(()));
            machine.cpu.mxcsr = mxcsr;
            assert_eq!(convert(&mut machine.cpu, conversion, source), Ok(state.xmm[0]));
            assert_eq!(machine.cpu.mxcsr, state.mxcsr);
        }
    }
}
