//! A 9P client that says whatever it likes to a share in a temporary directory, with the host's user changing things
//! beside it: no panic, no hang, no memory without bound, and nothing outside the directory is touched.
//!
//! An input is a list of messages. Their types and fields are chosen so that most make sense (a few fids, names that
//! meet, fields in their places), and some are bytes as they come.
#![no_main]

use std::path::Path;

use devices::p9::{ByteReply, IdMode, Limits, Server, ShareConfig};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

/// Messages taken of one input.
const MAX_MESSAGES: usize = 64;

/// Names of entries: some there are from the start, some lead out, some are none.
const NAMES: [&[u8]; 12] =
    [b"a", b"b", b"dir", b"out", b"absolute", b"..", b".", b"", b"a/b", b"../secret", b"\xff\n", b"x\0y"];
const TARGETS: [&[u8]; 5] = [b"../outside", b"/etc/passwd", b"a", b"", b".."];
const XATTRS: [&[u8]; 5] = [b"user.a", b"user.rvmm.stat", b"security.capability", b"", b"x"];
const REQUESTS: [u8; 29] = [
    8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 32, 40, 50, 52, 54, 70, 72, 74, 76, 100, 102, 104, 108, 110, 116,
    118, 120, 122, 255,
];

const SECRET: &[u8] = b"do not touch";

/// The share beside a file that no message may reach.
fn lay_out(dir: &Path) {
    std::fs::create_dir_all(dir.join("share/dir")).unwrap();
    std::fs::create_dir(dir.join("outside")).unwrap();
    std::fs::write(dir.join("outside/a"), SECRET).unwrap();
    std::fs::write(dir.join("secret"), SECRET).unwrap();
    std::fs::write(dir.join("share/a"), "content").unwrap();
    std::os::unix::fs::symlink("../outside", dir.join("share/out")).unwrap();
    std::os::unix::fs::symlink(dir.join("outside"), dir.join("share/absolute")).unwrap();
}

fn check(dir: &Path) {
    let names = |path: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(dir), ["outside", "secret", "share"]);
    assert_eq!(names(&dir.join("outside")), ["a"]);
    for file in ["secret", "outside/a"] {
        assert_eq!(std::fs::read(dir.join(file)).unwrap(), SECRET);
        let metadata = std::fs::metadata(dir.join(file)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&metadata), 1, "nothing was linked into the share");
    }
}

fn string(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend((bytes.len() as u16).to_le_bytes());
    body.extend(bytes);
}

/// The fields of a request: fids are small, names and numbers are of the few that matter.
fn fields(kind: u8, c: &mut Choices<'_>) -> Vec<u8> {
    let body = &mut Vec::new();
    // f: fid, n: name, t: target, x: xattr, 4 and 8: number, o: offset, c: count, m: mode, 1 and 2: bytes
    let format = match kind {
        8 | 22 | 120 | 122 => "f",
        12 => "f4",
        14 => "fn4m4",
        16 => "fnt4",
        18 => "fnm444",
        20 => "ffn",
        24 => "f8",
        26 => "f4m44ooooo",
        30 => "ffx",
        32 => "fxo4",
        40 | 116 => "foc",
        50 => "f4",
        52 => "f14oo4n",
        54 => "f1oo4n",
        70 => "ffn",
        72 => "fnm4",
        74 => "fnfn",
        76 => "fn4",
        100 => "cv",
        104 => "fNnn4",
        108 => "2",
        118 => "focd",
        _ => "",
    };
    for field in format.chars() {
        match field {
            'f' => body.extend(u32::from(c.u8() % 6).to_le_bytes()),
            'N' => body.extend([if c.u8() == 0 { 0 } else { 255 }; 4]),
            'n' => string(body, c.one_of(&NAMES)),
            't' => string(body, c.one_of(&TARGETS)),
            'x' => string(body, c.one_of(&XATTRS)),
            'v' => string(body, b"9P2000.L"),
            'm' => body.extend(c.one_of(&[0o644u32, 0o010_644, 0o020_666, 0o140_600, 0o7777, 0]).to_le_bytes()),
            'o' => body.extend(c.one_of(&[0u64, 1, 5, 4096, i64::MAX as u64, u64::MAX]).to_le_bytes()),
            'c' => body.extend(c.one_of(&[0u32, 7, 300, 4096, 8192, u32::MAX]).to_le_bytes()),
            '1' => body.push(c.u8() % 4),
            '2' => body.extend(c.u16().to_le_bytes()),
            '4' => body.extend((u32::from(c.u16()) | u32::from(c.u8()) << 16).to_le_bytes()),
            '8' => body.extend(c.u64().to_le_bytes()),
            _ => body.extend(vec![c.u8(); usize::from(c.u8())]),
        }
    }
    if kind == 110 {
        let (fid, new_fid, count) = (c.u8() % 6, c.u8() % 6, c.u8() % 4);
        body.extend(u32::from(fid).to_le_bytes());
        body.extend(u32::from(new_fid).to_le_bytes());
        body.extend(u16::from(count).to_le_bytes());
        for _ in 0..count {
            string(body, c.one_of(&NAMES));
        }
    }
    if kind == 118 {
        // The count is that of the data.
        let count = (body.len() - 16) as u32;
        body[12..16].copy_from_slice(&count.to_le_bytes());
    }
    std::mem::take(body)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = body.len() as u32 + 7;
    [&size.to_le_bytes()[..], &[kind], &[1, 0], body].concat()
}

