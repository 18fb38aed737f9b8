use std::sync::Mutex;

use proptest::prelude::*;
use vm_memory::GuestAddress;

use super::*;
use crate::virtio::mock::MockInterrupt;
use crate::virtio::{ActivationError, DeviceKind, copy_config};

/// What a device was told, and whether it was told in an order that [`VirtioDevice`] promises.
#[derive(Default)]
struct Told {
    calls: Vec<String>,
    active: bool,
    running: Vec<u16>,
    refuse: bool,
}

#[derive(Clone, Default)]
struct Recorder {
    told: Arc<Mutex<Told>>,
    held: Arc<Mutex<Vec<Queue>>>,
}

impl Recorder {
    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap().calls)
    }
}

impl VirtioDevice for Recorder {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Block
    }

    fn features(&self) -> u64 {
        1 << 5 | 1 << 50
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16, 256]
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        copy_config(b"configured", offset, bytes);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivationError> {
        let mut told = self.told.lock().unwrap();
        assert!(!told.active);
        if told.refuse {
            return Err(ActivationError("it does not work today".to_owned()));
        }
        told.active = true;
        told.calls.push(format!("activate {:#x}", activation.features));
        Ok(())
    }

    fn start_queue(&mut self, index: u16, queue: Queue) {
        let mut told = self.told.lock().unwrap();
        assert!(told.active && !told.running.contains(&index));
        assert_eq!(queue.index(), index);
        told.running.push(index);
        told.calls.push(format!("start {index}"));
        self.held.lock().unwrap().push(queue);
    }

    fn stop_queue(&mut self, index: u16) -> Option<Queue> {
        let mut told = self.told.lock().unwrap();
        assert!(told.active);
        told.running.retain(|running| *running != index);
        let mut held = self.held.lock().unwrap();
        let at = held.iter().position(|queue| queue.index() == index)?;
        told.calls.push(format!("stop {index}"));
        Some(held.remove(at))
    }

    fn notify(&mut self, index: u16) {
        let mut told = self.told.lock().unwrap();
        assert!(told.active);
        told.calls.push(format!("notify {index}"));
    }

    fn deactivate(&mut self) {
        let mut told = self.told.lock().unwrap();
        assert!(told.active && told.running.is_empty());
        told.active = false;
        told.calls.push("deactivate".to_owned());
    }
}

struct Bench {
    registers: Registers,
    device: Recorder,
    interrupt: Arc<MockInterrupt>,
}

const MEMORY_BYTES: usize = 1 << 16;

fn bench(packed: bool) -> Bench {
    let (device, interrupt) = (Recorder::default(), Arc::new(MockInterrupt::default()));
    let memory = Arc::new(GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]).unwrap());
    let registers = Registers::new(Box::new(device.clone()), memory, interrupt.clone(), packed);
    Bench { registers, device, interrupt }
}

const FOUND: u8 = status::ACKNOWLEDGE | status::DRIVER;
const AGREED: u8 = FOUND | status::FEATURES_OK;
const WORKING: u8 = AGREED | status::DRIVER_OK;

impl Bench {
    fn choose(&mut self, features: u64) -> bool {
        self.registers.set_status(FOUND);
        self.registers.set_driver_features(0, features as u32);
        self.registers.set_driver_features(1, (features >> 32) as u32);
        self.registers.set_status(AGREED);
        self.registers.status() == AGREED
    }

    fn place(&mut self, index: u16, descriptors: u32) {
        self.registers.set_queue_size(index, 8);
        self.registers.set_area(index, Area::Descriptors, false, descriptors);
        self.registers.set_area(index, Area::Driver, false, descriptors + 0x400);
        self.registers.set_area(index, Area::Device, false, descriptors + 0x800);
    }

    /// Both queues set up, the device at work.
    fn work(&mut self, features: u64) {
        assert!(self.choose(features));
        for index in 0..2 {
            self.place(index, 0x1000 * (u32::from(index) + 1));
            self.registers.enable_queue(index);
        }
        self.registers.set_status(WORKING);
        assert_eq!(self.registers.status(), WORKING);
        self.device.calls();
    }
}

