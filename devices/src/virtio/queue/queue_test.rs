use std::io::{Read, Write};

use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::virtio::echo_device::Echo;
use crate::virtio::mock::{Driver, DriverQueue, MEMORY_BYTES, MockInterrupt, Setup};
use crate::virtio::registers::TransportInterrupt;

fn setups() -> Vec<Setup> {
    let mut all = Vec::new();
    for packed in [false, true] {
        for event_idx in [false, true] {
            for queue_size in [1, 2, 8, 256] {
                all.push(Setup { packed, event_idx, queue_size, ..Setup::default() });
            }
        }
    }
    all
}

/// The driver's and the device's side of one queue, without a device.
struct Pair {
    driver: DriverQueue,
    device: Queue,
    interrupt: Arc<MockInterrupt>,
    memory: Arc<GuestMemory>,
}

fn pair(setup: Setup) -> Pair {
    let driver = Driver::new(Echo::new(), setup);
    let (memory, features) = (driver.memory.clone(), driver.features);
    drop(driver);
    let interrupt = Arc::new(MockInterrupt::default());
    let driver = DriverQueue::new(memory.clone(), 0, 0, 8 << 20, setup.queue_size, features);
    let link = DeviceLink::new(interrupt.clone());
    let device = Queue::new(0, driver.layout(), features, memory.clone(), link).unwrap();
    Pair { driver, device, interrupt, memory }
}

#[test]
fn requests_go_there_and_answers_come_back_however_the_ring_is_made() {
    for setup in setups() {
        for indirect in [false, true] {
            let mut driver = Driver::new(Echo::new(), setup);
            driver.queues[0].indirect = indirect;
            // Several times around the ring.
            for n in 0..600_u32 {
                let text = n.to_le_bytes();
                // One entry holds one buffer, unless it holds a table.
                let room: &[u32] =
                    if setup.queue_size == 1 && setup.packed && !indirect { &[] } else { &[4] };
                let used = driver.request(0, &[&text], room);
                let Some(used) = used else { panic!("no answer {n} with {setup:?}, indirect {indirect}") };
                if !used.bytes.is_empty() {
                    assert_eq!(used.bytes, n.to_be_bytes());
                    assert_eq!(used.written, 4);
                }
            }
            assert!(!driver.interrupt.reset_needed());
            assert_eq!(driver.queues[0].in_flight(), 0);
        }
    }
}

#[test]
fn many_requests_at_once_are_all_answered() {
    for setup in setups() {
        let mut driver = Driver::new(Echo::new(), setup);
        driver.queues[0].indirect = true;
        for round in 0..20_u8 {
            let count = setup.queue_size.min(200);
            let ids: Vec<u16> = (0..count).map(|n| driver.send(0, &[&[n as u8, round]], &[1, 1])).collect();
            let mut seen = Vec::new();
            for _ in 0..count {
                let used = driver.wait(0).unwrap();
                assert_eq!(used.bytes[0], round);
                seen.push(used.id);
            }
            assert_eq!(seen, ids, "this device answers in order");
        }
    }
}

#[test]
fn buffers_are_read_and_written_across_their_borders() {
    for packed in [false, true] {
        let Pair { mut driver, mut device, .. } = pair(Setup { packed, ..Setup::default() });
        driver.add(&[b"abc", b"", b"defgh"], &[2, 0, 5]);
        driver.publish();
        let chain = device.pop().unwrap();
        let mut reader = chain.reader();
        assert_eq!(reader.remaining(), 8);
        let mut four = [0; 4];
        reader.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"abcd");
        assert_eq!(reader.read_exact(&mut [0; 5]), Err(ShortChain));
        assert_eq!(reader.remaining(), 4, "nothing was read");
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"efgh");

        let mut writer = chain.writer();
        let mut head = writer.split(3);
        assert_eq!(writer.remaining(), 4);
        writer.write_obj(0x4443_4241_u32).unwrap();
        assert_eq!(writer.write(b"x").unwrap(), 0);
        let lens: Vec<usize> = head.slices(u64::MAX).iter().map(|slice| slice.len()).collect();
        assert_eq!(lens, [2, 1]);
        assert_eq!(head.slices(1).len(), 1);
        head.skip(1);
        head.write_all(b"yz").unwrap();
        assert_eq!(head.write_all(b"!"), Err(ShortChain));
        device.complete(chain, 7);
        let used = driver.used().unwrap();
        assert_eq!((used.written, &used.bytes[..]), (7, &b"\0yzABCD"[..]));
    }
}

#[test]
fn a_chain_can_go_back_unserved() {
    for packed in [false, true] {
        let Pair { mut driver, mut device, .. } = pair(Setup { packed, queue_size: 4, ..Setup::default() });
        for n in 0..20_u8 {
            driver.add(&[&[n]], &[1]);
            driver.publish();
            let chain = device.pop().unwrap();
            assert!(device.pop().is_none());
            device.undo_pop(chain);
            let chain = device.pop().unwrap();
            let mut byte = [0];
            chain.reader().read_exact(&mut byte).unwrap();
            assert_eq!(byte, [n]);
            device.complete(chain, 0);
            driver.used().unwrap();
        }
    }
}

