use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;

use guest_memory::{HostRegion, Slice};
use vm_memory::VolatileMemory;

use super::*;

/// Pieces of a region, of these lengths, with gaps between them.
fn scattered<'a>(region: &'a HostRegion, lengths: &[usize]) -> Vec<Slice<'a>> {
    let mut at = 0;
    lengths
        .iter()
        .map(|length| {
            let slice = region.get_slice(at, *length).unwrap();
            at += length + 3;
            slice
        })
        .collect()
}

fn file(content: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn content(file: &mut std::fs::File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_request_is_read_across_its_pieces() {
    let region = HostRegion::new(4096).unwrap();
    let slices = scattered(&region, &[3, 0, 1, 10]);
    assert!(GuestReply::new(&slices).put(0, b"0123456789abcd"));
    let mut request = GuestRequest::new(&slices);
    assert_eq!(request.remaining(), 14);
    let mut bytes = [0; 5];
    assert_eq!(request.read(&mut bytes), 5);
    assert_eq!(&bytes, b"01234");
    let mut target = file(b"");
    assert_eq!(request.write_to(target.as_fd(), 2, 4).unwrap(), 4);
    assert_eq!(content(&mut target), b"\0\x005678");
    let mut rest = [0; 20];
    assert_eq!(request.read(&mut rest), 5);
    assert_eq!(&rest[..5], b"9abcd");
    assert_eq!((request.remaining(), request.read(&mut rest)), (0, 0));
    assert_eq!(request.write_to(target.as_fd(), 0, 9).unwrap(), 0);
}

#[test]
fn a_reply_is_written_across_its_pieces() {
    let region = HostRegion::new(4096).unwrap();
    let slices = scattered(&region, &[2, 5, 4]);
    let mut reply = GuestReply::new(&slices);
    assert_eq!(reply.capacity(), 11);
    assert_eq!(reply.read_from(4, file(b"abcdefghijkl").as_fd(), 1, 100).unwrap(), 7);
    assert!(reply.put(0, b"head"));
    let mut bytes = [0; 11];
    assert_eq!(GuestRequest::new(&slices).read(&mut bytes), 11);
    assert_eq!(&bytes, b"headbcdefgh");
    assert!(!reply.put(8, b"long"), "no room");
    assert!(!reply.put(usize::MAX, b"x"));
    assert_eq!(reply.read_from(11, file(b"abc").as_fd(), 0, 3).unwrap(), 0);
    // The gaps are untouched.
    let mut gap = [0; 3];
    region.get_slice(2, 3).unwrap().copy_to(&mut gap[..]);
    assert_eq!(gap, [0; 3]);
}

#[test]
fn plain_bytes_do_the_same() {
    let mut request = &b"0123456789"[..];
    let mut bytes = [0; 4];
    assert_eq!(RequestReader::read(&mut request, &mut bytes), 4);
    let mut target = file(b"");
    assert_eq!(request.write_to(target.as_fd(), 0, 100).unwrap(), 6);
    assert_eq!(content(&mut target), b"456789");
    let mut reply = ByteReply::new(8);
    assert_eq!(reply.read_from(3, file(b"abcdefghi").as_fd(), 0, 100).unwrap(), 5);
    assert!(reply.put(0, b"xyz"));
    assert!(!reply.put(7, b"xx"));
    assert_eq!(reply.into_bytes(8), b"xyzabcde");
}
