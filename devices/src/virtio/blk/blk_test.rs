use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};

use super::spec::{request, status};
use super::*;
use crate::disk::testing::{Control, disk};
use crate::disk::{DiskConfig, DiskImage};
use crate::virtio::TransportInterrupt;
use crate::virtio::mock::{Driver, DriverQueue, Setup};

const BYTES: usize = 1 << 20;

fn setup() -> Setup {
    Setup::default()
}

fn driver(setup: Setup) -> (Driver<Block>, Arc<Control>) {
    let (image, control) = disk(BYTES, false);
    (Driver::new(Block::new(image, 1), setup), control)
}

fn header(kind: u32, sector: u64) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat()
}

fn segment(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
}

/// The status and the data before it.
fn answer(driver: &mut Driver<Block>, readable: &[&[u8]], writable: &[u32]) -> (u8, Vec<u8>) {
    let used = driver.request(0, readable, writable).expect("an answer within ten seconds");
    assert_eq!(used.written as usize, used.bytes.len());
    let (status, data) = used.bytes.split_last().unwrap();
    (*status, data.to_vec())
}

fn status_of(driver: &mut Driver<Block>, readable: &[&[u8]], writable: &[u32]) -> u8 {
    answer(driver, readable, writable).0
}

fn field<const N: usize>(block: &Block, offset: usize) -> [u8; N] {
    let mut bytes = [0xee; N];
    block.read_config(offset as u64, &mut bytes);
    bytes
}

#[test]
fn the_configuration_tells_the_disk() {
    let block = Block::new(disk(BYTES, false).0, 4);

    assert_eq!(u64::from_le_bytes(field(&block, config::CAPACITY)), BYTES as u64 / 512);
    assert_eq!(u32::from_le_bytes(field(&block, config::SIZE_MAX)), 1 << 20);
    assert_eq!(u32::from_le_bytes(field(&block, config::SEG_MAX)), 254);
    assert_eq!(u32::from_le_bytes(field(&block, config::BLK_SIZE)), 512);
    assert_eq!(field(&block, config::PHYSICAL_BLOCK_EXP), [3]);
    assert_eq!(u16::from_le_bytes(field(&block, config::MIN_IO_SIZE)), 8);
    assert_eq!(field(&block, config::WRITEBACK), [1]);
    assert_eq!(u16::from_le_bytes(field(&block, config::NUM_QUEUES)), 4);
    assert_eq!(u32::from_le_bytes(field(&block, config::DISCARD_SECTOR_ALIGNMENT)), 8);
    assert_eq!(field(&block, config::WRITE_ZEROES_MAY_UNMAP), [1]);
    assert_eq!(field(&block, config::BYTES), [0; 8]);
    assert_eq!((block.kind(), block.queue_sizes()), (DeviceKind::Block, &[256; 4][..]));
}

#[test]
fn features_are_those_the_image_has() {
    let offered = |read_only, queues| Block::new(disk(BYTES, read_only).0, queues).features();
    let writing = feature::DISCARD | feature::WRITE_ZEROES | feature::CONFIG_WCE;

    assert_eq!(offered(false, 1) & (feature::RO | feature::MQ | writing), writing);
    assert_eq!(offered(true, 2) & (feature::RO | feature::MQ | writing), feature::RO | feature::MQ);
    assert_eq!(offered(false, 0) & feature::MQ, 0);
    assert_eq!(Block::new(disk(BYTES, false).0, 999).queue_sizes().len(), 16);
    let read_only = Block::new(disk(BYTES, true).0, 1);
    assert_eq!(field(&read_only, config::MAX_DISCARD_SECTORS), [0; 4]);
}

#[test]
fn what_is_written_is_read_with_every_kind_of_ring() {
    for (packed, event_idx, indirect) in
        [(false, true, false), (false, false, true), (true, true, false), (true, false, true)]
    {
        let (mut driver, _) = driver(Setup { packed, event_idx, ..setup() });
        driver.queues[0].indirect = indirect;
        let data: Vec<u8> = (0..8192).map(|at| (at / 512) as u8 + 1).collect();

        let written = status_of(&mut driver, &[&header(request::OUT, 3), &data[..512], &data[512..]], &[1]);
        let (read, back) = answer(&mut driver, &[&header(request::IN, 3)], &[512, 7680, 1]);

        assert_eq!((written, read), (status::OK, status::OK));
        assert!(back == data);
    }
}

