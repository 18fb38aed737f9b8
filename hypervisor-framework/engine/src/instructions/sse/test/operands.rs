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

/// Singles at which something changes: zeros, denormals, limits of formats and integers, halves, NaNs.
const SINGLES: [u32; 44] = [
    0,
    1,
    2,
    0x0000_1234,
    0x0040_0000,
    0x007f_ffff,
    0x0080_0000,
    0x0080_0001,
    0x00ff_ffff,
    0x0100_0000,
    0x1f80_0000,
    0x2000_0000,
    0x3300_0000,
    0x3380_0000,
    0x3eff_ffff,
    0x3f00_0000,
    0x3f00_0001,
    0x3f7f_ffff,
    0x3f80_0000,
    0x3f80_0001,
    0x3fc0_0000,
    0x4000_0000,
    0x4020_0000,
    0x4060_0000,
    0x40a0_0000,
    0x4afe_0001,
    0x4b00_0001,
    0x4b7f_ffff,
    0x4eff_ffff,
    0x4f00_0000,
    0x4f00_0001,
    0x5eff_ffff,
    0x5f00_0000,
    0x5f00_0001,
    0x6000_0000,
    0x7e80_0000,
    0x7f00_0000,
    0x7f7f_fffe,
    0x7f7f_ffff,
    0x7f80_0000,
    0x7f80_0001,
    0x7fbf_ffff,
    0x7fc0_0000,
    0x7fff_ffff,
];

const DOUBLES: [u64; 48] = [
    0,
    1,
    2,
    0x0000_0000_1234_5678,
    0x0008_0000_0000_0000,
    0x000f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x0010_0000_0000_0001,
    0x001f_ffff_ffff_ffff,
    0x0020_0000_0000_0000,
    0x1ff0_0000_0000_0000,
    0x3690_0000_0000_0000,
    0x36a0_0000_0000_0000,
    0x3800_0000_0000_0000,
    0x380f_ffff_ffff_ffff,
    0x380f_ffff_efff_ffff,
    0x380f_ffff_e000_0000,
    0x380f_ffff_f000_0001,
    0x3810_0000_0000_0000,
    0x3fdf_ffff_ffff_ffff,
    0x3fe0_0000_0000_0000,
    0x3fe0_0000_0000_0001,
    0x3fef_ffff_ffff_ffff,
    0x3ff0_0000_0000_0000,
    0x3ff0_0000_1000_0000,
    0x3ff0_0000_3000_0000,
    0x3ff0_0000_1000_0001,
    0x3ff8_0000_0000_0000,
    0x4004_0000_0000_0000,
    0x400c_0000_0000_0000,
    0x41df_ffff_ffbf_ffff,
    0x41df_ffff_ffc0_0000,
    0x41df_ffff_ffe0_0000,
    0x41e0_0000_0000_0000,
    0x41e0_0000_0010_0000,
    0x41e0_0000_0020_0000,
    0x4330_0000_0000_0001,
    0x43df_ffff_ffff_ffff,
    0x43e0_0000_0000_0000,
    0x43e0_0000_0000_0001,
    0x47ef_ffff_e000_0000,
    0x47ef_ffff_f000_0000,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0x7ff0_0000_0000_0001,
    0x7ff7_ffff_ffff_ffff,
    0x7ff8_0000_0000_0000,
    0x7fff_ffff_ffff_ffff,
];

/// A single: an edge of either sign, noise, or noise with a moderate exponent or few bits.
pub(super) fn single(noise: &mut Noise) -> u32 {
    let sign = (noise.next() as u32) << 31;
    let random = noise.next() as u32;
    match noise.next() % 8 {
        0..3 => noise.pick(&SINGLES) | sign,
        3 => random,
        4 => random & 0x807f_ffff | (120 + random % 16) << 23,
        5 => random & 0x80f0_0000 | 0x3f80_0000,
        // An integer and a half.
        6 => (f32::from(random as i16) / 2.0).to_bits(),
        _ => random & 0x807f_ffff | noise.pick(&[1, 2, 3, 24, 25, 63, 64, 190, 253, 254]) << 23,
    }
}

/// A double likewise.
pub(super) fn double(noise: &mut Noise) -> u64 {
    let sign = noise.next() << 63;
    let random = noise.next();
    match noise.next() % 8 {
        0..3 => noise.pick(&DOUBLES) | sign,
        3 => random,
        4 => random & 0x800f_ffff_ffff_ffff | (1010 + random % 30) << 52,
        5 => random & 0x801e_0000_0000_0000 | 0x3ff0_0000_0000_0000,
        6 => (f64::from(random as i32) / 2.0).to_bits(),
        _ => {
            random & 0x800f_ffff_ffff_ffff
                | noise.pick(&[1, 2, 53, 54, 510, 512, 874, 896, 1150, 2045, 2046]) << 52
        }
    }
}

/// Four singles.
pub(super) fn singles(noise: &mut Noise) -> u128 {
    (0..4).fold(0, |all, _| all << 32 | u128::from(single(noise)))
}

/// Two doubles.
pub(super) fn doubles(noise: &mut Noise) -> u128 {
    u128::from(double(noise)) << 64 | u128::from(double(noise))
}
