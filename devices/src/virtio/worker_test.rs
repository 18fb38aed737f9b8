use std::time::Duration;

use super::*;
use crate::virtio::echo_device::Echo;
use crate::virtio::mock::{Driver, Setup};
use crate::virtio::{DeviceKind, VirtioDevice};

#[test]
fn a_stopped_queue_comes_back_and_goes_on_where_it_was() {
    let mut driver = Driver::new(Echo::new(), Setup::default());
    assert_eq!(driver.device.kind(), DeviceKind::Entropy);
    assert_eq!(driver.request(0, &[b"ab"], &[2]).unwrap().bytes, b"ba");
    let queue = driver.device.stop_queue(0).unwrap();
    assert!(driver.device.stop_queue(0).is_none(), "it is gone");
    driver.send(0, &[b"cd"], &[2]);
    driver.device.notify(0);
    thread::sleep(Duration::from_millis(20));
    assert!(driver.queues[0].used().is_none(), "nobody serves");
    assert_eq!(driver.request(1, &[b"xy"], &[2]).unwrap().bytes, b"yx", "the other queue does not mind");
    driver.device.start_queue(0, queue);
    assert_eq!(driver.wait(0).unwrap().bytes, b"dc");
}

struct Ticker {
    at: Option<Instant>,
    ticks: Arc<AtomicU64>,
}

impl Serve for Ticker {
    fn serve(&mut self, _: &mut Serving, _: u16) {}

    fn deadline(&mut self) -> Option<Instant> {
        self.at
    }

    fn tick(&mut self, _: &mut Serving) {
        let ticks = self.ticks.fetch_add(1, Ordering::SeqCst);
        self.at = (ticks < 4).then(|| Instant::now() + Duration::from_millis(1));
    }
}

#[test]
fn deadlines_are_kept_and_the_server_comes_back() {
    let ticks = Arc::new(AtomicU64::new(0));
    let worker = QueueWorker::spawn("t", Ticker { at: Some(Instant::now()), ticks: ticks.clone() }).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while ticks.load(Ordering::SeqCst) < 5 && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    let server = worker.end().unwrap();
    assert_eq!(server.ticks.load(Ordering::SeqCst), 5);
    assert_eq!(server.at, None);
}
