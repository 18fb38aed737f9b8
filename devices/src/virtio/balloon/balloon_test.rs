use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::*;
use crate::virtio::mock::{Driver, DriverQueue, Setup};

/// Memory of the mock guest that no queue is in.
const FREE: u64 = 40 << 20;
const FREE_BYTES: usize = 24 << 20;

fn driver(setup: Setup) -> (Driver<Balloon>, BalloonHandle) {
    let balloon = Balloon::new();
    let handle = balloon.handle();
    let driver = Driver::new(balloon, setup);
    driver.memory.write_slice(&vec![7; FREE_BYTES], GuestAddress(FREE)).unwrap();
    (driver, handle)
}

/// Bytes of the free memory that take up memory of the host; `None` where the host does not say.
fn resident(driver: &Driver<Balloon>) -> Option<usize> {
    let page = guest_memory::host_page_bytes();
    let start = driver.memory.get_host_address(GuestAddress(FREE)).unwrap().addr() / page;
    let mut map = File::open("/proc/self/pagemap").ok()?;
    map.seek(SeekFrom::Start(8 * start as u64)).ok()?;
    let mut entries = vec![0; 8 * (FREE_BYTES / page)];
    map.read_exact(&mut entries).ok()?;
    // Bit 63 of an entry: the page is present.
    let present = entries.chunks_exact(8).filter(|entry| entry[7] & 0x80 != 0).count();
    Some(present * page)
}

fn byte(driver: &Driver<Balloon>, at: u64) -> u8 {
    driver.memory.read_obj(GuestAddress(at)).unwrap()
}

fn report(driver: &mut Driver<Balloon>, index: u16, ranges: &[(u64, u32)]) {
    let buffers: Vec<_> = ranges.iter().map(|(gpa, len)| DriverQueue::raw(*gpa, *len, true)).collect();
    let before = driver.interrupt.count(index);
    let queue = &mut driver.queues[usize::from(index)];
    // Taking an answer asks for the next interrupt, and reads the pages: before they are looked at, not after.
    while queue.used().is_some() {}
    queue.add_raw(&buffers, 0);
    queue.publish();
    driver.device.notify(index);
    assert!(driver.interrupt.wait(|| driver.interrupt.count(index) > before));
}

fn give(driver: &mut Driver<Balloon>, queue: u16, numbers: &[u32]) {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(driver.request(queue, &[&bytes], &[]).unwrap().written, 0);
}

#[test]
fn reported_pages_leave_the_host() {
    for packed in [false, true] {
        let (mut driver, handle) = driver(Setup { packed, ..Setup::default() });
        let before = resident(&driver);
        assert!(before.is_none_or(|bytes| bytes == FREE_BYTES));
        let ranges: Vec<_> = (0..5).map(|n| (FREE + (n << 22), 4 << 20)).collect();
        report(&mut driver, queue::REPORTING_DENSE, &ranges);
        assert_eq!(handle.released(), 20 << 20);
        assert!(resident(&driver).is_none_or(|bytes| bytes == 4 << 20));
        assert_eq!(byte(&driver, FREE + (20 << 20)), 7, "what was not reported stays");
        driver.memory.write_obj(9_u8, GuestAddress(FREE)).unwrap();
        assert_eq!(byte(&driver, FREE), 9, "and what was can be used again");
    }
}

#[test]
fn reports_come_on_whichever_queue_the_driver_counts_to() {
    for (features, queues) in [
        (u64::MAX, vec![queue::REPORTING_DENSE, queue::REPORTING]),
        (!feature::STATS_VQ, vec![queue::STATS, queue::REPORTING_DENSE, queue::REPORTING]),
        (!feature::REPORTING, vec![]),
    ] {
        let (mut driver, handle) = driver(Setup { features, ..Setup::default() });
        for index in [queue::STATS, queue::REPORTING_DENSE, queue::REPORTING] {
            let before = handle.released();
            if index == queue::STATS && features & feature::STATS_VQ != 0 {
                continue;
            }
            report(&mut driver, index, &[(FREE, 1 << 20)]);
            assert_eq!(handle.released() > before, queues.contains(&index), "{features:#x} {index}");
        }
    }
}

