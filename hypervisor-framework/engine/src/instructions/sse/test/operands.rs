//! Values for tests: edges, and noise that is the same every time.

/// A small generator of noise (xorshift*).
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn next_u128(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }
}

/// Bytes at which packed integer arithmetic changes its mind.
const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/// An integer vector: noise, edges, or a mixture of both.
pub(super) fn integers(noise: &mut Noise) -> u128 {
    let edges = u128::from_le_bytes(std::array::from_fn(|_| noise.pick(&EDGES)));
    match noise.next() % 4 {
        0 => noise.next_u128(),
        1 => edges,
        2 => {
            let lanes = [0x8000_8000_7fff_7fff_u64, 0x8000_0000_7fff_ffff, 1 << 63, !0 >> 1, 0, !0];
            u128::from(noise.pick(&lanes)) << 64 | u128::from(noise.pick(&lanes))
        }
        _ => {
            let mask = noise.next_u128();
            edges & mask | noise.next_u128() & !mask
        }
    }
}
