use std::sync::Arc;
use std::time::Duration;

use crate::disk::testing::{Control, disk};
use crate::virtio::VirtioDevice;
use crate::virtio::blk::Block;
use crate::virtio::blk::spec::request;
use crate::virtio::mock::{Driver, Setup};

const BYTES: usize = 1 << 20;

fn driver(queues: u16, setup: Setup) -> (Driver<Block>, Arc<Control>) {
    let (image, control) = disk(BYTES, false);
    (Driver::new(Block::new(image, queues), setup), control)
}

fn header(kind: u32, sector: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[8..].copy_from_slice(&sector.to_le_bytes());
    bytes
}

/// Answers of queue `index` until `count` are there.
fn collect(driver: &mut Driver<Block>, index: u16, count: usize) {
    for number in 0..count {
        let used = driver.wait(index).unwrap_or_else(|| panic!("only {number} of {count} answers"));
        assert_eq!(used.bytes.last(), Some(&0));
    }
}

#[test]
fn a_flush_does_not_hold_up_others() {
    let (mut driver, control) = driver(1, Setup::default());
    control.look(|seen| seen.held = true);
    for _ in 0..4 {
        driver.send(0, &[&header(request::FLUSH, 0)], &[1]);
    }

    assert!(control.wait(|seen| seen.inside == 4), "{:?}", control.look(|seen| seen.inside));

    control.look(|seen| seen.held = false);
    collect(&mut driver, 0, 4);
}

#[test]
fn slow_requests_run_side_by_side_and_within_bounds() {
    let (mut driver, control) = driver(2, Setup::default());
    // Two that take long teach it; one may have been the host's.
    for _ in 0..2 {
        control.look(|seen| seen.held = true);
        driver.send(0, &[&header(request::IN, 0)], &[512, 1]);
        assert!(control.wait(|seen| seen.inside == 1));
        std::thread::sleep(Duration::from_millis(20));
        control.look(|seen| seen.held = false);
        collect(&mut driver, 0, 1);
    }

    control.look(|seen| seen.held = true);
    for number in 0..20 {
        driver.send(number % 2, &[&header(request::IN, 0)], &[512, 1]);
    }
    assert!(control.wait(|seen| seen.inside == 8), "{:?}", control.look(|seen| seen.inside));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(control.look(|seen| seen.most_inside), 8);

    control.look(|seen| seen.held = false);
    collect(&mut driver, 0, 10);
    collect(&mut driver, 1, 10);
}

/// Stopping waits for what is with the host, and leaves the rest in the ring for whoever starts the queue again.
#[test]
fn a_stopped_queue_has_nothing_in_flight_and_loses_nothing() {
    for packed in [false, true] {
        let (mut driver, control) = driver(1, Setup { packed, ..Setup::default() });
        control.look(|seen| seen.held = true);
        for sector in 0..80 {
            driver.send(0, &[&header(request::IN, sector)], &[512, 1]);
        }
        assert!(control.wait(|seen| seen.inside > 0));
        let opener = {
            let control = Arc::clone(&control);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                control.look(|seen| seen.held = false);
            })
        };

        let queue = driver.device.stop_queue(0).unwrap();

        assert_eq!(control.look(|seen| (seen.held, seen.inside)), (false, 0));
        opener.join().unwrap();
        driver.device.notify(0);
        let mut answered = 0;
        while driver.queues[0].used().is_some() {
            answered += 1;
        }
        assert!(answered > 0 && answered < 80, "{answered}");
        driver.device.start_queue(0, queue);
        collect(&mut driver, 0, 80 - answered);
    }
}

#[test]
fn dropping_a_device_finishes_what_is_in_flight() {
    let (image, control) = disk(BYTES, false);
    let mut driver = Driver::new(Block::new(image, 1), Setup::default());
    control.look(|seen| seen.held = true);
    for _ in 0..3 {
        driver.send(0, &[&header(request::FLUSH, 0)], &[1]);
    }
    assert!(control.wait(|seen| seen.inside == 3));
    let opener = {
        let control = Arc::clone(&control);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            control.look(|seen| seen.held = false);
        })
    };

    drop(driver);

    assert_eq!(control.look(|seen| (seen.inside, seen.flushes)), (0, 3));
    opener.join().unwrap();
}

/// A driver that makes one chain available again and again has no more in flight than the queue has entries.
#[test]
fn what_is_in_flight_is_bounded() {
    let (mut driver, control) = driver(1, Setup { queue_size: 16, ..Setup::default() });
    control.look(|seen| seen.held = true);
    let head = driver.send(0, &[&header(request::FLUSH, 0)], &[1]);
    // One is in flight before the ring is nonsense.
    assert!(control.wait(|seen| seen.inside > 0));
    for _ in 0..100 {
        for _ in 0..8 {
            driver.queues[0].put_available(head);
        }
        driver.queues[0].publish();
        driver.device.notify(0);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(control.look(|seen| (1..=8).contains(&seen.most_inside)));
    control.look(|seen| seen.held = false);
    assert!(driver.device.stop_queue(0).is_some());
}

/// Requests taken together, of which the first waits for the drive, are taken again when the ring is long empty: the driver
/// must go on telling of new ones.
#[test]
fn left_overs_do_not_end_notifications() {
    for setup in [Setup::default(), Setup { event_idx: false, ..Setup::default() }] {
        let (mut driver, control) = driver(1, setup);
        control.look(|seen| seen.held = true);
        for sector in 0..4 {
            driver.queues[0].add(&[&header(request::IN, sector)], &[512, 1]);
        }
        driver.queues[0].publish();
        driver.device.notify(0);
        assert!(control.wait(|seen| seen.inside > 0));
        std::thread::sleep(Duration::from_millis(5));
        control.look(|seen| seen.held = false);
        collect(&mut driver, 0, 4);
        for sector in 0..4 {
            driver.send(0, &[&header(request::IN, sector)], &[512, 1]);
            collect(&mut driver, 0, 1);
        }
    }
}

#[test]
fn many_requests_from_many_queues_are_all_answered() {
    for setup in [Setup::default(), Setup { packed: true, event_idx: false, ..Setup::default() }] {
        let (mut driver, _) = driver(4, Setup { queue_size: 64, ..setup });
        for round in 0..200_u64 {
            for index in 0..4 {
                for number in 0..12 {
                    let sector = (round * 12 + number) % (BYTES as u64 / 512);
                    driver.send(index, &[&header(request::IN, sector)], &[512, 1]);
                }
            }
            for index in 0..4 {
                collect(&mut driver, index, 12);
            }
        }
    }
}