#[test]
fn pages_with_a_pattern_stay() {
    let (mut driver, handle) = driver(Setup::default());
    driver.device.write_config(config::POISON_VAL as u64, &[0xaa; 4]);
    report(&mut driver, queue::REPORTING, &[(FREE, 1 << 20)]);
    assert_eq!((handle.released(), byte(&driver, FREE)), (0, 7));
    driver.device.write_config(config::POISON_VAL as u64, &[0; 4]);
    report(&mut driver, queue::REPORTING, &[(FREE, 1 << 20)]);
    assert_eq!(handle.released(), 1 << 20);
}

#[test]
fn only_whole_host_pages_of_a_report_go() {
    let (mut driver, handle) = driver(Setup::default());
    let page = guest_memory::host_page_bytes() as u64;
    report(&mut driver, queue::REPORTING, &[(FREE + 1, 2 * page as u32), (FREE + 8 * page, page as u32 - 1)]);
    assert_eq!(handle.released(), page);
    for (at, kept) in [(0, true), (2 * page, true), (8 * page, true)] {
        assert_eq!(byte(&driver, FREE + at) == 7, kept, "{at:#x}");
    }
}

#[test]
fn the_balloon_fills_and_empties() {
    let (mut driver, handle) = driver(Setup::default());
    let first = (FREE >> PAGE_SHIFT) as u32;
    let pages: Vec<u32> = (first..first + 256).rev().collect();
    give(&mut driver, queue::INFLATE, &pages);
    assert_eq!(handle.released(), 256 << PAGE_SHIFT);
    assert!(resident(&driver).is_none_or(|bytes| bytes == FREE_BYTES - (256 << PAGE_SHIFT)));
    assert_eq!(byte(&driver, FREE + (256 << PAGE_SHIFT)), 7);
    give(&mut driver, queue::DEFLATE, &pages);
    driver.memory.write_obj(9_u8, GuestAddress(FREE)).unwrap();
    assert_eq!(byte(&driver, FREE), 9);
}

#[test]
fn pages_that_are_none_are_left_out() {
    let (mut driver, handle) = driver(Setup::default());
    let end = (64_u32 << 20) >> PAGE_SHIFT;
    give(&mut driver, queue::INFLATE, &[end, u32::MAX, u32::MAX - 1, end + 7]);
    give(&mut driver, queue::DEFLATE, &[end, u32::MAX, 3]);
    assert_eq!(handle.released(), 0);
    driver.request(queue::INFLATE, &[b"odd"], &[]).unwrap();
    driver.request(queue::INFLATE, &[], &[16]).unwrap();
    assert_eq!(handle.released(), 0);
    assert!(!crate::virtio::TransportInterrupt::reset_needed(&*driver.interrupt));
}

