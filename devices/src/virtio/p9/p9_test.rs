use super::*;
use crate::p9::{IdMode, ShareConfig};
use crate::virtio::TransportInterrupt;
use crate::virtio::mock::{Driver, DriverQueue, Setup};

fn device(dir: &tempfile::TempDir) -> P9 {
    let mut config = ShareConfig::new(dir.path());
    config.ids = IdMode::Passthrough;
    P9::new("share", Server::new(&config).unwrap()).unwrap()
}

fn frame(kind: u8, tag: u16, fields: &[&[u8]]) -> Vec<u8> {
    let body = fields.concat();
    let size = body.len() as u32 + 7;
    [&size.to_le_bytes()[..], &[kind], &tag.to_le_bytes(), &body].concat()
}

fn version() -> Vec<u8> {
    frame(100, !0, &[&(1u32 << 20).to_le_bytes(), &[8, 0], b"9P2000.L"])
}

fn attach(fid: u32) -> Vec<u8> {
    frame(104, 1, &[&fid.to_le_bytes(), &(!0u32).to_le_bytes(), &[0; 8]])
}

/// Tlcreate of `name`, read and write.
fn create(fid: u32, name: &str) -> Vec<u8> {
    let length = name.len() as u16;
    let fields: [&[u8]; 6] = [
        &fid.to_le_bytes(),
        &length.to_le_bytes(),
        name.as_bytes(),
        &[2, 0, 0, 0],
        &[0xa4, 1, 0, 0],
        &[255; 4],
    ];
    frame(14, 1, &fields)
}

fn read(tag: u16, fid: u32, offset: u64, count: u32) -> Vec<u8> {
    frame(116, tag, &[&fid.to_le_bytes(), &offset.to_le_bytes(), &count.to_le_bytes()])
}

/// The header and fields of a write, whose data follows.
fn write(tag: u16, fid: u32, offset: u64, count: u32) -> Vec<u8> {
    let mut frame = frame(118, tag, &[&fid.to_le_bytes(), &offset.to_le_bytes(), &count.to_le_bytes()]);
    let size = frame.len() as u32 + count;
    frame[..4].copy_from_slice(&size.to_le_bytes());
    frame
}

/// A request with room for its reply; the reply.
fn call(driver: &mut Driver<P9>, request: &[u8]) -> Vec<u8> {
    let used = driver.request(0, &[request], &[4096]).unwrap();
    let reply = used.bytes[..used.written as usize].to_vec();
    assert_eq!(u32::from_le_bytes(reply[..4].try_into().unwrap()), used.written);
    assert_eq!(reply[5..7], request[5..7], "tag");
    reply
}

fn error(reply: &[u8]) -> u32 {
    assert_eq!((reply.len(), reply[4]), (11, 7));
    u32::from_le_bytes(reply[7..].try_into().unwrap())
}

/// A driver that has attached to a share. The mock gives each request an equal part of 8 MiB.
fn mounted(setup: Setup) -> (tempfile::TempDir, Driver<P9>) {
    let dir = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(device(&dir), setup);
    assert_eq!(call(&mut driver, &version())[4], 101);
    assert_eq!(call(&mut driver, &attach(0))[4], 105);
    (dir, driver)
}

#[test]
fn the_tag_is_in_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let device = device(&dir);
    assert_eq!((device.kind().id(), device.features() & 1), (9, 1));
    let mut config = [0xff; 9];
    device.read_config(0, &mut config);
    assert_eq!(&config, b"\x05\0share\0\0");
    device.read_config(2, &mut config[..3]);
    assert_eq!(&config[..3], b"sha");
    device.read_config(u64::MAX, &mut config[..1]);
    assert_eq!(config[0], 0);
}

#[test]
fn tags_that_cannot_be_mounted() {
    let dir = tempfile::tempdir().unwrap();
    let tagged = |tag: &str| P9::new(tag, Server::new(&ShareConfig::new(dir.path())).unwrap()).map(drop);
    for tag in ["", "a b", "a\n", "a,b", "\0", &"x".repeat(256)] {
        assert_eq!(tagged(tag), Err(InvalidTag(tag.to_owned())));
    }
    for tag in ["/Users", "größe", &"x".repeat(255)] {
        assert_eq!(tagged(tag), Ok(()));
    }
}

#[test]
fn data_goes_between_scattered_buffers_and_the_file() {
    for packed in [false, true] {
        let (dir, mut driver) = mounted(Setup { packed, queue_size: 8, ..Setup::default() });
        assert_eq!(call(&mut driver, &create(0, "file"))[4], 15);
        let data: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let header = write(3, 0, 5, 200_000);
        let (first, rest) = data.split_at(1);
        let (middle, last) = rest.split_at(70_001);
        let used = driver.request(0, &[&header[..7], &header[7..], first, middle, last], &[11]).unwrap();
        assert_eq!(used.bytes, [11, 0, 0, 0, 119, 3, 0, 0x40, 0x0d, 0x03, 0]);
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap()[5..], data);
        // The header on its own, as Linux lays large reads out.
        let used = driver.request(0, &[&read(4, 0, 4, 150_000)], &[11, 100_000, 50_000]).unwrap();
        assert_eq!(used.written, 150_011);
        assert_eq!(used.bytes[..11], [0xfb, 0x49, 2, 0, 117, 4, 0, 0xf0, 0x49, 2, 0]);
        assert_eq!((used.bytes[11], &used.bytes[12..150_011]), (0, &data[..149_999]));
    }
}