/// Drivers may lay a request out as they like (section 2.7.4.1).
#[test]
fn the_layout_of_descriptors_does_not_matter() {
    let (mut driver, _) = driver(setup());
    let (out, data) = (header(request::OUT, 0), [7; 512]);
    let message = [&out[..], &data].concat();

    assert_eq!(status_of(&mut driver, &[&message], &[1]), status::OK);
    assert_eq!(status_of(&mut driver, &[&message[..3], &message[3..100], &message[100..]], &[1]), status::OK);
    let get = header(request::IN, 0);
    assert_eq!(answer(&mut driver, &[&get], &[513]), (status::OK, vec![7; 512]));
    assert_eq!(answer(&mut driver, &[&get[..1], &get[1..]], &[1, 100, 411, 1]), (status::OK, vec![7; 512]));
}

#[test]
fn every_request_gets_its_status_however_wrong_it_is() {
    use status::{IO_ERROR, OK, UNSUPPORTED};
    let (mut driver, control) = driver(setup());
    let end = BYTES as u64 / 512;
    let sector = [1; 512];
    let zeroes = |segments: &[Vec<u8>]| [header(request::WRITE_ZEROES, 0), segments.concat()].concat();
    let discard = |segments: &[Vec<u8>]| [header(request::DISCARD, 0), segments.concat()].concat();
    for (what, readable, writable, expected) in [
        ("no header", vec![], 1, IO_ERROR),
        ("half a header", header(request::IN, 0)[..15].to_vec(), 513, IO_ERROR),
        ("no data to read", header(request::IN, 0), 1, OK),
        ("the last sector", header(request::IN, end - 1), 513, OK),
        ("beyond the end", header(request::IN, end), 513, IO_ERROR),
        ("across the end", header(request::IN, end - 1), 1025, IO_ERROR),
        ("half a sector", header(request::IN, 0), 257, IO_ERROR),
        ("a sector that overflows", header(request::IN, 1 << 55), 513, IO_ERROR),
        ("the last sector of all", header(request::IN, u64::MAX), 513, IO_ERROR),
        ("a write beyond the end", [&header(request::OUT, end)[..], &sector].concat(), 1, IO_ERROR),
        ("a write of half a sector", [&header(request::OUT, 0)[..], &sector[..256]].concat(), 1, IO_ERROR),
        ("a write of nothing", header(request::OUT, 0), 1, OK),
        ("a flush", header(request::FLUSH, 0), 1, OK),
        ("a flush with data", [&header(request::FLUSH, 9)[..], &sector].concat(), 100, OK),
        ("an unknown type", header(2, 0), 1, UNSUPPORTED),
        ("no type at all", header(u32::MAX, 0), 513, UNSUPPORTED),
        ("a secure erase", [header(14, 0), segment(0, 8, 0)].concat(), 1, UNSUPPORTED),
        ("a discard", discard(&[segment(8, 8, 0), segment(end - 1, 1, 0)]), 1, OK),
        ("a discard of nothing", discard(&[segment(8, 0, 0)]), 1, OK),
        ("a discard without segments", discard(&[]), 1, IO_ERROR),
        ("a discard of half a segment", discard(&[segment(8, 8, 0)[..8].to_vec()]), 1, IO_ERROR),
        ("a discard that unmaps", discard(&[segment(8, 8, 1)]), 1, UNSUPPORTED),
        ("a discard beyond the end", discard(&[segment(end, 1, 0)]), 1, IO_ERROR),
        ("a discard that overflows", discard(&[segment(u64::MAX, 1, 0)]), 1, IO_ERROR),
        ("a discard that is too long", discard(&[segment(0, u32::MAX, 0)]), 1, IO_ERROR),
        ("too many discards", discard(&vec![segment(0, 1, 0); 33]), 1, IO_ERROR),
        ("the most discards", discard(&vec![segment(0, 1, 0); 32]), 1, OK),
        ("zeros", zeroes(&[segment(0, 8, 0)]), 1, OK),
        ("zeros that unmap", zeroes(&[segment(0, 8, 1)]), 1, OK),
        ("zeros with a flag", zeroes(&[segment(0, 8, 2)]), 1, UNSUPPORTED),
        ("zeros twice", zeroes(&[segment(0, 8, 0), segment(0, 8, 0)]), 1, IO_ERROR),
        ("zeros across the end", zeroes(&[segment(end - 1, 2, 0)]), 1, IO_ERROR),
        ("too many zeros", zeroes(&[segment(0, (128 << 10) + 1, 0)]), 1, IO_ERROR),
        ("an ID", header(request::GET_ID, 0), 21, OK),
        ("an ID without room", header(request::GET_ID, 0), 1, OK),
    ] {
        let readable: &[&[u8]] = if readable.is_empty() { &[] } else { &[&readable] };
        assert_eq!(status_of(&mut driver, readable, &[writable]), expected, "{what}");
    }
    control.look(|seen| {
        assert_eq!(seen.discards[..2], [4096..8192, BYTES as u64 - 512..BYTES as u64]);
        assert_eq!(seen.zeros, [(0..4096, false), (0..4096, true)]);
        assert_eq!(seen.flushes, 2);
    });
}