#[test]
fn chains_that_belong_together_appear_together() {
    for packed in [false, true] {
        let Pair { mut driver, mut device, .. } = pair(Setup { packed, ..Setup::default() });
        (0..3).for_each(|_| _ = driver.add(&[], &[8]));
        driver.publish();
        let chains: Vec<_> = std::iter::from_fn(|| device.pop()).collect();
        assert_eq!(chains.len(), 3);
        let numbered = chains.into_iter().zip(1..).inspect(|_| assert!(driver.used().is_none()));
        // The driver looks after each: nothing is there until all are.
        let numbered: Vec<_> = numbered.collect();
        device.complete_all(numbered);
        let written: Vec<u32> = std::iter::from_fn(|| driver.used()).map(|used| used.written).collect();
        assert_eq!(written, [1, 2, 3]);
    }
}

#[test]
fn interrupts_come_when_the_driver_wants_them() {
    for packed in [false, true] {
        for event_idx in [false, true] {
            let setup = Setup { packed, event_idx, queue_size: 8, ..Setup::default() };
            let Pair { mut driver, mut device, interrupt, .. } = pair(setup);
            device.signal();
            assert_eq!(interrupt.count(0), 0, "nothing was completed");
            for n in 1..40 {
                (0..2).for_each(|_| _ = driver.add(&[], &[1]));
                driver.publish();
                while let Some(chain) = device.pop() {
                    device.complete(chain, 1);
                }
                device.signal();
                assert_eq!(interrupt.count(0), n, "packed {packed} event {event_idx}");
                device.signal();
                assert_eq!(interrupt.count(0), n, "told once");
                while driver.used().is_some() {}
            }
        }
    }
}

#[test]
fn a_driver_that_asks_for_silence_gets_it() {
    let Pair { mut driver, mut device, interrupt, memory } =
        pair(Setup { event_idx: false, ..Setup::default() });
    let flags = GuestAddress(driver.layout().driver);
    for (no_interrupt, expected) in [(1_u16, 0), (0, 1), (1, 1)] {
        memory.write_obj(no_interrupt, flags).unwrap();
        driver.add(&[], &[1]);
        driver.publish();
        let chain = device.pop().unwrap();
        device.complete(chain, 0);
        device.signal();
        assert_eq!(interrupt.count(0), expected);
    }
}

#[test]
fn notifications_can_be_turned_off_and_nothing_is_missed() {
    for packed in [false, true] {
        for event_idx in [false, true] {
            let setup = Setup { packed, event_idx, ..Setup::default() };
            let Pair { mut driver, mut device, .. } = pair(setup);
            device.disable_notifications();
            driver.add(&[b"1"], &[]);
            if !event_idx || packed {
                assert!(!driver.publish(), "silent: packed {packed} event {event_idx}");
            } else {
                driver.publish();
            }
            assert!(device.enable_notifications(), "one came meanwhile");
            let chain = device.pop().unwrap();
            device.complete(chain, 0);
            assert!(!device.enable_notifications());
            driver.add(&[b"2"], &[]);
            assert!(driver.publish(), "packed {packed} event {event_idx}");
        }
    }
}

#[test]
fn queues_that_cannot_be_are_refused() {
    let interrupt = Arc::new(MockInterrupt::default());
    let memory = Arc::new(GuestMemory::from_ranges(&[(GuestAddress(0), 0x10000)]).unwrap());
    let good = QueueLayout { size: 8, descriptors: 0x1000, driver: 0x2000, device: 0x3000 };
    let make = |layout, features| {
        Queue::new(0, layout, features, memory.clone(), DeviceLink::new(interrupt.clone())).map(|_| ())
    };
    for features in [0, feature::RING_PACKED] {
        assert_eq!(make(good, features), Ok(()));
        for bad in [
            QueueLayout { size: 0, ..good },
            QueueLayout { size: 32769, ..good },
            QueueLayout { descriptors: 0x1008, ..good },
            QueueLayout { descriptors: 0x10000, ..good },
            QueueLayout { descriptors: 0xfff0, ..good },
            QueueLayout { descriptors: u64::MAX - 0xf, ..good },
            QueueLayout { driver: 0x2001, ..good },
            QueueLayout { driver: 0xfffe, ..good },
            QueueLayout { device: 0x3002, ..good },
            QueueLayout { device: !3, ..good },
        ] {
            assert!(make(bad, features).is_err(), "{bad:?} {features:#x}");
        }
    }
    assert!(make(QueueLayout { size: 6, ..good }, 0).is_err(), "split rings are powers of two");
    assert!(make(QueueLayout { size: 6, ..good }, feature::RING_PACKED).is_ok());
}

