use super::*;
use crate::synthetic::{FORMATS, noise, pack, pack_xz};

const NO_LIMIT: usize = usize::MAX;

/// Compressible and incompressible parts, more than one LZ4 block.
fn sample() -> Vec<u8> {
    let mut data = noise(100_000);
    data.extend(b"the same again ".repeat(600_000));
    data.extend(noise(1000));
    data
}

fn unpacked(format: Compression, data: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    unpack(format, data, 0, &mut out, NO_LIMIT).map(|_| out)
}

#[test]
fn every_format_is_detected_and_unpacked() {
    let data = sample();
    for format in FORMATS {
        let packed = pack(format, &data);
        assert_eq!(Compression::detect(&packed), Some(format));
        assert!(unpacked(format, &packed).unwrap() == data, "{format}");
    }
}

#[test]
fn xz_with_the_x86_filter_is_unpacked() {
    // Relative calls, which the filter rewrites.
    let code: Vec<u8> = (0..20_000_u32).flat_map(|i| [0xe8, i as u8, (i >> 8) as u8, 0, 0, 0x90]).collect();
    let packed = pack_xz(&code, Some(lzma_rust2::FilterType::BcjX86));
    assert!(unpacked(Compression::Xz, &packed).unwrap() == code);
}

#[test]
fn the_stream_s_end_is_found() {
    let data = sample();
    for format in FORMATS {
        let mut packed = pack(format, &data);
        let size = packed.len();
        packed.extend([0; 64]);
        let mut out = Vec::new();
        assert_eq!(unpack(format, &packed, 0, &mut out, NO_LIMIT), Ok(size), "{format}");
    }
}

#[test]
fn output_is_appended() {
    for format in FORMATS {
        let mut out = b"before".to_vec();
        unpack(format, &pack(format, b"after"), 5, &mut out, 11).unwrap();
        assert_eq!(out, b"beforeafter", "{format}");
    }
}

#[test]
fn a_limit_of_exactly_the_content_is_enough_and_one_less_is_not() {
    let data = sample();
    for format in FORMATS {
        let packed = pack(format, &data);
        let mut out = Vec::new();
        assert!(unpack(format, &packed, data.len(), &mut out, data.len()).is_ok(), "{format}");
        let mut out = Vec::new();
        let limit = data.len() - 1;
        let result = unpack(format, &packed, data.len(), &mut out, limit);
        assert_eq!(result, Err(UnpackError::TooLarge { format, limit: limit as u64 }), "{format}");
        assert!(out.len() <= limit, "{format}");
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let bomb = vec![0; 16 << 20];
    for format in FORMATS {
        let packed = pack(format, &bomb);
        let mut out = Vec::new();
        let result = unpack(format, &packed, usize::MAX, &mut out, 1 << 20);
        assert!(matches!(result, Err(UnpackError::TooLarge { .. })), "{format}: {result:?}");
        assert!(out.len() <= 1 << 20, "{format}");
    }
}

#[test]
fn cut_streams_are_errors() {
    let data = sample();
    for format in FORMATS {
        let packed = pack(format, &data);
        for size in [packed.len() - 1, packed.len() / 2, 20, 8, 4] {
            // Without its last byte a LZMA stream of known size is still whole: the range coder's flush is padding.
            if format == Compression::Lzma && size == packed.len() - 1 {
                continue;
            }
            let result = unpacked(format, &packed[..size]);
            let expected = matches!(result, Err(UnpackError::Truncated { .. } | UnpackError::Damaged { .. }));
            assert!(expected, "{format} cut to {size}: {:?}", result.map(|out| out.len()));
        }
    }
}

#[test]
fn a_flipped_bit_is_found_where_there_is_a_checksum() {
    let data = sample();
    for format in
        [Compression::Gzip, Compression::Xz, Compression::Bzip2, Compression::Lz4Frame, Compression::Zstd]
    {
        let mut packed = pack(format, &data);
        let middle = packed.len() / 2;
        packed[middle] ^= 0x10;
        assert!(unpacked(format, &packed).is_err(), "{format}");
    }
}

#[test]
fn an_xz_dictionary_beyond_reason_is_refused() {
    let mut options = lzma_rust2::XzOptions::with_preset(1);
    options.lzma_options.dict_size = 1 << 20;
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    std::io::Write::write_all(&mut encoder, b"small").unwrap();
    let mut packed = encoder.finish().unwrap();
    // The block header: size, flags, filter ID, property size, then the dictionary's size; its CRC32 follows padding.
    let header = 12..12 + (packed[12] as usize + 1) * 4;
    packed[header.start + 4] = 39; // 3 GiB
    let crc = crc32(&packed[header.start..header.end - 4]);
    packed[header.end - 4..header.end].copy_from_slice(&crc.to_le_bytes());
    let Err(UnpackError::Damaged { detail, .. }) = unpacked(Compression::Xz, &packed) else {
        panic!("3 GiB of dictionary were granted");
    };
    assert!(detail.contains("memory"), "{detail}");
}

fn crc32(data: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    crc.sum()
}

#[test]
fn a_legacy_lz4_stream_ends_before_the_kernel_s_size_word() {
    let data = noise(5000);
    let mut packed = pack(Compression::Lz4Legacy, &data);
    let size = packed.len();
    packed.extend(5000_u32.to_le_bytes());
    let mut out = Vec::new();
    assert_eq!(unpack(Compression::Lz4Legacy, &packed, 0, &mut out, NO_LIMIT), Ok(size));
    assert_eq!(out, data);
}

#[test]
fn concatenated_legacy_lz4_streams_are_one() {
    let mut packed = pack(Compression::Lz4Legacy, b"one ");
    packed.extend(pack(Compression::Lz4Legacy, b"two"));
    assert_eq!(unpacked(Compression::Lz4Legacy, &packed).unwrap(), b"one two");
}

#[test]
fn lzo_is_named_as_unsupported() {
    let format = Compression::detect(&pack(Compression::Lzo, b"")).unwrap();
    assert_eq!(unpacked(format, b"").unwrap_err().to_string(), "lzo compression is not supported");
}

#[test]
fn other_bytes_are_no_format() {
    for data in [&b""[..], b"\x1f", b"070701", b"\x7fELF", b"BZh0", b"\xfd7zXY\0"] {
        assert_eq!(Compression::detect(data), None, "{data:x?}");
    }
}

#[test]
fn legacy_lz4_streams_of_many_part_blocks_have_no_gaps() {
    let mut packed = pack(Compression::Lz4Legacy, &noise(10));
    let mut expected = noise(10);
    for size in [9 << 20, 100, 1, 17 << 20, 5] {
        packed.extend(pack(Compression::Lz4Legacy, &vec![size as u8; size]));
        expected.extend(vec![size as u8; size]);
    }
    assert!(unpacked(Compression::Lz4Legacy, &packed).unwrap() == expected);
    let mut out = Vec::new();
    unpack(Compression::Lz4Legacy, &packed, 0, &mut out, expected.len()).unwrap();
    assert!(out == expected);
}
