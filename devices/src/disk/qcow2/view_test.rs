use super::*;
use crate::disk::FlushMode;
use crate::disk::buffers::Source;

#[test]
fn what_is_about_to_be_written_is_read_as_if_it_were() {
    let folder = tempfile::tempdir().unwrap();
    let file = ImageFile::create(&folder.path().join("file"), 0, FlushMode::None).unwrap();
    file.write(Source::of_bytes(b"0123456789"), 0).unwrap();
    for (bytes, at, from, read) in [
        (&b"ab"[..], 4, 0, &b"0123ab67"[..]),
        (b"abcdef", 2, 4, b"cdef89"),
        (b"abcd", 0, 2, b"cd456789"),
        (b"abcd", 8, 4, b"4567abcd"),
        (b"ab", 20, 0, b"01234567"),
        (b"ab", 0, 8, b"89"),
        (b"", 4, 0, b"01234567"),
        // Past the end there are zeros, as long as something comes after.
        (b"ab", 12, 8, b"89\0\0ab"),
    ] {
        let view = View::of(&file).after(bytes, at);
        let mut buffer = [0; 8];
        let there = view.read_up_to(&mut buffer, from).unwrap();
        assert_eq!(&buffer[..there], read, "{bytes:?} at {at}, from {from}");
        assert_eq!(view.len().unwrap(), 10.max(at + bytes.len() as u64));
    }
}