/// Breaks a queue in one way and demands that it asks for a reset and is silent afterwards.
#[track_caller]
fn breaks(packed: bool, spoil: impl FnOnce(&mut Pair)) {
    let mut pair = pair(Setup { packed, queue_size: 8, ..Setup::default() });
    spoil(&mut pair);
    pair.driver.publish();
    assert!(pair.device.pop().is_none());
    assert!(pair.interrupt.reset_needed());
    assert!(!pair.device.enable_notifications());
    let count = pair.interrupt.count(0);
    pair.device.signal();
    assert_eq!(pair.interrupt.count(0), count);
}

#[test]
fn a_driver_that_breaks_the_rules_breaks_its_queue() {
    let end = MEMORY_BYTES as u64;
    let descriptor = |pair: &Pair, slot: u64, words: [u64; 2]| {
        pair.memory.write_obj(words, GuestAddress(pair.driver.layout().descriptors + 16 * slot)).unwrap();
    };
    for packed in [false, true] {
        // Buffers outside memory, at its end, around the end of the address space.
        for (gpa, len) in [(end, 1), (end - 4, 8), (u64::MAX - 3, 8), (0, u32::MAX)] {
            breaks(packed, |pair| _ = pair.driver.add_raw(&[DriverQueue::raw(gpa, len, true)], 0));
        }
        // Readable after writable.
        breaks(packed, |pair| {
            pair.driver.add_raw(&[DriverQueue::raw(0, 8, true), DriverQueue::raw(0, 8, false)], 0);
        });
        // Indirect tables outside memory, of no entries, of half an entry, in a table.
        for (gpa, len) in [(end, 16), (end - 8, 16), (0, 0), (0, 24)] {
            breaks(packed, |pair| {
                pair.driver.add(&[b"x"], &[]);
                let flags: u64 = if packed { (4 | 1 << 7) << 48 } else { 4 << 32 };
                descriptor(pair, 0, [gpa, len | flags]);
                descriptor(pair, 7, [gpa, len | flags]);
            });
        }
    }
    let split = |words: [u64; 2]| {
        breaks(false, |pair| {
            let head = pair.driver.add(&[b"x"], &[]);
            descriptor(pair, head.into(), words);
        });
    };
    // A chain that points at itself, and one that leaves the table.
    breaks(false, |pair| {
        let head = pair.driver.add(&[b"x"], &[]);
        descriptor(pair, head.into(), [0, 1 | 1 << 32 | u64::from(head) << 48]);
    });
    split([0, 1 | 1 << 32 | 8 << 48]);
    split([0, 1 | 1 << 32 | 0xffff << 48]);
    // Heads that do not exist; an index that jumps.
    breaks(false, |pair| pair.driver.put_available(8));
    breaks(false, |pair| pair.driver.put_available(0xffff));
    breaks(false, |pair| (0..9).for_each(|_| pair.driver.put_available(0)));
    // A packed chain without an end.
    breaks(true, |pair| {
        for slot in 0..8 {
            descriptor(pair, slot, [0, 1 | (1 | 1 << 7) << 48]);
        }
    });
}

#[test]
fn a_driver_has_no_more_in_flight_than_its_queue_has_entries() {
    for packed in [false, true] {
        for held in [false, true] {
            let mut pair = pair(Setup { packed, queue_size: 8, ..Setup::default() });
            let mut chains = Vec::new();
            for n in 0..12_u16 {
                if packed {
                    // The same entries again, as if they had been given back.
                    let turn: u64 = if n < 8 { 1 << 7 } else { 1 << 15 };
                    let at = pair.driver.layout().descriptors + 16 * u64::from(n % 8);
                    pair.memory.write_obj([0, 1 | turn << 48], GuestAddress(at)).unwrap();
                } else {
                    pair.memory
                        .write_obj([0_u64, 1], GuestAddress(pair.driver.layout().descriptors))
                        .unwrap();
                    pair.driver.put_available(0);
                    pair.driver.publish();
                }
                match pair.device.pop() {
                    Some(chain) if held => chains.push(chain),
                    Some(chain) => pair.device.complete(chain, 0),
                    None => assert!(held && n >= 8, "packed {packed}, request {n}"),
                }
            }
            assert_eq!(chains.len(), if held { 8 } else { 0 });
            assert_eq!(pair.interrupt.reset_needed(), held);
        }
    }
}

#[test]
fn a_chain_has_a_bounded_number_of_buffers() {
    for packed in [false, true] {
        for (count, taken) in [(1024_usize, true), (1025, false)] {
            let mut pair = pair(Setup { packed, queue_size: 8, ..Setup::default() });
            pair.driver.indirect = true;
            let list = vec![DriverQueue::raw(0, 1, true); count];
            pair.driver.add_raw(&list, 1 << 20);
            pair.driver.publish();
            assert_eq!(pair.device.pop().is_some(), taken);
            assert_eq!(pair.interrupt.reset_needed(), !taken);
        }
    }
}
