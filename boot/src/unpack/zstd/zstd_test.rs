use std::io::Read;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::synthetic::noise;

/// [`mixed`] packed by `zstd -9`: literals raw, compressed and with the codes of the block before; sequence tables of all
/// kinds; a checksum.
const MIXED: &str = "\
    28b52ffda4080f0700bc0900d412ad763674ec79cfea8b8e1503fd9e1fffb8754f196def1adebde4133f2d7d37f55aeced52f609\
    b3205ec2b9acbbd20d75b9ec5fd926121026a679afc6e3c8174573e5be01a9ce5da9321c80638f4c5e30ea2fe126fa75b544b6bf\
    120c121a1cb23b3ff7ae4b07d5d4592f4d97d06b9da203cb54fe5919cdba91bce112aa298de43fa36aa6373f9724825575917e3e\
    529c8f66c40521093f87f467fbb2cbe6f9ba4371f700ba7bfdd26347990488ed30ee9d0432a857ad7852ce151ba19c55b7a67d39\
    d54afc65c3e47d6171697db7c6efe06b0f395175535bb384e160f68372ae597b334bc54c02b6278f0650fc9906ac35155b6791d4\
    372d6bd7c0d3fccb7c9857eb862f51ff0e20bcd5b291d6e5620ac0bb40b22df5b2e1e40b5f31830ec817731567916c3e38d22b4b\
    87860001002dd0fe399802fc050082490e865553412019404d3e841c479c43004892740994962419b1fc87633fa526215c19d6a1\
    aa79d44e10feb21fe293640100b0d2a95548d657490236a07139a46a0b2bed1bb104864089aeed1971d864993d11b1d10887583e\
    1ba1a128b889f0db4bd92499677363200b503e4145c317e2c940f22ec2378c896f2bdb93363c72d619052a3444c48fb831337c4c\
    366273da0e4ba1098f3b5c82940cce6aa2f7c604f7d0df10c248205d4cc49d0e27000bd92ef6c490290f24aa4a0281cf8c740600\
    e2050c0dd0151a030f00b8d8522692920c0341609f09251824e2b574ff88588eca7e99a3e49f1210aaf9506ba42b9a087dd50d3b\
    b0c0b08a3a6ab266b9e2168a280288453dee93a2a6cc872e517207c48590c11e620e94ba40d7900e1de5059cdee261fcad9d24ea\
    786c842ddf0028e8f214045c49993f97446d09058de799b7d81df7b4160e489a3a815bafee5e2ecafac216481215bf8044b50f8e\
    c8cc32a5c158cd1d49944b38121ae94ba21a971a518dfe47446460fc9c23aaad2689aa8051a21a391a518d4236dc14f6ac04bd05\
    0083040711ff115144c81f222ec6635480a680e8ffc36e010072ce221e90c8113be041041ca320a44c7cfbcb9d2a78279231e4e7\
    678363b32d6c750e51d219017d4e8a120d4cfd586b2809417416f283152abc393987e8d4920e2c66c5066b6ece2d61a02b44ea38\
    0b017e1384dcfae7680bc954f65a3ce7b909ec2dd96661afd095588d706127ff379882cdf51b58cc53cf7ec08840e751181a8c8a\
    e7607b64b01739b40a6ce7b6310d180896af081892924c2b83f9f502925db797\
";

/// [`skewed`] packed by `zstd -19`: four literal streams, codes described without entropy coding.
const SKEWED: &str = "\
    28b52ffd64dc042d0b00e63a3e86533131103d003b003800bfc9fd2dfd4b42403fc92753fa4f7692ed0ba10764e9832449feb9ed\
    8cfebca45b92dbd6f9869074fa212f9200fab5ed7f936b8610f26a928bcdd2b7052fe9e9faffb59d53aedf48daebebcfb72d24b9\
    a4af5e971013d0b655be493800fa4f7ebdb47d014808dbb6fa79e9fc49d064496f55dae617fcdb01ebdb7fbf5ff51736893ec95f\
    e920364f52bf2764d8b62491fc022349b210dbf59292febf7df2278bffbc7fc2cfcf7fed242fc99f83e437117fd217c227ddbea4\
    f72fe92c905cdffdb70500f22f21493a9f7c49792b4940fa961cc293647a9f102f49ba3efd2484b1df648437e94b27cfd26d7fbf\
    162820906466c62e36da69b661c281c45dd8d5542e9cdc7b0e4c93390b337702191317c4dc195e0999bc307218689a0d19e7f988\
    7d67b459c65c8021f62a2d905f539c9ec7af4e9ee4e62db6181e2131add80328c9bcda70ded03a986ec3bf77263bcd6449881b18\
    df012743cf437d\
";

/// 300,000 zeros packed by `zstd -3`: blocks that repeat a byte.
const ZEROS: &str = "\
    28b52ffda4e09304005400001000000100fbff39c00202001000039f04002d28de26\
";

fn skew(bytes: &[u8]) -> Vec<u8> {
    bytes.windows(3).map(|w| w[0] & w[1] & w[2] & 7).collect()
}

fn skewed() -> Vec<u8> {
    skew(&noise(1502))
}