#[test]
fn many_requests_at_once_are_all_answered() {
    let (dir, mut driver) = mounted(Setup::default());
    std::fs::write(dir.path().join("file"), vec![7; 1 << 20]).unwrap();
    let walk = frame(110, 1, &[&[0; 4], &[1, 0, 0, 0], &[1, 0], &[4, 0], b"file"]);
    assert_eq!(call(&mut driver, &walk)[4], 111);
    assert_eq!(call(&mut driver, &frame(12, 1, &[&[1, 0, 0, 0], &[0; 4]]))[4], 13);
    for round in 0..20u16 {
        let mut tags: Vec<u16> = (0..40).map(|n| round * 100 + n).collect();
        for tag in &tags {
            driver.send(0, &[&read(*tag, 1, u64::from(*tag), 5000)], &[11, 5000]);
        }
        while !tags.is_empty() {
            let used = driver.wait(0).unwrap();
            assert_eq!(used.written, 5011);
            let tag = u16::from_le_bytes([used.bytes[5], used.bytes[6]]);
            assert!(tags.contains(&tag), "{tag} once");
            tags.retain(|t| *t != tag);
        }
    }
}

#[test]
fn a_flush_is_answered_after_what_it_flushes() {
    let (dir, mut driver) = mounted(Setup { queue_size: 8, ..Setup::default() });
    std::fs::write(dir.path().join("file"), vec![7; 1 << 20]).unwrap();
    assert_eq!(call(&mut driver, &create(0, "file"))[4], 15);
    for _ in 0..300 {
        let slow = driver.send(0, &[&read(9, 0, 0, 500_000)], &[11, 500_000]);
        let flush = driver.send(0, &[&frame(108, 10, &[&9u16.to_le_bytes()])], &[64]);
        assert_eq!(driver.wait(0).unwrap().id, slow);
        let used = driver.wait(0).unwrap();
        assert_eq!((used.id, used.bytes[4]), (flush, 109));
    }
}

/// Flushes of tags that come later, and of their own, in every thread at once.
#[test]
fn flushes_do_not_wait_for_each_other() {
    let (_dir, mut driver) = mounted(Setup::default());
    for tag in 0..30u16 {
        driver.send(0, &[&frame(108, tag, &[&((tag + 1) % 30).to_le_bytes()])], &[64]);
    }
    for _ in 0..30 {
        assert_eq!(driver.wait(0).unwrap().bytes[4], 109);
    }
}

#[test]
fn malformed_requests_get_an_error_or_nothing() {
    let (_dir, mut driver) = mounted(Setup::default());
    let mut reply = |readable: &[&[u8]], writable: &[u32]| {
        let used = driver.request(0, readable, writable).unwrap();
        used.bytes[..used.written as usize].to_vec()
    };
    assert_eq!(reply(&[], &[4096]), [], "no header");
    assert_eq!(reply(&[&[7, 0, 0]], &[4096]), []);
    assert_eq!(reply(&[&attach(5)], &[]), [], "no room");
    assert_eq!(reply(&[&attach(6)], &[10]), []);
    assert_eq!(error(&reply(&[&attach(7)], &[11])), 90, "EMSGSIZE: room for an error only");
    assert_eq!(error(&reply(&[&frame(255, 1, &[])], &[4, 7])), 95);
    assert_eq!(error(&reply(&[&[0xff; 20]], &[64])), 71, "longer than it is");
    assert_eq!(error(&reply(&[&read(1, 0, 0, u32::MAX)], &[64])), 9, "not open");
    assert_eq!(error(&reply(&[&[0; 7]], &[64])), 71);
}

#[test]
fn a_broken_ring_asks_for_a_reset() {
    let (_dir, mut driver) = mounted(Setup::default());
    let beyond = DriverQueue::raw(1 << 40, 100, false);
    driver.queues[0].add_raw(&[beyond], 0);
    driver.queues[0].publish();
    driver.device.notify(0);
    assert!(driver.interrupt.clone().wait(|| driver.interrupt.reset_needed()));
    assert!(driver.device.stop_queue(0).is_some());
}

#[test]
fn a_stopped_queue_has_nothing_in_flight_and_goes_on_later() {
    let (dir, mut driver) = mounted(Setup { queue_size: 32, ..Setup::default() });
    std::fs::write(dir.path().join("file"), vec![7; 1 << 20]).unwrap();
    assert_eq!(call(&mut driver, &create(0, "file"))[4], 15);
    for _ in 0..50 {
        for tag in 0..10 {
            driver.send(0, &[&read(tag, 0, 0, 100_000)], &[11, 100_000]);
        }
        let queue = driver.device.stop_queue(0).unwrap();
        let mut answered = 0;
        while driver.queues[0].used().is_some() {
            answered += 1;
        }
        assert!(driver.device.stop_queue(0).is_none(), "given back once");
        driver.device.start_queue(0, queue);
        for _ in answered..10 {
            assert_eq!(driver.wait(0).unwrap().written, 100_011);
        }
    }
}

#[test]
fn a_reset_ends_the_session() {
    let (dir, mut driver) = mounted(Setup::default());
    drop(driver.device.stop_queue(0));
    driver.device.deactivate();
    let device = std::mem::replace(&mut driver.device, device(&dir));
    let mut again = Driver::new(device, Setup::default());
    assert_eq!(error(&call(&mut again, &attach(0))), 71, "no version yet");
    assert_eq!(call(&mut again, &version())[4], 101);
    assert_eq!(call(&mut again, &attach(0))[4], 105);
}

#[test]
fn threads_end_whatever_they_are_about_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Arc::new(Server::new(&ShareConfig::new(folder.path())).unwrap());
    for round in 0..5_000 {
        let pool = Pool::spawn(&server, 2).unwrap();
        let since = std::time::Instant::now();
        while since.elapsed().as_nanos() < round % 100 * 1_000 {}
        drop(pool);
    }
}
