use super::*;

fn backend_error(backend: &SerialBackend) -> String {
    crate::error_chain(&Place::open("serial", backend).map(drop).unwrap_err())
}

#[test]
fn files_that_cannot_be_opened_are_named() {
    let text = backend_error(&SerialBackend::File("/nowhere/at/all".into()));
    assert!(text.starts_with("serial file=/nowhere/at/all: ") && !text.contains('\n'), "{text}");
    let text = backend_error(&SerialBackend::Socket("/nowhere/at/all".into()));
    assert!(text.starts_with("serial socket=/nowhere/at/all: "), "{text}");
}

#[test]
fn a_socket_serves_one_client_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    let poll = mio::Poll::new().unwrap();
    let mut place = Place::open("serial", &SerialBackend::Socket(path.clone())).unwrap();
    place.register(poll.registry()).unwrap();
    assert_eq!(place.write(b"lost"), Sent::Nobody);

    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    place.accept(poll.registry());
    assert_eq!(place.write(b"hello"), Sent::Bytes(5));
    let mut buffer = [0; 5];
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
    client.write_all(b"typed").unwrap();
    let mut typed = [0; 16];
    assert_eq!(place.read(&mut typed), Received::Bytes(5));
    assert_eq!(place.read(&mut typed), Received::Nothing);

    let mut second = std::os::unix::net::UnixStream::connect(&path).unwrap();
    place.accept(poll.registry());
    assert_eq!(second.read(&mut buffer).unwrap(), 0, "closed at once");

    drop(client);
    assert_eq!(place.read(&mut typed), Received::Nothing);
    assert_eq!(place.write(b"lost"), Sent::Nobody);
    drop(place);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let place = Place::open("serial", &SerialBackend::Socket(path.clone())).unwrap();
    assert!(Place::open("serial", &SerialBackend::Socket(path.clone())).is_err());
    drop(place);
    std::fs::write(&path, "a file").unwrap();
    assert!(Place::open("serial", &SerialBackend::Socket(path.clone())).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
}

#[test]
fn a_pty_carries_bytes_unchanged_both_ways() {
    let mut place = Place::open("serial", &SerialBackend::Pty).unwrap();
    let Place::Pty { path, .. } = &place else { panic!("no pty") };
    let path = path.clone();
    let mut other = OpenOptions::new().read(true).write(true).open(path).unwrap();
    assert_eq!(place.write(b"a\r\n\x03"), Sent::Bytes(4));
    let mut buffer = [0; 4];
    other.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"a\r\n\x03");
    other.write_all(b"\x03\r").unwrap();
    let mut typed = [0; 16];
    assert_eq!(place.read(&mut typed), Received::Bytes(2));
    assert_eq!(&typed[..2], b"\x03\r");
    assert_eq!(place.read(&mut typed), Received::Nothing, "no echo");
}

#[test]
fn a_pty_without_a_reader_loses_output_and_does_not_stall() {
    let mut place = Place::open("serial", &SerialBackend::Pty).unwrap();
    let chunk = [b'x'; 4096];
    assert!((0..1000).any(|_| place.write(&chunk) == Sent::Nobody));
}

#[test]
fn a_file_is_truncated_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, "older and longer").unwrap();
    let mut place = Place::open("serial", &SerialBackend::File(path.clone())).unwrap();
    assert_eq!(place.write(b"new"), Sent::Bytes(3));
    assert_eq!(place.read(&mut [0; 1]), Received::End);
    drop(place);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
}
