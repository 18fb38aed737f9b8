use super::*;
use crate::virtio::mock::{Driver, Setup};

fn counter() -> Entropy {
    let mut next = 0_u8;
    Box::new(move |bytes| {
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(1);
        }
        true
    })
}

#[test]
fn a_request_is_filled_from_the_source() {
    let mut driver = Driver::new(Rng::new(counter()), Setup::default());
    let used = driver.request(0, &[], &[3, 5000]).unwrap();
    assert_eq!(used.written, 5003);
    let expected: Vec<u8> = (0..5003).map(|n| n as u8).collect();
    assert_eq!(used.bytes, expected);
    assert_eq!(driver.request(0, &[], &[2]).unwrap().bytes, [139, 140], "no byte is given twice");
    assert_eq!(driver.request(0, &[b"read"], &[]).unwrap().written, 0);
}

#[test]
fn a_large_request_gets_part_of_it() {
    let mut driver = Driver::new(Rng::new(counter()), Setup { queue_size: 8, ..Setup::default() });
    let used = driver.request(0, &[], &[700_000]).unwrap();
    assert_eq!(u64::from(used.written), MAX_BYTES);
}

#[test]
fn a_host_without_entropy_gives_none() {
    let mut driver = Driver::new(Rng::new(Box::new(|_| false)), Setup::default());
    let used = driver.request(0, &[], &[16]).unwrap();
    assert_eq!((used.written, used.bytes), (0, vec![0; 16]));
}

#[test]
fn it_works_again_after_a_reset() {
    let mut driver = Driver::new(Rng::new(counter()), Setup::default());
    driver.request(0, &[], &[1]).unwrap();
    driver.device.stop_queue(0).unwrap();
    driver.device.deactivate();
    let mut again = Driver::new(std::mem::replace(&mut driver.device, Rng::new(counter())), Setup::default());
    assert_eq!(again.request(0, &[], &[1]).unwrap().bytes, [1]);
}