#[test]
fn a_request_without_a_place_for_its_status_comes_back() {
    let (mut driver, _) = driver(setup());

    let used = driver.request(0, &[&header(request::FLUSH, 0)], &[]).unwrap();

    assert_eq!((used.written, used.bytes.len()), (0, 0));
    assert_eq!(status_of(&mut driver, &[&header(request::FLUSH, 0)], &[1]), status::OK);
}

#[test]
fn more_data_than_a_request_may_have_is_refused() {
    // 8 buffers of 32 MiB at one place, in a disk that large.
    let (image, _) = disk(512 << 20, false);
    let mut driver = Driver::new(Block::new(image, 1), setup());
    let ask = |driver: &mut Driver<Block>, buffers: usize| {
        let raw = DriverQueue::raw;
        let place = 40 << 20;
        driver.memory.write_slice(&header(request::OUT, 0), GuestAddress(place)).unwrap();
        let mut list = vec![raw(place, 16, false)];
        list.extend((0..buffers).map(|_| raw(8 << 20, 32 << 20, false)));
        list.push(raw(place + 64, 1, true));
        driver.queues[0].add_raw(&list, place + 128);
        if driver.queues[0].publish() {
            driver.device.notify(0);
        }
        driver.wait(0).unwrap().bytes
    };

    assert_eq!(ask(&mut driver, 8), [status::IO_ERROR]);
    assert_eq!(ask(&mut driver, 2), [status::OK]);
}

#[test]
fn a_read_only_disk_cannot_be_changed() {
    let (image, control) = disk(BYTES, true);
    let mut driver = Driver::new(Block::new(image, 1), setup());
    let write = [&header(request::OUT, 0)[..], &[1; 512]].concat();
    let erase = |kind| [header(kind, 0), segment(0, 8, 0)].concat();

    assert_eq!(status_of(&mut driver, &[&write], &[1]), status::IO_ERROR);
    assert_eq!(status_of(&mut driver, &[&erase(request::DISCARD)], &[1]), status::UNSUPPORTED);
    assert_eq!(status_of(&mut driver, &[&erase(request::WRITE_ZEROES)], &[1]), status::UNSUPPORTED);
    assert_eq!(status_of(&mut driver, &[&header(request::FLUSH, 0)], &[1]), status::OK);
    assert_eq!(answer(&mut driver, &[&header(request::IN, 0)], &[512, 1]), (status::OK, vec![0; 512]));
    assert_eq!(control.look(|seen| seen.flushes), 0);
}

#[test]
fn what_was_not_agreed_on_is_unsupported() {
    let (mut driver, _) = driver(Setup { features: feature::FLUSH, ..setup() });
    for kind in [request::DISCARD, request::WRITE_ZEROES] {
        let erase = [header(kind, 0), segment(0, 8, 0)].concat();
        assert_eq!(status_of(&mut driver, &[&erase], &[1]), status::UNSUPPORTED);
    }
}

