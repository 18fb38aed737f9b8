use proptest::prelude::*;

use super::super::driving::{QUEUE_BYTES, answer, eventually, memory, put, queues};
use super::*;
use crate::any_access::{self, Step};
use crate::interrupt::IrqInput;
use crate::virtio::echo_device::Echo;
use crate::virtio::mock::DriverQueue;
use crate::virtio::spec::{feature, status};

/// The level of the device's line, and how often it rose.
#[derive(Default)]
struct Line(Mutex<(bool, usize)>);

impl IrqInput for Line {
    fn set_level(&self, _: u32, level: bool) {
        let mut state = self.0.lock().unwrap();
        state.1 += usize::from(level && !state.0);
        state.0 = level;
    }
}

struct Guest {
    device: VirtioMmio,
    line: Arc<Line>,
    memory: Arc<GuestMemory>,
}

fn guest(packed: bool) -> Guest {
    let line = Arc::new(Line::default());
    let memory = memory();
    let wire = IrqLine::new(line.clone(), 0);
    Guest { device: VirtioMmio::new(Box::new(Echo::new()), memory.clone(), wire, packed), line, memory }
}

impl Guest {
    fn get(&mut self, offset: u64) -> u32 {
        self.device.read(offset, Width::Four).unwrap() as u32
    }

    fn set(&mut self, offset: u64, value: u32) {
        self.device.write(offset, Width::Four, value.into()).unwrap();
    }

    fn level(&self) -> bool {
        self.line.0.lock().unwrap().0
    }

    /// As section 3.1.1 tells a driver to begin.
    fn set_up(&mut self, wanted: u64) -> [DriverQueue; 2] {
        self.set(reg::STATUS, 0);
        self.set(reg::STATUS, 3);
        let mut offered = 0;
        for word in [0, 1] {
            self.set(reg::DEVICE_FEATURES_SEL, word);
            offered |= u64::from(self.get(reg::DEVICE_FEATURES)) << (32 * word);
        }
        let chosen = offered & (wanted | feature::VERSION_1);
        for word in [0, 1] {
            self.set(reg::DRIVER_FEATURES_SEL, word);
            self.set(reg::DRIVER_FEATURES, (chosen >> (32 * word)) as u32);
        }
        self.set(reg::STATUS, 3 | 8);
        assert_eq!(self.get(reg::STATUS), 3 | 8);
        let queues = queues(&self.memory, chosen);
        queues.iter().for_each(|queue| self.enable(queue));
        self.set(reg::STATUS, 3 | 8 | 4);
        queues
    }

    fn enable(&mut self, queue: &DriverQueue) {
        let layout = queue.layout();
        self.set(reg::QUEUE_SEL, queue.index().into());
        assert_eq!(self.get(reg::QUEUE_READY), 0);
        assert!(self.get(reg::QUEUE_NUM_MAX) >= u32::from(layout.size));
        self.set(reg::QUEUE_NUM, layout.size.into());
        let places = [(0x80, layout.descriptors), (0x90, layout.driver), (0xa0, layout.device)];
        for (offset, address) in places {
            self.set(offset, address as u32);
            self.set(offset + 4, (address >> 32) as u32);
        }
        self.set(reg::QUEUE_READY, 1);
        assert_eq!(self.get(reg::QUEUE_READY), 1);
    }

    fn ask(&mut self, queue: &mut DriverQueue, text: &[u8]) {
        if put(queue, text) {
            self.set(reg::QUEUE_NOTIFY, queue.index().into());
        }
    }
}

#[test]
fn it_says_what_it_is() {
    let mut guest = guest(true);
    assert_eq!([0, 4, 8, 12].map(|at| guest.get(at)), [0x7472_6976, 2, 4, VENDOR]);
    guest.set(reg::QUEUE_SEL, 0);
    assert_eq!(guest.get(reg::QUEUE_NUM_MAX), 256);
    guest.set(reg::QUEUE_SEL, 1);
    assert_eq!(guest.get(reg::QUEUE_NUM_MAX), 64);
    for absent in [2, 0xffff, 0x1_0000, u32::MAX] {
        guest.set(reg::QUEUE_SEL, absent);
        assert_eq!(guest.get(reg::QUEUE_NUM_MAX), 0, "{absent:#x}");
    }
    assert_eq!([0xb0, 0xb4, 0xb8, 0xbc].map(|at| guest.get(at)), [u32::MAX; 4], "no shared memory");
    assert_eq!(guest.device.registers_mut().device_mut().kind().name(), "rng");
}