const BASE: u64 = feature::VERSION_1 | feature::RING_RESET;

#[test]
fn features_that_were_not_offered_are_not_agreed_to() {
    for packed in [false, true] {
        let mut bench = bench(packed);
        let low = u64::from(bench.registers.device_features(0));
        let offered = low | u64::from(bench.registers.device_features(1)) << 32;
        assert_eq!(offered & (1 << 5 | 1 << 50), 1 << 5 | 1 << 50);
        assert_eq!(offered & feature::RING_PACKED != 0, packed);
        assert_eq!(bench.registers.device_features(2), 0);
        for bit in 0..64 {
            bench.registers.reset();
            let bit = 1_u64 << bit;
            assert_eq!(bench.choose(bit | feature::VERSION_1), offered & bit != 0, "{bit:#x}");
            bench.registers.set_status(WORKING);
            let works = bench.registers.status() & status::DRIVER_OK != 0;
            assert_eq!(works, offered & bit != 0, "no work without an agreement");
        }
        bench.registers.reset();
        assert!(!bench.choose(1 << 5), "there is no device before version 1");
        assert!(bench.choose(1 << 5 | feature::VERSION_1), "the driver may think again");
    }
}

#[test]
fn features_are_fixed_once_agreed_to() {
    let mut bench = bench(false);
    assert!(bench.choose(BASE | 1 << 5));
    bench.registers.set_driver_features(0, 0);
    bench.registers.set_driver_features(1, u32::MAX);
    bench.registers.set_driver_features(7, u32::MAX);
    assert_eq!(bench.registers.driver_features(0), 1 << 5);
    assert_eq!(bench.registers.driver_features(1), (BASE >> 32) as u32);
    bench.registers.set_status(WORKING);
    assert_eq!(bench.device.calls(), [format!("activate {:#x}", BASE | 1 << 5)]);
}

#[test]
fn queues_run_from_driver_ok_on_and_are_notified_only_then() {
    let mut bench = bench(false);
    bench.registers.enable_queue(0);
    assert!(!bench.registers.queue_enabled(0), "features first");
    assert!(bench.choose(BASE));
    bench.place(1, 0x1000);
    bench.registers.enable_queue(1);
    bench.registers.notify(1);
    assert!(bench.device.calls().is_empty());
    bench.registers.set_status(WORKING);
    assert_eq!(bench.device.calls(), [&format!("activate {BASE:#x}"), "start 1"]);
    (0..4).for_each(|index| bench.registers.notify(index));
    bench.registers.notify(u16::MAX);
    assert_eq!(bench.device.calls(), ["notify 1"]);
    bench.place(0, 0x2000);
    bench.registers.enable_queue(0);
    bench.registers.enable_queue(0);
    bench.registers.enable_queue(2);
    assert_eq!(bench.device.calls(), ["start 0"], "a late queue, once");
    bench.registers.set_status(WORKING);
    assert!(bench.device.calls().is_empty(), "the driver is ready once");
}

#[test]
fn settings_are_fixed_while_a_queue_is_enabled() {
    let mut bench = bench(false);
    assert!(bench.choose(BASE));
    bench.place(0, 0x1000);
    bench.registers.enable_queue(0);
    bench.registers.set_queue_size(0, 4);
    for area in [Area::Descriptors, Area::Driver, Area::Device] {
        let before = bench.registers.area(0, area);
        bench.registers.set_area(0, area, false, 0xdead_0000);
        bench.registers.set_area(0, area, true, 1);
        assert_eq!(bench.registers.area(0, area), before);
    }
    assert_eq!(bench.registers.queue_size(0), 8);
    bench.registers.disable_queue(0);
    assert_eq!((bench.registers.queue_size(0), bench.registers.area(0, Area::Device)), (16, 0));
    bench.registers.set_area(0, Area::Device, true, 7);
    bench.registers.set_area(0, Area::Device, false, 9);
    assert_eq!(bench.registers.area(0, Area::Device), 7 << 32 | 9);
}