#[test]
fn the_serial_number_is_told_and_padded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let config = DiskConfig {
        serial: Some("disk 1".to_owned()),
        size: Some("1M".parse().unwrap()),
        ..DiskConfig::new(path)
    };
    let mut driver = Driver::new(Block::new(DiskImage::open(&config).unwrap(), 1), setup());
    let ask = header(request::GET_ID, 0);

    assert_eq!(
        answer(&mut driver, &[&ask], &[20, 1]),
        (status::OK, b"disk 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec())
    );
    assert_eq!(answer(&mut driver, &[&ask], &[3, 1]), (status::OK, b"dis".to_vec()));
    assert_eq!(answer(&mut driver, &[&ask], &[22, 1]).1[20..], [0, 0]);
}

#[test]
fn writes_are_flushed_unless_the_driver_does_it() {
    let write = [&header(request::OUT, 0)[..], &[1; 512]].concat();
    let zero = [header(request::WRITE_ZEROES, 0), segment(0, 8, 0)].concat();
    for (features, flushes) in [(u64::MAX, 0), (!feature::FLUSH, 2), (0, 1)] {
        let (mut driver, control) = driver(Setup { features, ..setup() });
        status_of(&mut driver, &[&write], &[1]);
        status_of(&mut driver, &[&zero], &[1]);
        assert_eq!(control.look(|seen| seen.flushes), flushes, "{features:#x}");
    }
}

#[test]
fn the_driver_can_turn_the_cache_off_and_on() {
    let write = [&header(request::OUT, 0)[..], &[1; 512]].concat();
    let (mut driver, control) = driver(setup());
    let flushes = |driver: &mut Driver<Block>| {
        let before = control.look(|seen| seen.flushes);
        assert_eq!(status_of(driver, &[&write], &[1]), status::OK);
        control.look(|seen| seen.flushes) - before
    };

    assert_eq!(flushes(&mut driver), 0);
    driver.device.write_config(config::WRITEBACK as u64, &[0]);
    assert_eq!((flushes(&mut driver), field(&driver.device, config::WRITEBACK)), (1, [0]));
    driver.device.write_config(config::OPT_IO_SIZE as u64, &[9, 9, 9, 9, 1]);
    assert_eq!((flushes(&mut driver), field(&driver.device, config::WRITEBACK)), (0, [1]));
    driver.device.write_config(config::CAPACITY as u64, &[9; 8]);
    driver.device.write_config(u64::MAX, &[9; 8]);
    driver.device.write_config(config::WRITEBACK as u64 + 1, &[0; 20]);
    assert_eq!(u64::from_le_bytes(field(&driver.device, config::CAPACITY)), BYTES as u64 / 512);
    assert_eq!(flushes(&mut driver), 0);

    let (mut driver, _) = blk_test::driver(Setup { features: feature::FLUSH, ..setup() });
    driver.device.write_config(config::WRITEBACK as u64, &[0]);
    assert_eq!(field(&driver.device, config::WRITEBACK), [1], "not agreed on");
}

#[test]
fn the_hosts_errors_reach_the_driver() {
    let (mut driver, control) = driver(setup());
    control.look(|seen| seen.error = Some(libc::ENOSPC));
    let write = [&header(request::OUT, 0)[..], &[1; 512]].concat();

    assert_eq!(status_of(&mut driver, &[&write], &[1]), status::IO_ERROR);
    assert_eq!(status_of(&mut driver, &[&header(request::FLUSH, 0)], &[1]), status::IO_ERROR);
    assert_eq!(status_of(&mut driver, &[&header(request::IN, 0)], &[513]), status::IO_ERROR);
    control.look(|seen| seen.error = None);
    assert_eq!(status_of(&mut driver, &[&write], &[1]), status::OK);
}

#[test]
fn a_broken_ring_asks_for_a_reset_and_stops() {
    let (mut driver, _) = driver(setup());
    let raw = DriverQueue::raw;
    driver.queues[0].add_raw(&[raw(u64::MAX - 100, 16, false), raw(0, 1, true)], 0);
    driver.queues[0].publish();
    driver.device.notify(0);

    let interrupt = driver.interrupt.clone();
    assert!(interrupt.wait(|| interrupt.reset_needed()));
    assert!(driver.device.stop_queue(0).is_some());
    assert!(driver.device.stop_queue(0).is_none());
}