#[test]
fn requests_are_answered_with_interrupts() {
    for packed in [false, true] {
        let mut guest = guest(packed);
        let [mut first, mut second] = guest.set_up(u64::MAX);
        for round in 0..300_u32 {
            for queue in [&mut first, &mut second] {
                let text = (round | 0x0100_0000).to_le_bytes();
                guest.ask(queue, &text);
                // Who takes an answer before its interrupt gets none: that asks for one at the next answer.
                assert!(eventually(|| guest.level()));
                assert_eq!(answer(queue), (round | 0x0100_0000).to_be_bytes());
                assert_eq!(guest.get(reg::INTERRUPT_STATUS), 1);
                guest.set(reg::INTERRUPT_ACK, 1);
                assert!(!guest.level());
            }
        }
        assert_eq!(guest.get(reg::STATUS), 15);
    }
}

#[test]
fn the_line_is_up_while_anything_is_pending() {
    let mut guest = guest(false);
    guest.interrupt().queue_used(0);
    guest.interrupt().config_changed();
    assert_eq!(guest.get(reg::INTERRUPT_STATUS), 3);
    guest.set(reg::INTERRUPT_ACK, 1);
    assert!(guest.level(), "the other is pending");
    guest.set(reg::INTERRUPT_ACK, 0xffff_fffe);
    assert!(!guest.level());
    guest.interrupt().needs_reset();
    assert_eq!(guest.get(reg::STATUS), u32::from(status::NEEDS_RESET));
    assert!(guest.level());
    guest.set(reg::STATUS, 0);
    assert_eq!((guest.get(reg::STATUS), guest.get(reg::INTERRUPT_STATUS), guest.level()), (0, 0, false));
}

impl Guest {
    fn interrupt(&self) -> Arc<LineInterrupt> {
        self.device.interrupt.clone()
    }
}

#[test]
fn a_broken_ring_asks_for_a_reset_and_a_reset_mends_it() {
    let mut guest = guest(false);
    let [mut queue, _] = guest.set_up(u64::MAX);
    queue.put_available(0xffff);
    queue.publish();
    guest.set(reg::QUEUE_NOTIFY, 0);
    assert!(eventually(|| guest.get(reg::STATUS) == 15 | u32::from(status::NEEDS_RESET)));
    assert!(eventually(|| guest.level()));
    assert_eq!(guest.get(reg::INTERRUPT_STATUS) & 2, 2, "the driver is told");
    let [mut queue, _] = guest.set_up(u64::MAX);
    guest.ask(&mut queue, b"abc");
    assert_eq!(answer(&mut queue), b"cba");
}

#[test]
fn nothing_moves_after_a_reset() {
    for packed in [false, true] {
        let mut guest = guest(packed);
        for round in 0..20 {
            let [mut queue, mut other] = guest.set_up(u64::MAX);
            for _ in 0..30 {
                queue.add(&[b"0123456789"], &[10]);
                other.add(&[b"0123456789"], &[10]);
            }
            queue.publish();
            other.publish();
            guest.set(reg::QUEUE_NOTIFY, 0);
            guest.set(reg::QUEUE_NOTIFY, 1);
            // Sooner or later in the work.
            (0..round * 50).for_each(|_| std::hint::spin_loop());
            guest.set(reg::STATUS, 0);
            let answered = std::iter::from_fn(|| queue.used()).count();
            assert!(answered <= 30);
            std::thread::sleep(std::time::Duration::from_millis(1));
            assert!(queue.used().is_none(), "an answer after the reset");
            assert_eq!(guest.get(reg::INTERRUPT_STATUS), 0, "an interrupt after the reset");
        }
    }
}

