//! A guest that drives a disk: any header, data and descriptors, in any order.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use devices::disk::{DiskConfig, DiskImage};
use devices::virtio::blk::Block;
use devices::virtio::mock::{Driver, DriverQueue, Setup};
use devices::virtio::{TransportInterrupt, VirtioDevice};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress};

const BYTES: u64 = 1 << 20;

static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("rvmm-fuzz-blk-{}", std::process::id()));
    std::fs::File::create(&path).unwrap().set_len(BYTES).unwrap();
    path
});

/// Where requests lie, behind the rings and their buffers.
const PLACE: u64 = 48 << 20;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let modes = choices.u8();
    let config =
        DiskConfig { ro: modes & 1 != 0, flush: devices::disk::FlushMode::None, ..DiskConfig::new(&*PATH) };
    let image = DiskImage::open(&config).unwrap();
    let features = if modes & 2 != 0 { choices.u64() } else { u64::MAX };
    let setup = Setup { features, queue_size: 16, packed: modes & 4 != 0, event_idx: modes & 8 != 0 };
    let mut driver = Driver::new(Block::new(image, 1), setup);
    driver.queues[0].indirect = modes & 16 != 0;
    let interrupt = driver.interrupt.clone();
    while !choices.is_empty() && !interrupt.reset_needed() {
        if choices.u8() == 0 {
            let (offset, bytes) = (u64::from(choices.u8()), choices.take::<4>());
            driver.device.write_config(offset, &bytes);
        }
        // A header that may be right, then descriptors that may not be.
        let mut message = [0; 64];
        message[0] = choices.u8() % 16;
        message[8..10].copy_from_slice(&choices.take::<2>());
        message[10..16].copy_from_slice(&if choices.u8() == 0 { choices.take() } else { [0; 6] });
        message[16..48].copy_from_slice(&choices.take::<32>());
        driver.memory.write_slice(&message, GuestAddress(PLACE)).unwrap();
        let mut list = vec![DriverQueue::raw(PLACE, u32::from(choices.u8()) % 65, false)];
        for _ in 0..choices.u8() % 5 {
            let gpa =
                if choices.u8() == 0 { choices.u64() | 1 << 40 } else { PLACE + u64::from(choices.u16()) };
            let len = if choices.u8() == 0 { choices.u32() } else { u32::from(choices.u16()) };
            list.push(DriverQueue::raw(gpa, len, choices.u8() & 1 != 0));
        }
        if choices.u8() & 7 != 0 {
            list.push(DriverQueue::raw(PLACE + (1 << 20), 1 + 512 * (u32::from(choices.u8()) % 4), true));
        }
        driver.queues[0].add_raw(&list, PLACE + 4096);
        if driver.queues[0].publish() {
            driver.device.notify(0);
        }
        // Answered, or the ring is broken: nothing in between.
        let queue = &mut driver.queues[0];
        let mut answered = false;
        let done = interrupt.wait(|| {
            answered = answered || queue.in_flight() == 0 || queue.used().is_some();
            answered || interrupt.reset_needed()
        });
        assert!(done, "a request is neither answered nor refused");
    }
});