fn send(server: &Server, request: &[u8], capacity: usize) {
    let mut reply = ByteReply::new(capacity);
    let length = server.handle(&mut &*request, &mut reply);
    let reply = reply.into_bytes(length);
    if length > 0 {
        assert_eq!(length, u32::from_le_bytes(reply[..4].try_into().unwrap()) as usize);
        assert!(length <= capacity && reply.len() == length);
        assert!(reply[4] == 7 || reply[4] == request[4].wrapping_add(1));
        assert_eq!(reply[5..7], request[5..7]);
    }
}

/// What the host's user does meanwhile.
fn interfere(choice: u8, share: &Path) {
    // The guest may have put a symlink or a FIFO in its place.
    let is_plain = share.join("a").symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    let _ = match choice % 6 {
        0 => std::fs::rename(share.join("dir"), share.join("b")),
        1 => std::os::unix::fs::symlink("../outside", share.join("dir")),
        2 => std::fs::remove_file(share.join("dir")),
        3 => std::fs::rename(share.join("out"), share.join("dir")),
        4 if is_plain => std::fs::write(share.join("a"), "new"),
        4 => Ok(()),
        // Not through the symlink that may have taken its place.
        _ if share.join("dir").is_symlink() => Ok(()),
        _ => std::fs::create_dir_all(share.join("dir/b")),
    };
}

fuzz_target!(|input: &[u8]| {
    let mut c = Choices::new(input);
    // Memory is a hundred times faster than a disk here.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    lay_out(dir.path());
    let mut config = ShareConfig::new(dir.path().join("share"));
    let mode = c.u8();
    config.ids = match mode % 3 {
        0 => IdMode::Passthrough,
        1 => IdMode::Squash { uid: 1, gid: 2 },
        _ => IdMode::Mapped,
    };
    config.read_only = mode % 16 == 15;
    config.limits = Limits { fids: 5, nodes: 16, open_files: 3, cached_directories: 2, memory: 70_000 };
    // A file system in memory may keep no attributes.
    let Ok(server) = Server::new(&config) else { return };
    send(&server, &message(100, &[0, 32, 0, 0, 8, 0, b'9', b'P', b'2', b'0', b'0', b'0', b'.', b'L']), 64);
    send(&server, &message(104, &[0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]), 64);
    for _ in 0..MAX_MESSAGES {
        if c.is_empty() {
            break;
        }
        match c.u8() {
            255 => interfere(c.u8(), &dir.path().join("share")),
            254 => {
                // Bytes as they come.
                let length = usize::from(c.u8()).max(7);
                let frame: Vec<u8> = (0..length).map(|_| c.u8()).collect();
                send(&server, &frame, usize::from(c.u16()));
            }
            253 => {
                // A message cut short or with more behind it.
                let kind = c.one_of(&REQUESTS);
                let mut body = fields(kind, &mut c);
                body.resize(usize::from(c.u8()), 0);
                send(&server, &message(kind, &body), 8192);
            }
            choice => {
                let kind = REQUESTS[usize::from(choice) % REQUESTS.len()];
                let body = fields(kind, &mut c);
                send(&server, &message(kind, &body), 8192);
            }
        }
    }
    drop(server);
    check(dir.path());
});