#[test]
fn a_queue_is_reset_and_used_again() {
    let mut guest = guest(false);
    let [mut queue, mut other] = guest.set_up(u64::MAX);
    guest.ask(&mut queue, b"ab");
    assert_eq!(answer(&mut queue), b"ba");
    guest.set(reg::QUEUE_SEL, 0);
    guest.set(reg::QUEUE_RESET, 1);
    assert_eq!((guest.get(reg::QUEUE_RESET), guest.get(reg::QUEUE_READY)), (0, 0));
    guest.ask(&mut other, b"cd");
    assert_eq!(answer(&mut other), b"dc", "the other goes on");
    let features = feature::VERSION_1 | feature::EVENT_IDX;
    let mut again = DriverQueue::new(guest.memory.clone(), 0, 0, QUEUE_BYTES, 32, features);
    guest.enable(&again);
    guest.ask(&mut again, b"ef");
    assert_eq!(answer(&mut again), b"fe");
}

#[test]
fn a_pause_holds_requests_until_it_ends() {
    let mut guest = guest(false);
    let [mut queue, _] = guest.set_up(u64::MAX);
    guest.device.registers_mut().pause();
    queue.add(&[b"ab"], &[2]);
    queue.publish();
    guest.set(reg::QUEUE_NOTIFY, 0);
    std::thread::sleep(std::time::Duration::from_millis(10));
    assert!(queue.used().is_none());
    guest.device.registers_mut().resume();
    assert_eq!(answer(&mut queue), b"ba");
}

#[test]
fn registers_are_four_bytes_and_the_configuration_is_any() {
    let mut guest = guest(false);
    for width in [Width::One, Width::Two, Width::Eight] {
        assert!(guest.device.read(reg::MAGIC, width).is_err());
        assert!(guest.device.write(reg::STATUS, width, 1).is_err());
    }
    for unaligned in [1, 2, 3, 0x71, 0xfd] {
        assert!(guest.device.read(unaligned, Width::Four).is_err());
        assert!(guest.device.write(unaligned, Width::Four, 1).is_err());
    }
    let text = b"hello config";
    for width in Width::ALL {
        let bytes = width.bytes() as usize;
        for at in 0..20_usize {
            let mut expected = [0; 8];
            for (n, byte) in expected.iter_mut().enumerate().take(bytes) {
                *byte = text.get(at + n).copied().unwrap_or(0);
            }
            let value = guest.device.read(reg::CONFIG + at as u64, width).unwrap();
            assert_eq!(value, u64::from_le_bytes(expected), "{bytes} bytes at {at}");
        }
    }
    guest.device.write(reg::CONFIG + 4, Width::Two, 0x4142).unwrap();
    guest.device.write(reg::CONFIG + 11, Width::Eight, u64::MAX).unwrap();
    assert_eq!(guest.device.read(reg::CONFIG + 4, Width::Four).unwrap(), 0x6f63_4142);
    assert_eq!(guest.device.read(MMIO_BYTES - 8, Width::Eight).unwrap(), 0);
}

#[test]
fn power_up_forgets_selections() {
    let mut guest = guest(false);
    guest.set_up(u64::MAX);
    guest.set(reg::QUEUE_SEL, 1);
    guest.set(reg::DEVICE_FEATURES_SEL, 1);
    guest.device.reset();
    assert_eq!(guest.get(reg::QUEUE_NUM_MAX), 256);
    assert_eq!(guest.get(reg::DEVICE_FEATURES) & 1 << 3, 1 << 3);
    assert_eq!(guest.get(reg::STATUS), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_access_hurts(steps in any_access::steps(0x140)) {
        let mut guest = guest(true);
        for step in steps {
            match step {
                // From a device at work, too.
                Step::Poke(0..128) => drop(guest.set_up(u64::MAX)),
                Step::Poke(poke) => guest.set(reg::STATUS, poke.into()),
                step => any_access::perform(&mut guest.device, step),
            }
        }
    }
}