fn mixed() -> Vec<u8> {
    let (noise, skew) = (noise(300), skew(&noise(1802)));
    let zeros = vec![0; 140_000];
    let parts: [&[u8]; 9] = [
        &noise,
        &zeros,
        &noise,
        &skew[..600],
        &zeros,
        &skew[600..1200],
        &noise[100..],
        &b"abcabcabc".repeat(20_000),
        &skew[1200..],
    ];
    parts.concat()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn unpacked(data: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    unpack(data, 0, &mut out, 1 << 20).map(|_| out)
}

fn frames() -> [(Vec<u8>, Vec<u8>); 3] {
    [(bytes(MIXED), mixed()), (bytes(SKEWED), skewed()), (bytes(ZEROS), vec![0; 300_000])]
}

#[test]
fn frames_of_the_reference_packer_are_unpacked() {
    for (frame, content) in frames() {
        assert!(unpacked(&frame).unwrap() == content);
        // The same behind other data, with a hint, and up to the very limit.
        let mut out = b"before".to_vec();
        let limit = 6 + content.len();
        assert_eq!(unpack(&frame, content.len(), &mut out, limit), Ok(frame.len()));
        assert!(out[..6] == *b"before" && out[6..] == content);
    }
}

#[test]
fn a_frame_cut_anywhere_is_an_error() {
    for (frame, _) in frames() {
        for size in 4..frame.len() {
            let result = unpacked(&frame[..size]);
            assert!(result.is_err(), "{size} of {}", frame.len());
        }
    }
}

#[test]
fn a_byte_changed_anywhere_is_an_error() {
    let (frame, content) = (bytes(MIXED), mixed());
    for at in 4..frame.len() {
        for mask in [1, 0x80, 0xff] {
            let mut damaged = frame.clone();
            damaged[at] ^= mask;
            // What does not matter may change: the window's size, which descriptor has the checksum.
            if let Ok(out) = unpacked(&damaged) {
                assert!(out == content, "byte {at} ^ {mask:#x}");
            }
        }
    }
}

/// A frame of one segment and no checksum, which holds `blocks`: type, size field and bytes of each.
fn frame(content_size: u8, blocks: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, content_size];
    for (index, (kind, size, bytes)) in blocks.iter().enumerate() {
        let last = u32::from(index == blocks.len() - 1);
        frame.extend(&(last | kind << 1 | size << 3).to_le_bytes()[..3]);
        frame.extend_from_slice(bytes);
    }
    frame
}

#[test]
fn plain_blocks_are_copied_and_repeated() {
    let data = frame(7, &[(0, 3, b"abc"), (1, 4, b"d")]);
    assert_eq!(unpacked(&data).unwrap(), b"abcdddd");
}

#[test]
fn a_match_may_not_begin_before_the_frame() {
    // Raw literals "ab", one sequence with all codes certain: two literals, then a match of 3 at a distance of 5.
    let block = |offset_code: u8, bits: u8| vec![2 << 3, b'a', b'b', 1, 0b0101_0100, 2, offset_code, 0, bits];
    // Offset code 2 has two extra bits: 4 + bits - 3 is the distance.
    let data = |bits| frame(5, &[(2, 9, &block(2, bits))]);
    assert_eq!(unpacked(&data(0b101)).unwrap(), b"ababa");
    assert_eq!(unpacked(&data(0b100)).unwrap(), b"abbbb");
    assert!(matches!(unpacked(&data(0b110)), Err(UnpackError::Damaged { .. })));
    let mut out = b"data of another frame".to_vec();
    assert!(matches!(unpack(&data(0b110), 0, &mut out, 1000), Err(UnpackError::Damaged { .. })));
    assert!(out.starts_with(b"data of another frame"));
}

#[test]
fn headers_that_lie_or_ask_too_much_are_refused() {
    let good = frame(3, &[(0, 3, b"abc")]);
    let changed = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        unpacked(&frame)
    };
    assert!(unpacked(&good).is_ok());
    assert!(matches!(changed(5, 4), Err(UnpackError::Damaged { .. })), "a wrong content size");
    assert!(matches!(changed(4, 0x28), Err(UnpackError::Damaged { .. })), "a reserved bit");
    assert!(matches!(changed(4, 0x21), Err(UnpackError::Damaged { .. })), "a dictionary");
    assert!(matches!(changed(6, 7), Err(UnpackError::Damaged { .. })), "a reserved block type");
    let long = frame(0, &[(1, BLOCK as u32 + 1, b"x")]);
    assert!(matches!(unpacked(&long), Err(UnpackError::Damaged { .. })), "a block that is too long");
    let mut huge = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    huge.extend([0xff; 8]);
    assert!(matches!(unpacked(&huge), Err(UnpackError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_another_packer_made_is_unpacked(
        parts in vec((vec(0_u8..20, 1..40), 1_usize..3000), 0..20),
        level in prop_oneof![Just(ruzstd::encoding::CompressionLevel::Fastest), Just(ruzstd::encoding::CompressionLevel::Uncompressed)],
    ) {
        let content: Vec<u8> =
            parts.iter().flat_map(|(part, size)| part.iter().copied().cycle().take(*size)).collect();
        let packed = ruzstd::encoding::compress_to_vec(&content[..], level);
        prop_assert!(unpacked(&packed).unwrap() == content);
    }

    #[test]
    fn damaged_frames_are_read_as_another_decoder_does(
        index in 0_usize..3,
        changes in vec((6_usize..1000, any::<u8>()), 1..4),
    ) {
        let (mut frame, _) = frames()[index].clone();
        // Without the checksum more damage goes through.
        frame[4] &= !4;
        let size = frame.len();
        changes.iter().for_each(|(at, byte)| frame[6 + at % (size - 6)] = *byte);
        if let Ok(ours) = unpacked(&frame) {
            let mut theirs = Vec::new();
            let decoder = ruzstd::decoding::StreamingDecoder::new(&frame[..]);
            if decoder.is_ok_and(|mut decoder| decoder.read_to_end(&mut theirs).is_ok()) {
                prop_assert!(ours == theirs);
            }
        }
    }
}