#[test]
fn a_queue_has_only_sizes_that_its_ring_can_have() {
    for (packed, allowed) in [(false, vec![1, 2, 4, 8, 16]), (true, (1..=16).collect())] {
        let mut bench = bench(packed);
        assert!(bench.choose(BASE | if packed { feature::RING_PACKED } else { 0 }));
        for size in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 32, 0x8000, 0xffff] {
            bench.registers.set_queue_size(0, 16);
            bench.registers.set_queue_size(0, size);
            assert_eq!(bench.registers.queue_size(0) == size, allowed.contains(&size), "{size}");
        }
        assert_eq!((bench.registers.max_queue_size(1), bench.registers.max_queue_size(2)), (256, 0));
        bench.registers.set_queue_size(2, 1);
        assert_eq!(bench.registers.queue_size(2), 0, "there is no such queue");
    }
}

#[test]
fn one_queue_is_reset_without_the_other() {
    let mut bench = bench(false);
    bench.work(BASE);
    bench.registers.reset_queue(0);
    bench.registers.reset_queue(9);
    assert_eq!(bench.device.calls(), ["stop 0"]);
    assert!(!bench.registers.queue_enabled(0) && bench.registers.queue_enabled(1));
    bench.registers.notify(0);
    bench.registers.notify(1);
    bench.place(0, 0x3000);
    bench.registers.enable_queue(0);
    assert_eq!(bench.device.calls(), ["notify 1", "start 0"]);

    bench.registers.reset();
    bench.work(feature::VERSION_1);
    bench.registers.reset_queue(0);
    assert!(bench.device.calls().is_empty() && bench.registers.queue_enabled(0), "it was not agreed to");
}

#[test]
fn a_reset_takes_everything_back_in_order() {
    let mut bench = bench(false);
    bench.work(BASE);
    bench.interrupt.needs_reset();
    assert_eq!(bench.registers.status(), WORKING | status::NEEDS_RESET);
    bench.registers.set_status(0);
    assert_eq!(bench.device.calls(), ["stop 0", "stop 1", "deactivate"]);
    assert_eq!((bench.registers.status(), bench.registers.driver_features(1)), (0, 0));
    assert!(!bench.registers.queue_enabled(0));
    bench.registers.set_status(0);
    assert!(bench.device.calls().is_empty());
    bench.work(BASE);
    drop(bench.registers);
    assert_eq!(bench.device.calls(), ["stop 0", "stop 1", "deactivate"]);
}

#[test]
fn status_bits_are_only_added_and_the_devices_own_is_not_the_drivers() {
    let mut bench = bench(false);
    bench.registers.set_status(status::ACKNOWLEDGE | status::NEEDS_RESET);
    assert_eq!(bench.registers.status(), status::ACKNOWLEDGE);
    bench.registers.set_status(status::DRIVER);
    assert_eq!(bench.registers.status(), FOUND);
    bench.registers.set_status(status::FAILED);
    assert_eq!(bench.registers.status(), FOUND | status::FAILED);
}

#[test]
fn a_device_that_cannot_work_asks_for_a_reset() {
    let mut bench = bench(false);
    bench.device.told.lock().unwrap().refuse = true;
    assert!(bench.choose(BASE));
    bench.place(0, 0x1000);
    bench.registers.enable_queue(0);
    bench.registers.set_status(WORKING);
    assert_eq!(bench.registers.status(), WORKING | status::NEEDS_RESET);
    assert_eq!(bench.interrupt.config_changes(), 0, "the mock counts resets apart");
    bench.registers.notify(0);
    assert!(bench.device.calls().is_empty());
    bench.device.told.lock().unwrap().refuse = false;
    bench.registers.set_status(0);
    bench.work(BASE);
}

#[test]
fn a_ring_outside_memory_asks_for_a_reset_and_does_not_run() {
    let mut bench = bench(false);
    assert!(bench.choose(BASE));
    bench.place(0, MEMORY_BYTES as u32 - 0x400);
    bench.registers.enable_queue(0);
    bench.registers.set_status(WORKING);
    assert_eq!(bench.registers.status(), WORKING | status::NEEDS_RESET);
    assert_eq!(bench.device.calls(), [format!("activate {BASE:#x}")]);
}

