//! Transcendental functions against values computed with 420 bits, rounded in every mode.
#![allow(clippy::unwrap_used)] // tests

use super::*;

/// Function, x, y, rounding, result; values as (sign and exponent, significand). Angles are reduced by the 66-bit π.
type Row = (&'static str, (u16, u64), (u16, u64), u16, (u16, u64));

#[rustfmt::skip]
const ROWS: [Row; 56] = [
    ("atan", (0xc030, 0xa511_eacb_2217_bead), (0x3fd5, 0x8f13_d0e0_8a6a_63ec), 0, (0x4000, 0xc90f_daa2_2168_c235)),
    ("atan", (0xc001, 0xe1dd_754f_13de_ef86), (0xc000, 0xf00f_a82b_ca02_135e), 1, (0xc000, 0xa9cc_bdca_a874_d07e)),
    ("atan", (0xbfe7, 0xde82_b0f3_211c_70cf), (0x3ff5, 0xf55a_3be9_6415_479c), 2, (0x3fff, 0xc911_aaf7_83d2_538c)),
    ("atan", (0x3ff6, 0x8d40_b416_64e5_0cad), (0x4014, 0x87f7_bc94_6683_6886), 3, (0x3fff, 0xc90f_daa0_0d82_06f9)),
    ("atan", (0xbffe, 0xd854_2272_2587_be6b), (0xbffc, 0xc399_1712_c215_a82a), 0, (0xc000, 0xbad5_9509_0cc1_361c)),
    ("atan", (0x3fdb, 0xcd75_3214_b149_1e24), (0xbfef, 0xe77f_150f_727d_8349), 1, (0xbfff, 0xc90f_d388_7d1a_8387)),
    ("atan", (0xbffd, 0xe9cb_186b_9c90_11ef), (0xbfff, 0xf7fe_ef75_a842_bc19), 2, (0xbfff, 0xe6b0_4c3d_4060_f2b6)),
    ("atan", (0x4000, 0xe355_3eaa_0101_b811), (0xbffd, 0x921e_9ab8_2c1e_ea1f), 3, (0xbffb, 0xa431_572b_a6a4_b5c0)),
    ("cos", (0x3fdf, 0xd351_d228_6513_270e), (0x3fff, 0x8000_0000_0000_0000), 0, (0x3ffe, 0xffff_ffff_ffff_ffff)),
    ("cos", (0x3fd1, 0xdb26_7211_8c38_fb29), (0x3fff, 0x8000_0000_0000_0000), 1, (0x3ffe, 0xffff_ffff_ffff_ffff)),
    ("cos", (0x4012, 0xbf93_0a25_9828_9fcd), (0x3fff, 0x8000_0000_0000_0000), 2, (0x3ffe, 0xe428_6ace_c588_f996)),
    ("cos", (0x3fff, 0xadec_36a0_fc89_1b4a), (0x3fff, 0x8000_0000_0000_0000), 3, (0x3ffc, 0xd77d_9f24_582b_894f)),
    ("cos", (0x3fb9, 0x935c_a63f_9118_bb16), (0x3fff, 0x8000_0000_0000_0000), 0, (0x3fff, 0x8000_0000_0000_0000)),
    ("cos", (0xbfd0, 0xec37_a07b_b239_f3c7), (0x3fff, 0x8000_0000_0000_0000), 1, (0x3ffe, 0xffff_ffff_ffff_ffff)),
    ("cos", (0x4031, 0xab3a_fb56_325b_55dd), (0x3fff, 0x8000_0000_0000_0000), 2, (0x3ffc, 0xda8c_faaf_24ef_39eb)),
    ("cos", (0x3fda, 0x81d2_b660_057a_40b2), (0x3fff, 0x8000_0000_0000_0000), 3, (0x3ffe, 0xffff_ffff_ffff_ffff)),
    ("exp", (0x3ff9, 0xb781_b3ad_1600_a35a), (0x3fff, 0x8000_0000_0000_0000), 0, (0x3ff9, 0x8030_92d8_f355_787b)),
    ("exp", (0x3ffc, 0xf633_53c3_95e7_61d1), (0x3fff, 0x8000_0000_0000_0000), 1, (0x3ffc, 0xb9b2_7726_63a2_a978)),
    ("exp", (0xbff9, 0xdd96_a107_0f88_080b), (0x3fff, 0x8000_0000_0000_0000), 2, (0xbff9, 0x9829_9675_3ca9_77bf)),
    ("exp", (0xbfd6, 0x8a9f_3e15_26a2_c0bd), (0x3fff, 0x8000_0000_0000_0000), 3, (0xbfd5, 0xc02b_c3a1_89c9_b579)),
    ("exp", (0x3ffe, 0xfa4c_c6be_4093_f6de), (0x3fff, 0x8000_0000_0000_0000), 0, (0x3ffe, 0xf828_9dec_caa9_19aa)),
    ("exp", (0x3fd5, 0xc552_1246_8857_f9a4), (0x3fff, 0x8000_0000_0000_0000), 1, (0x3fd5, 0x88c5_afa8_4b4b_b3ce)),
    ("exp", (0x3ffe, 0xf473_93c4_1eb2_0109), (0x3fff, 0x8000_0000_0000_0000), 2, (0x3ffe, 0xf03c_f13e_174e_9f2f)),
    ("exp", (0x3ff9, 0x9b3c_5e46_4078_3f0a), (0x3fff, 0x8000_0000_0000_0000), 3, (0x3ff8, 0xd89f_4054_8ad2_3209)),
    ("log", (0x0a70, 0x8b9c_7bec_3d9c_1724), (0xbfdf, 0xd04f_bb5a_a170_b338), 0, (0x3fed, 0xae53_10eb_e199_fe59)),
    ("log", (0x2fc7, 0x9fcc_713b_4cbd_87ad), (0x400c, 0xc339_a390_4cdd_2055), 1, (0xc018, 0xc5e1_0566_83bc_536f)),
    ("log", (0x4000, 0xdbba_75a9_48db_40af), (0xc018, 0x82e3_5783_58d5_563d), 2, (0xc018, 0xe8ec_e75a_c81a_5502)),
    ("log", (0x030a, 0xea61_4617_7c26_847f), (0x3ff8, 0xaf43_b376_88da_f401), 3, (0xc006, 0xa6ec_0398_f948_0e61)),
    ("log", (0x3ffd, 0xeca9_f713_1d87_cec3), (0xbffe, 0xbdee_4b45_7afb_2c68), 0, (0x3ffe, 0xd373_64dd_e75c_27d3)),
    ("log", (0x3ffe, 0x9ea4_4152_ce5b_2a92), (0xc029, 0x9996_e998_3a0b_9965), 1, (0x4028, 0xd411_63e2_296c_aad9)),
    ("log", (0x65a1, 0xe004_9a49_b624_6771), (0x4028, 0xaa8f_ec7c_a2c6_8e45), 2, (0x4035, 0xc89a_2fd8_0af4_41f5)),
    ("log", (0x3fff, 0xc5ad_59f7_4265_bb31), (0xbfd3, 0xf47b_705e_0f97_7044), 3, (0xbfd3, 0x994a_7869_61b4_7e53)),
    ("log1", (0xbfc0, 0xcaf3_057a_93bd_04cf), (0xbfdf, 0xd04f_bb5a_a170_b338), 0, (0x3fa1, 0xee40_555c_e2f5_0d0b)),
    ("log1", (0x3ff9, 0xc187_03de_1e39_8f10), (0x400c, 0xc339_a390_4cdd_2055), 1, (0x4007, 0xd271_30a1_f74a_7789)),
    ("log1", (0xbff4, 0x9582_9bf3_5aff_b229), (0xc018, 0x82e3_5783_58d5_563d), 2, (0x400d, 0xdca0_96ef_dac6_a7a2)),
    ("log1", (0xbff9, 0xf323_e5c7_74e6_9a5d), (0x3ff8, 0xaf43_b376_88da_f401), 3, (0xbff3, 0xf3c9_9722_c69c_61f6)),
    ("log1", (0xbffb, 0xa1e3_8dcd_bd87_a865), (0xbffe, 0xbdee_4b45_7afb_2c68), 0, (0x3ffb, 0xb483_08a5_21df_62d3)),
    ("log1", (0x3ff9, 0xa3c3_fc9d_ca44_eb86), (0xc029, 0x9996_e998_3a0b_9965), 1, (0xc024, 0x8c59_affd_ca56_e239)),
    ("log1", (0x3feb, 0xb360_a4a7_7691_b06f), (0x4028, 0xaa8f_ec7c_a2c6_8e45), 2, (0x4015, 0xac6b_425e_f243_1b0f)),
    ("log1", (0xbfe6, 0xbaa5_04e6_e5cf_edfa), (0xbfd3, 0xf47b_705e_0f97_7044), 3, (0x3fbc, 0x8094_0310_92af_2925)),
    ("sin", (0x3fdf, 0xd351_d228_6513_270e), (0x3fff, 0x8000_0000_0000_0000), 0, (0x3fdf, 0xd351_d228_6513_270e)),
    ("sin", (0x3fd1, 0xdb26_7211_8c38_fb29), (0x3fff, 0x8000_0000_0000_0000), 1, (0x3fd1, 0xdb26_7211_8c38_fb28)),
    ("sin", (0x4012, 0xbf93_0a25_9828_9fcd), (0x3fff, 0x8000_0000_0000_0000), 2, (0x3ffd, 0xe834_e6ea_fdd7_eeaa)),
    ("sin", (0x3fff, 0xadec_36a0_fc89_1b4a), (0x3fff, 0x8000_0000_0000_0000), 3, (0x3ffe, 0xfa44_6f7f_a900_fc5c)),
    ("sin", (0x3fb9, 0x935c_a63f_9118_bb16), (0x3fff, 0x8000_0000_0000_0000), 0, (0x3fb9, 0x935c_a63f_9118_bb16)),
    ("sin", (0xbfd0, 0xec37_a07b_b239_f3c7), (0x3fff, 0x8000_0000_0000_0000), 1, (0xbfd0, 0xec37_a07b_b239_f3c7)),
    ("sin", (0x4031, 0xab3a_fb56_325b_55dd), (0x3fff, 0x8000_0000_0000_0000), 2, (0xbffe, 0xfa19_f735_79c6_0eec)),
    ("sin", (0x3fda, 0x81d2_b660_057a_40b2), (0x3fff, 0x8000_0000_0000_0000), 3, (0x3fda, 0x81d2_b660_057a_40b1)),
    ("tan", (0x3fdf, 0xd351_d228_6513_270e), (0x3fff, 0x8000_0000_0000_0000), 0, (0x3fdf, 0xd351_d228_6513_270f)),
    ("tan", (0x3fd1, 0xdb26_7211_8c38_fb29), (0x3fff, 0x8000_0000_0000_0000), 1, (0x3fd1, 0xdb26_7211_8c38_fb29)),
    ("tan", (0x4012, 0xbf93_0a25_9828_9fcd), (0x3fff, 0x8000_0000_0000_0000), 2, (0x3ffe, 0x8245_7bca_49af_0e0d)),
    ("tan", (0x3fff, 0xadec_36a0_fc89_1b4a), (0x3fff, 0x8000_0000_0000_0000), 3, (0x4001, 0x94a8_35d2_b7c2_5826)),
    ("tan", (0x3fb9, 0x935c_a63f_9118_bb16), (0x3fff, 0x8000_0000_0000_0000), 0, (0x3fb9, 0x935c_a63f_9118_bb16)),
    ("tan", (0xbfd0, 0xec37_a07b_b239_f3c7), (0x3fff, 0x8000_0000_0000_0000), 1, (0xbfd0, 0xec37_a07b_b239_f3c8)),
    ("tan", (0x4031, 0xab3a_fb56_325b_55dd), (0x3fff, 0x8000_0000_0000_0000), 2, (0xc001, 0x927a_8034_965f_edfe)),
    ("tan", (0x3fda, 0x81d2_b660_057a_40b2), (0x3fff, 0x8000_0000_0000_0000), 3, (0x3fda, 0x81d2_b660_057a_40b2)),
];

#[test]
fn values_are_rounded_correctly() {
    let value = |(sign_exponent, significand)| F80 { significand, sign_exponent };
    for &(function, x, y, rounding, expected) in &ROWS {
        let control = Control(Control::INITIAL.0 | rounding << 10);
        let (x, y) = (value(x), value(y));
        let outcome = match function {
            "sin" => sine(x, control).unwrap(),
            "cos" => cosine(x, control).unwrap(),
            "tan" => tangent(x, control).unwrap(),
            "exp" => exponential(x, control),
            "log" => logarithm(x, y, control),
            "log1" => logarithm_plus_1(x, y, control),
            _ => arctangent(x, y, control),
        };
        assert_eq!(outcome.value, value(expected), "{function} of {x:x?}, {y:x?}, rounding {rounding}");
    }
}
