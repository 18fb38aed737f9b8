use super::*;
use crate::synthetic::{noise, pack_xz};
use crate::unpack::{Compression, UnpackError, unpack};

const BLOCK: usize = 100_000;

/// A stream as `xz -T` writes it: a block for each [`BLOCK`] of data, with its sizes in its header.
fn threaded(data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut records = Vec::new();
    let mut flags = [0; 2];
    for content in data.chunks(BLOCK) {
        let alone = pack_xz(content, None);
        flags = stream_flags(&alone).unwrap();
        let filters = usize::from(alone[HEADER]) * 4;
        let header_size = filters + 4;
        let (tail, body) = (index_start(&alone), HEADER + header_size);
        // The index of a stream with one block: 0, 1, and its unpadded size.
        let old = number(&mut &alone[tail + 2..]).unwrap();
        let packed = old - header_size as u64 - check_size(flags);

        let mut header = vec![0, alone[HEADER + 1] | 0xc0];
        push_number(&mut header, packed);
        push_number(&mut header, content.len() as u64);
        header.extend(&alone[HEADER + 2..HEADER + filters]);
        header.resize(header.len().next_multiple_of(4), 0);
        header[0] = (header.len() / 4) as u8;
        header.extend(crc32(&header).to_le_bytes());

        if stream.is_empty() {
            stream.extend(&alone[..HEADER]);
        }
        let unpadded = header.len() as u64 + packed + check_size(flags);
        records.push(Record { unpadded, unpacked: content.len() as u64 });
        stream.extend(header);
        stream.extend(&alone[body..tail]);
    }
    stream.extend(index_and_footer(&records, flags));
    stream
}

fn index_start(stream: &[u8]) -> usize {
    let footer = &stream[stream.len() - HEADER..];
    let backward_size = u32::from_le_bytes(footer[4..8].try_into().unwrap());
    stream.len() - HEADER - (backward_size as usize + 1) * 4
}

fn sample() -> Vec<u8> {
    let mut data = b"the same again ".repeat(30_000);
    data.extend(noise(BLOCK));
    data.extend([7; BLOCK / 2]);
    data
}

fn has_several_processors() -> bool {
    thread::available_parallelism().is_ok_and(|count| count.get() > 1)
}

#[test]
fn blocks_with_sizes_are_shared_out() {
    let data = sample();
    let stream = threaded(&data);
    let mut followed = stream.clone();
    followed.extend([0; 512]);
    for input in [&stream, &followed] {
        let mut out = b"before".to_vec();
        let limit = data.len() + out.len();
        let taken = in_parallel(input, &mut out, limit);
        assert_eq!(taken, has_several_processors().then_some(stream.len()));
        assert!(taken.is_none() || out == [b"before", data.as_slice()].concat());
    }
}

#[test]
fn what_it_makes_is_what_the_decoder_from_start_to_end_takes() {
    let data = sample();
    let mut out = Vec::new();
    XzReader::new(threaded(&data).as_slice(), false).read_to_end(&mut out).unwrap();
    assert!(out == data);
}

#[test]
fn one_block_or_blocks_without_sizes_are_not() {
    for stream in [threaded(&noise(BLOCK)), pack_xz(&sample(), None)] {
        let mut out = Vec::new();
        assert_eq!(in_parallel(&stream, &mut out, usize::MAX), None);
        assert!(out.is_empty());
    }
}

#[test]
fn every_damage_is_found_and_leaves_the_output_as_it_was() {
    let stream = threaded(&sample());
    for at in (0..stream.len()).step_by(97).chain(stream.len() - 80..stream.len()).chain(0..80) {
        let mut damaged = stream.clone();
        damaged[at] ^= 0x10;
        let mut out = b"before".to_vec();
        assert_eq!(in_parallel(&damaged, &mut out, usize::MAX), None, "byte {at}");
        assert_eq!(out, b"before");
    }
    for length in (0..stream.len()).step_by(1009).chain(stream.len() - 40..stream.len()) {
        assert_eq!(in_parallel(&stream[..length], &mut Vec::new(), usize::MAX), None, "{length} bytes");
    }
}

#[test]
fn content_over_the_limit_is_named_by_the_other_decoder() {
    let data = sample();
    let limit = data.len() - 1;
    let result = unpack(Compression::Xz, &threaded(&data), 0, &mut Vec::new(), limit);
    assert_eq!(result, Err(UnpackError::TooLarge { format: Compression::Xz, limit: limit as u64 }));
}