#[test]
fn a_pause_takes_the_queues_and_resuming_gives_back_those_that_are_left() {
    let mut bench = bench(false);
    bench.work(BASE);
    bench.registers.pause();
    bench.registers.pause();
    assert_eq!(bench.device.calls(), ["stop 0", "stop 1"]);
    bench.registers.resume();
    bench.registers.resume();
    assert_eq!(bench.device.calls(), ["start 0", "start 1"]);

    bench.registers.pause();
    bench.registers.disable_queue(0);
    bench.registers.reset_queue(1);
    bench.place(1, 0x4000);
    bench.registers.enable_queue(1);
    assert_eq!(bench.device.calls(), ["stop 0", "stop 1"]);
    bench.registers.resume();
    assert_eq!(bench.device.calls(), ["start 1"]);

    bench.registers.pause();
    bench.registers.reset();
    assert_eq!(bench.device.calls(), ["stop 1", "deactivate"]);
    bench.registers.resume();
    assert!(bench.device.calls().is_empty(), "nothing to give back");
}

#[derive(Debug, Clone)]
enum Op {
    Status(u8),
    Features(u32, u32),
    Size(u16, u16),
    Area(u16, u8, bool, u32),
    Enable(u16),
    Disable(u16),
    ResetQueue(u16),
    Notify(u16),
    Pause,
    Resume,
    Reset,
    Work,
}

fn op() -> impl Strategy<Value = Op> {
    let queue = prop_oneof![8 => 0..3_u16, 1 => any::<u16>()].boxed();
    let bits = prop::sample::select(vec![0, FOUND, AGREED, WORKING, status::FAILED, 0xff]);
    prop_oneof![
        bits.prop_map(Op::Status),
        (0..4_u32, any::<u32>()).prop_map(|(word, value)| Op::Features(word, value)),
        (queue.clone(), 0..20_u16).prop_map(|(queue, size)| Op::Size(queue, size)),
        (queue.clone(), 0..3_u8, any::<bool>(), any::<u32>())
            .prop_map(|(queue, area, high, value)| Op::Area(queue, area, high, value)),
        queue.clone().prop_map(Op::Enable),
        queue.clone().prop_map(Op::Disable),
        queue.clone().prop_map(Op::ResetQueue),
        queue.prop_map(Op::Notify),
        Just(Op::Pause),
        Just(Op::Resume),
        Just(Op::Reset),
        Just(Op::Work),
    ]
}

proptest! {
    /// Whatever a driver writes, in whatever order, the device is called in the order it was promised.
    #[test]
    fn the_device_is_called_in_order_whatever_the_driver_does(ops in prop::collection::vec(op(), 1..60)) {
        let mut bench = bench(true);
        for op in ops {
            let registers = &mut bench.registers;
            match op {
                Op::Status(value) => registers.set_status(value),
                Op::Features(word, value) => registers.set_driver_features(word, value),
                Op::Size(queue, size) => registers.set_queue_size(queue, size),
                Op::Area(queue, area, high, value) => {
                    let area = [Area::Descriptors, Area::Driver, Area::Device][usize::from(area)];
                    registers.set_area(queue, area, high, value);
                }
                Op::Enable(queue) => registers.enable_queue(queue),
                Op::Disable(queue) => registers.disable_queue(queue),
                Op::ResetQueue(queue) => registers.reset_queue(queue),
                Op::Notify(queue) => registers.notify(queue),
                Op::Pause => registers.pause(),
                Op::Resume => registers.resume(),
                Op::Reset => registers.reset(),
                Op::Work => {
                    registers.resume();
                    registers.reset();
                    bench.work(BASE);
                }
            }
        }
        drop(bench.registers);
        let told = bench.device.told.lock().unwrap();
        prop_assert!(!told.active && told.running.is_empty() && bench.device.held.lock().unwrap().is_empty());
    }
}