#[test]
fn an_absurd_report_is_bounded_work() {
    let (mut driver, handle) = driver(Setup::default());
    let ranges = vec![(FREE, FREE_BYTES as u32); 32];
    let started = std::time::Instant::now();
    report(&mut driver, queue::REPORTING, &ranges);
    assert_eq!(handle.released(), 2 * FREE_BYTES as u64, "as much as there is memory");
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn the_target_is_told_and_the_size_read_back() {
    let (mut driver, handle) = driver(Setup::default());
    assert_eq!((handle.target(), handle.size()), (0, 0));
    handle.set_target((100 << 20) + 5);
    assert_eq!(driver.interrupt.config_changes(), 1);
    let mut words = [0; 16];
    driver.device.read_config(0, &mut words);
    assert_eq!(words[..8], [0, 100, 0, 0, 0, 0, 0, 0], "25,600 pages");
    driver.device.write_config(4, &12_800_u32.to_le_bytes());
    assert_eq!((handle.target(), handle.size()), (100 << 20, 50 << 20));
    // What is the host's is not the driver's to write; odd accesses do no harm.
    driver.device.write_config(0, &[0xff; 4]);
    driver.device.write_config(6, &[1, 2, 3, 4]);
    driver.device.write_config(u64::MAX, &[1; 8]);
    driver.device.write_config(15, &[1; 8]);
    assert_eq!(handle.target(), 100 << 20);
    handle.set_target(u64::MAX);
    assert_eq!(handle.target(), u64::from(u32::MAX) << 12);

    (0..5).for_each(|index| drop(driver.device.stop_queue(index)));
    driver.device.deactivate();
    handle.set_target(1 << 20);
    assert_eq!(driver.interrupt.config_changes(), 2, "nobody to tell");
    assert_eq!((handle.target(), handle.size()), (1 << 20, 0), "the next driver starts anew");
    handle.refresh_stats();
    let balloon = std::mem::take(&mut driver.device);
    driver = Driver::new(balloon, Setup::default());
    give(&mut driver, queue::INFLATE, &[1]);
}

fn stat_bytes(stats: &[(u16, u64)]) -> Vec<u8> {
    stats.iter().flat_map(|(tag, value)| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat()).collect()
}

#[test]
fn statistics_come_when_asked_for() {
    let (mut driver, handle) = driver(Setup::default());
    assert_eq!(handle.stats(), None);
    driver.send(queue::STATS, &[&stat_bytes(&[(4, 1000), (5, 2000), (999, 1)])], &[]);
    assert!(driver.interrupt.wait(|| handle.stats().is_some()));
    let expected = BalloonStats { free: Some(1000), total: Some(2000), ..BalloonStats::default() };
    assert_eq!(handle.stats(), Some(expected));
    assert!(driver.queues[2].used().is_none(), "the buffer waits for the next question");
    handle.refresh_stats();
    driver.wait(queue::STATS).unwrap();
    driver.send(queue::STATS, &[&stat_bytes(&[(0, 1), (1, 2), (2, 3), (3, 4), (6, 5), (7, 6)])], &[]);
    assert!(driver.interrupt.wait(|| handle.stats().is_some_and(|stats| stats.caches == Some(6))));
    // Across a pause the buffer stays with the device.
    let stopped = driver.device.stop_queue(queue::STATS).unwrap();
    driver.device.start_queue(queue::STATS, stopped);
    handle.refresh_stats();
    driver.wait(queue::STATS).unwrap();
    // Two buffers: the first goes back by itself. One that is cut short says what it says.
    driver.send(queue::STATS, &[&stat_bytes(&[(4, 1)])], &[]);
    driver.send(queue::STATS, &[&stat_bytes(&[(4, 2)]), &[5, 0, 1]], &[]);
    driver.wait(queue::STATS).unwrap();
    assert!(driver.interrupt.wait(|| handle.stats().is_some_and(|stats| stats.free == Some(2))));
}

proptest! {
    /// With any page size of the host: what is released is in the balloon whole, and everything that is whole is released.
    #[test]
    fn host_pages_go_when_they_are_whole(
        requests in prop::collection::vec(prop::collection::vec(0_u32..64, 1..24), 1..12),
        shift in 12_u32..15,
    ) {
        let memory = guest_memory::GuestMemory::from_ranges(&[(GuestAddress(0), 48 << 12)]).unwrap();
        let (mut pages, mut released) = (Pages::default(), std::collections::BTreeSet::new());
        let span = 1_u64 << shift;
        for mut request in requests {
            let ranges = pages.insert(&mut request, &memory, span);
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].0 + (pair[0].1 as u64) < pair[1].0, "in order, joined");
            }
            for (start, len) in ranges {
                prop_assert_eq!((start % span, len as u64 % span), (0, 0));
                released.extend((start..start + len as u64).step_by(span as usize));
            }
        }
        let contained = |at: u64| (at..at + span).step_by(4096).all(|at| pages.contains(at));
        for at in (0..64 << 12).step_by(span as usize) {
            prop_assert_eq!(released.contains(&at), contained(at), "{:#x}", at);
        }
        let count = pages.count();
        (0..64).for_each(|number| pages.remove(number));
        prop_assert!(count <= 48 && pages.count() == 0);
    }
}
