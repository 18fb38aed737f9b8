use proptest::prelude::*;

use super::*;
use crate::disk::qcow2::testing::{changed, open_bytes, sound};

fn parse(bytes: &[u8]) -> Result<Header, String> {
    Header::parse(bytes, bytes.len() as u64)
}

#[test]
fn a_new_image_is_sound() {
    let header = parse(&sound()).unwrap();

    assert_eq!((header.version, header.cluster_bytes, header.bytes), (3, 65536, 1 << 20));
    assert_eq!((header.backing, header.snapshots), (None, 0));
    open_bytes(&sound()).unwrap();
}

#[test]
fn each_field_is_checked() {
    for (at, field, message) in [
        (0, &b"QFI\xfa"[..], "is format=qcow2 right?"),
        (4, &[0, 0, 0, 4], "version 4 is not known"),
        (4, &[0, 0, 0, 1], "version 1 is not known"),
        (8, &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 9], "backing file cannot be read"),
        (8, &[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0], "has 1024 bytes, more than 1023"),
        (20, &[0, 0, 0, 8], "clusters of 2^8 bytes"),
        (20, &[0, 0, 0, 22], "clusters of 2^22 bytes"),
        (20, &[255, 255, 255, 255], "clusters of 2^4294967295 bytes"),
        (24, &[0, 0, 0, 0, 0, 1, 0, 1], "whole sectors"),
        (24, &[127, 255, 255, 255, 255, 255, 254, 0], "L1 table is too short"),
        (32, &[0, 0, 0, 2], "uses encryption"),
        (36, &[0, 0, 0, 0], "L1 table is too short"),
        (36, &[255, 255, 255, 255], "L1 table of 4294967295 entries is too large"),
        (40, &[0, 0, 0, 0, 0, 3, 0, 8], "L1 table at 0x30008 is not within"),
        (40, &[255, 255, 255, 255, 255, 255, 0, 0], "is it cut off?"),
        (48, &[0, 0, 0, 0, 255, 255, 0, 0], "refcount table at 0xffff0000 is not within"),
        (56, &[0, 0, 0, 0], "refcount table of 0 bytes"),
        (56, &[255, 255, 255, 255], "refcount table of 281474976645120 bytes"),
        (79, &[1], "was not closed properly"),
        (79, &[2], "is marked as damaged"),
        (79, &[4], "an external data file"),
        (79, &[8], "a compression other than deflate"),
        (79, &[16], "extended L2 entries"),
        (72, &[128], "unknown features (0x8000000000000000)"),
        (96, &[0, 0, 0, 7], "2^7 bits"),
        (100, &[0, 0, 0, 103], "header of 103 bytes"),
        (100, &[0, 2, 0, 0], "header of 131072 bytes"),
    ] {
        let error = open_bytes(&changed(at, field)).map(|_| ()).unwrap_err();
        assert!(error.contains(message), "{at}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn what_is_cut_off_anywhere_in_its_tables_is_refused() {
    let whole = sound();
    // The last table is the L1 table, at 0x30000.
    let l1_end = whole.len();
    assert!(l1_end > 0x30000);
    assert!(open_bytes(&[]).unwrap_err().contains("is empty"));
    for len in [1, 4, 71, 72, 103, 104, 65536, 131_072, 196_607, l1_end - 1] {
        let error = open_bytes(&whole[..len]).unwrap_err();
        assert!(error.contains("cut off") || error.contains("does not begin as one"), "{len}: {error}");
    }
}

#[test]
fn the_backing_format_is_found_behind_other_extensions() {
    let mut bytes = sound();
    let mut extensions = Vec::new();
    for (kind, data) in [(0x1234u32, &b"abc"[..]), (0xe279_2aca, b"raw"), (0, b"")] {
        extensions.extend(kind.to_be_bytes());
        extensions.extend((data.len() as u32).to_be_bytes());
        extensions.extend(data);
        extensions.resize(extensions.len().next_multiple_of(8), 0);
    }
    let start = u32::from_be_bytes(bytes[100..104].try_into().unwrap()) as usize;
    bytes[start..start + extensions.len()].copy_from_slice(&extensions);
    let name = start + extensions.len();
    bytes[name..name + 5].copy_from_slice(b"below");
    bytes[8..16].copy_from_slice(&(name as u64).to_be_bytes());
    bytes[16..20].copy_from_slice(&5u32.to_be_bytes());

    let backing = parse(&bytes).unwrap().backing.unwrap();

    assert_eq!((backing.name.as_str(), backing.format.as_deref()), ("below", Some("raw")));
}

proptest! {
    /// Whatever a header says, it is answered, and what passes is within bounds.
    #[test]
    fn any_header_is_answered(changes in prop::collection::vec((0..200usize, any::<u8>()), 1..8), len in 0..70_000usize) {
        let mut bytes = sound();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(len.max(1));
        if let Ok(header) = Header::parse(&bytes, bytes.len() as u64) {
            prop_assert!(header.l1_entries <= MAX_L1_ENTRIES);
            prop_assert!(header.cluster_bytes <= 2 << 20);
        }
    }
}
