use super::*;
use crate::disk::testing::disk;
use crate::virtio::blk::Block;
use crate::virtio::mock::{Driver, Setup};
use crate::virtio::rng::Rng;

/// A read of the first sector.
const READ: [u8; 16] = [0; 16];

#[test]
fn what_was_announced_is_done_when_the_notification_returns() {
    let mut driver =
        Driver::new(InTurn::new(Box::new(Block::new(disk(1 << 20, false).0, 2))), Setup::default());
    for round in 0..200 {
        let count = 1 + round % 40;
        for _ in 0..count {
            driver.queues[1].add(&[&READ], &[512, 1]);
        }
        if driver.queues[1].publish() {
            driver.device.notify(1);
        }
        let done =
            std::iter::from_fn(|| driver.queues[1].used()).inspect(|used| assert_eq!(used.bytes[512], 0));
        assert_eq!(done.count(), count, "round {round}");
    }
}

#[test]
fn what_was_not_announced_waits() {
    let source = Box::new(|bytes: &mut [u8]| {
        bytes.fill(7);
        true
    });
    let mut driver = Driver::new(InTurn::new(Box::new(Rng::new(source))), Setup::default());
    driver.queues[0].add(&[], &[4]);
    assert!(driver.queues[0].publish());
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert!(driver.queues[0].used().is_none());
    driver.device.notify(0);
    assert_eq!(driver.queues[0].used().unwrap().bytes, [7; 4]);
    let queue = driver.device.stop_queue(0);
    assert!(queue.is_some(), "it is given back");
    driver.device.notify(0);
}
