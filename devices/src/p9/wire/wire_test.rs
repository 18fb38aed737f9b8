use std::collections::HashSet;

use super::spec::message;
use super::*;

#[test]
fn both_columns_of_the_error_table() {
    use super::host_errno::{HostErrnos, TABLE, of};
    let macos: HashSet<i32> = TABLE.iter().map(|(_, macos, _)| *macos).collect();
    assert_eq!(macos.len(), TABLE.len(), "each of macOS's once");
    for (linux, macos, name) in TABLE {
        assert_eq!(of(HostErrnos::MacOs, *macos), *linux, "{name}");
        assert_eq!(of(HostErrnos::Linux, *linux as i32), *linux, "{name}");
    }
    for (macos, linux) in [
        (35, 11),
        (66, 39),
        (93, 61),
        (45, 95),
        (102, 95),
        (63, 36),
        (62, 40),
        (70, 116),
        (1000, 5),
        (0, 5),
        (-1, 5),
    ] {
        assert_eq!(of(HostErrnos::MacOs, macos), linux, "{macos}");
    }
    for other in [0, -5, 134, 512, i32::MAX] {
        assert_eq!(of(HostErrnos::Linux, other), 5, "{other}");
    }
}

/// The names of the table and the numbers of the host this runs on belong together.
#[test]
fn the_hosts_numbers() {
    for (host, wire) in [
        (libc::EAGAIN, Errno::EAGAIN),
        (libc::ENOTEMPTY, Errno::ENOTEMPTY),
        (libc::ENAMETOOLONG, Errno::ENAMETOOLONG),
        (libc::ELOOP, Errno::ELOOP),
        (libc::ESTALE, Errno::ESTALE),
        (libc::EOPNOTSUPP, Errno::EOPNOTSUPP),
        (libc::ENOTSUP, Errno::EOPNOTSUPP),
        (libc::ENOLCK, Errno::ENOLCK),
        (libc::EDQUOT, Errno(122)),
        (libc::EOVERFLOW, Errno(75)),
        (libc::EILSEQ, Errno(84)),
        (libc::ENODATA, Errno::ENODATA),
        (libc::EPROTO, Errno::EPROTO),
        (libc::EDEADLK, Errno(35)),
        (libc::ETXTBSY, Errno(26)),
    ] {
        assert_eq!(Errno::from(rustix::io::Errno::from_raw_os_error(host)), wire);
        assert_eq!(Errno::from(std::io::Error::from_raw_os_error(host)), wire);
    }
    assert_eq!(Errno::from(std::io::Error::from(std::io::ErrorKind::InvalidInput)), Errno::EIO);
}

#[test]
fn errors_print_their_name() {
    assert_eq!(format!("{:?} {:?}", Errno::ENOENT, Errno(4000)), "ENOENT Errno(4000)");
}

#[test]
fn fields_in_their_order() {
    let body = [
        &1u32.to_le_bytes()[..],
        &[1, 0, b'n'],
        &2u32.to_le_bytes(),
        &3u32.to_le_bytes(),
        &4u32.to_le_bytes(),
    ];
    assert_eq!(
        Request::decode(message::TLCREATE, &body.concat()),
        Ok(Request::Lcreate { fid: 1, name: b"n", flags: OpenFlags(2), mode: 3, gid: 4 })
    );
    let body = [&1u32.to_le_bytes()[..], &[1, 0, b'n'], &[2, 0, b't', b'!'], &5u32.to_le_bytes()];
    assert_eq!(
        Request::decode(message::TSYMLINK, &body.concat()),
        Ok(Request::Symlink { dir: 1, name: b"n", target: b"t!", gid: 5 })
    );
    let body = [
        &1u32.to_le_bytes()[..],
        &[1],
        &0u32.to_le_bytes(),
        &7u64.to_le_bytes(),
        &8u64.to_le_bytes(),
        &9u32.to_le_bytes(),
        &[0, 0],
    ];
    let lock = Lock { kind: 1, start: 7, length: 8, process: 9, client: b"" };
    assert_eq!(Request::decode(message::TLOCK, &body.concat()), Ok(Request::Lock { fid: 1, lock }));
}

/// Every prefix of every request is an error, never more.
#[test]
fn requests_cut_short() {
    for kind in 0..=255u8 {
        let body = [1u8, 0].repeat(60);
        if let Ok(request) = Request::decode(kind, &body) {
            let shortest =
                (0..body.len()).find(|length| Request::decode(kind, &body[..*length]).is_ok()).unwrap();
            for length in 0..shortest {
                assert_eq!(Request::decode(kind, &body[..length]), Err(Errno::EPROTO), "{request:?}");
            }
        }
    }
}

#[test]
fn replies_have_their_size_type_and_tag() {
    let bytes = Reply::new(message::TGETATTR).u8(1).u16(2).string(b"ab").finish(0x1234, 0);
    assert_eq!(bytes, [14, 0, 0, 0, 25, 0x34, 0x12, 1, 2, 0, 2, 0, b'a', b'b']);
    assert_eq!(Reply::error(Errno::ENOENT).finish(1, 0), [11, 0, 0, 0, 7, 1, 0, 2, 0, 0, 0]);
    assert_eq!(
        Reply::data_header(message::TREAD, 256).finish(1, 256)[..],
        [11, 1, 0, 0, 117, 1, 0, 0, 1, 0, 0]
    );
    assert_eq!(Reply::new(0).string(&[0; 70_000]).finish(0, 0).len(), 7 + 2 + 65_535);
}

#[test]
fn entries_fill_their_room_and_no_more() {
    let qid = Qid { kind: 0, version: 1, path: 2 };
    let mut entries = DirectoryEntries::new(2 * 24 + 3);
    assert!(entries.push(qid, 1, 8, b"ab"));
    assert!(!entries.push(qid, 2, 8, b"cd"));
    assert!(entries.push(qid, 2, 8, b"c"));
    assert!(!entries.push(qid, 3, 8, b""));
    assert_eq!(entries.bytes().len(), 51);
}
