use std::sync::Mutex;

use proptest::prelude::*;

use super::super::driving::{QUEUE_BYTES, answer, eventually, memory, put, queues};
use super::*;
use crate::any_access::{self, Step};
use crate::bus::BusDevice;
use crate::interrupt::{IrqInput, MsiMessage};
use crate::pci::spec::{command, offset};
use crate::virtio::echo_device::Echo;
use crate::virtio::mock::DriverQueue;
use crate::virtio::registers::TransportInterrupt;
use crate::virtio::spec::{NO_VECTOR, feature, status};

/// What reaches the interrupt controllers.
#[derive(Default)]
struct Controllers {
    level: Mutex<bool>,
    messages: Mutex<Vec<(u64, u32)>>,
}

impl IrqInput for Controllers {
    fn set_level(&self, _: u32, level: bool) {
        *self.level.lock().unwrap() = level;
    }
}

impl MsiTarget for Controllers {
    fn send_msi(&self, message: MsiMessage) {
        self.messages.lock().unwrap().push((message.address, message.data));
    }
}

struct Guest {
    device: VirtioPci,
    controllers: Arc<Controllers>,
    memory: Arc<GuestMemory>,
}

fn guest(packed: bool) -> Guest {
    let controllers = Arc::new(Controllers::default());
    let memory = memory();
    let line = IrqLine::new(controllers.clone(), 0);
    let device = Box::new(Echo::new());
    let device = VirtioPci::new(device, memory.clone(), controllers.clone(), line, packed).unwrap();
    Guest { device, controllers, memory }
}

/// A capability that names a structure: its kind, and where it says the structure is.
#[derive(Debug, PartialEq, Eq)]
struct Structure {
    at: u16,
    kind: u32,
    bar: u32,
    offset: u32,
    bytes: u32,
}

impl Guest {
    fn get(&mut self, offset: u64, width: Width) -> u64 {
        self.device.bar_read(0, offset, width).unwrap()
    }

    fn set(&mut self, offset: u64, width: Width, value: u64) {
        self.device.bar_write(0, offset, width, value).unwrap();
    }

    fn level(&self) -> bool {
        *self.controllers.level.lock().unwrap()
    }

    fn messages(&self) -> Vec<(u64, u32)> {
        std::mem::take(&mut self.controllers.messages.lock().unwrap())
    }

    fn interrupt(&self) -> Arc<PciInterrupt> {
        self.device.interrupt.clone()
    }

    fn capabilities(&mut self) -> Vec<(u16, u32)> {
        let mut found = Vec::new();
        let mut at = self.device.config_read(offset::CAPABILITIES, Width::One) as u16;
        while at != 0 {
            found.push((at, self.device.config_read(at, Width::One)));
            at = self.device.config_read(at + 1, Width::One) as u16;
        }
        found
    }

    fn structures(&mut self) -> Vec<Structure> {
        let vendor = self.capabilities().into_iter().filter(|(_, id)| *id == 9);
        vendor
            .map(|(at, _)| Structure {
                at,
                kind: self.device.config_read(at + 3, Width::One),
                bar: self.device.config_read(at + 4, Width::One),
                offset: self.device.config_read(at + 8, Width::Four),
                bytes: self.device.config_read(at + 12, Width::Four),
            })
            .collect()
    }

    /// Turns MSI-X on and programs all vectors with data 0x40 and their number.
    fn turn_msix_on(&mut self) {
        for vector in 0..3 {
            let at = u64::from(layout::MSIX_TABLE.offset) + 16 * vector;
            self.set(at, Width::Eight, 0xfee0_0000);
            self.set(at + 8, Width::Four, 0x40 + vector);
            self.set(at + 12, Width::Four, 0);
        }
        self.msix_control(0x8000);
    }

    fn msix_control(&mut self, value: u32) {
        let (at, _) = self.capabilities().into_iter().find(|(_, id)| *id == 0x11).unwrap();
        self.device.config_write(at + 2, Width::Two, value);
    }

    fn set_vector(&mut self, queue: u16, vector: u16) -> u16 {
        self.set(common::QUEUE_SELECT, Width::Two, queue.into());
        self.set(common::QUEUE_MSIX_VECTOR, Width::Two, vector.into());
        self.get(common::QUEUE_MSIX_VECTOR, Width::Two) as u16
    }

    fn set_config_vector(&mut self, vector: u16) -> u16 {
        self.set(common::CONFIG_MSIX_VECTOR, Width::Two, vector.into());
        self.get(common::CONFIG_MSIX_VECTOR, Width::Two) as u16
    }

    fn status(&mut self) -> u8 {
        self.get(common::DEVICE_STATUS, Width::One) as u8
    }

    fn set_status(&mut self, value: u8) {
        self.set(common::DEVICE_STATUS, Width::One, value.into());
    }

    fn agree(&mut self, wanted: u64) -> u64 {
        self.set_status(0);
        self.set_status(3);
        let mut chosen = 0;
        for word in [0, 1] {
            self.set(common::DEVICE_FEATURE_SELECT, Width::Four, word);
            let offered = self.get(common::DEVICE_FEATURE, Width::Four) << (32 * word);
            let part = offered & (wanted | feature::VERSION_1);
            chosen |= part;
            self.set(common::DRIVER_FEATURE_SELECT, Width::Four, word);
            self.set(common::DRIVER_FEATURE, Width::Four, part >> (32 * word));
        }
        self.set_status(11);
        assert_eq!(self.status(), 11);
        chosen
    }

    fn set_up(&mut self, wanted: u64) -> [DriverQueue; 2] {
        let chosen = self.agree(wanted);
        let queues = queues(&self.memory, chosen);
        for queue in &queues {
            self.enable(queue);
            self.set_vector(queue.index(), queue.index() + 1);
        }
        self.set_config_vector(0);
        self.set_status(15);
        queues
    }

    fn enable(&mut self, queue: &DriverQueue) {
        let layout = queue.layout();
        self.set(common::QUEUE_SELECT, Width::Two, queue.index().into());
        self.set(common::QUEUE_SIZE, Width::Two, layout.size.into());
        // Both ways drivers write an address.
        self.set(common::QUEUE_DESC, Width::Eight, layout.descriptors);
        for (at, address) in [(common::QUEUE_DRIVER, layout.driver), (common::QUEUE_DEVICE, layout.device)] {
            self.set(at, Width::Four, address & 0xffff_ffff);
            self.set(at + 4, Width::Four, address >> 32);
        }
        self.set(common::QUEUE_ENABLE, Width::Two, 1);
        assert_eq!(self.get(common::QUEUE_ENABLE, Width::Two), 1);
    }

    fn ask(&mut self, queue: &mut DriverQueue, text: &[u8]) {
        if put(queue, text) {
            self.ring(queue.index());
        }
    }

    fn ring(&mut self, index: u16) {
        self.set(common::QUEUE_SELECT, Width::Two, index.into());
        let at = self.get(common::QUEUE_NOTIFY_OFF, Width::Two) * u64::from(layout::NOTIFY_MULTIPLIER);
        self.set(u64::from(layout::NOTIFY) + at, Width::Two, index.into());
    }
}

#[test]
fn its_structures_are_found_by_their_capabilities() {
    let mut guest = guest(false);
    assert_eq!(guest.device.config_read(offset::VENDOR, Width::Four), 0x1044_1af4);
    assert_eq!(guest.device.config_read(offset::REVISION, Width::One), 1);
    let structures = guest.structures();
    let kinds: Vec<u32> = structures.iter().map(|structure| structure.kind).collect();
    assert_eq!(kinds, [1, 2, 3, 4, 5]);
    for (n, structure) in structures.iter().take(4).enumerate() {
        assert_eq!(structure.bar, 0);
        assert!(u64::from(structure.offset + structure.bytes) <= layout::BAR_BYTES);
        let later = structures.iter().take(4).skip(n + 1);
        assert!(
            later.clone().all(|other| structure.offset >> 12 != other.offset >> 12),
            "pages of their own"
        );
    }
    // The common configuration starts where it says.
    let at = u64::from(structures[0].offset);
    guest.set(at, Width::Four, 1);
    assert_eq!(guest.get(at + 4, Width::Four) & 1, 1, "version 1 is offered");
    assert_eq!(guest.get(common::NUM_QUEUES, Width::Two), 2);
    assert_eq!(guest.get(common::QUEUE_SIZE, Width::Two), 256);
    assert!(guest.device.bar_read(1, 0, Width::Four).is_err());
    assert!(guest.device.bar_write(1, 0, Width::Four, 0).is_err());
}

#[test]
fn requests_are_answered_with_messages_to_each_queues_vector() {
    for packed in [false, true] {
        let mut guest = guest(packed);
        guest.turn_msix_on();
        let mut queues = guest.set_up(u64::MAX);
        for round in 0..300_u32 {
            for queue in &mut queues {
                let text = (round | 0x0100_0000).to_le_bytes();
                guest.ask(queue, &text);
                // Before the answer is taken, which asks for an interrupt at the next one.
                let mut seen = Vec::new();
                assert!(eventually(|| {
                    seen.extend(guest.messages());
                    !seen.is_empty()
                }));
                assert_eq!(seen, [(0xfee0_0000, 0x41 + u32::from(queue.index()))]);
                assert_eq!(answer(queue), (round | 0x0100_0000).to_be_bytes());
            }
        }
        assert!(!guest.level(), "messages leave the line alone");
        assert_eq!(guest.get(layout::ISR.into(), Width::One), 0);
    }
}

#[test]
fn without_msix_the_line_is_up_until_the_status_is_read() {
    let mut guest = guest(false);
    let mut queues = guest.set_up(u64::MAX);
    guest.ask(&mut queues[0], b"ab");
    assert!(eventually(|| guest.level()));
    assert_eq!(guest.device.config_read(offset::STATUS, Width::Two) & 8, 8);
    assert_eq!(guest.get(layout::ISR.into(), Width::One), 1);
    assert!(!guest.level());
    assert_eq!(guest.get(layout::ISR.into(), Width::One), 0, "reading takes it");
    assert_eq!(guest.device.config_read(offset::STATUS, Width::Two) & 8, 0);
    guest.interrupt().config_changed();
    guest.interrupt().queue_used(1);
    assert_eq!(guest.get(layout::ISR.into(), Width::One), 3);
    assert!(guest.messages().is_empty());
}

#[test]
fn the_command_register_and_msix_silence_the_line() {
    let mut guest = guest(false);
    guest.interrupt().queue_used(0);
    assert!(guest.level());
    guest.device.config_write(offset::COMMAND, Width::Two, command::INTX_DISABLE.into());
    assert!(!guest.level());
    assert_eq!(guest.device.config_read(offset::STATUS, Width::Two) & 8, 8, "still pending");
    guest.device.config_write(offset::COMMAND, Width::Two, 0);
    assert!(guest.level());
    guest.msix_control(0x8000);
    assert!(!guest.level(), "what waits when messages begin stays off the line");
    guest.msix_control(0);
    assert!(guest.level());
    guest.set_status(0);
    assert!(!guest.level(), "a reset takes it down");
}

#[test]
fn masked_vectors_wait() {
    let mut guest = guest(false);
    guest.turn_msix_on();
    guest.set_up(u64::MAX);
    let control = u64::from(layout::MSIX_TABLE.offset) + 16 + 12;
    guest.set(control, Width::Four, 1);
    guest.interrupt().queue_used(0);
    guest.interrupt().queue_used(0);
    guest.interrupt().queue_used(1);
    assert_eq!(guest.messages(), [(0xfee0_0000, 0x42)]);
    assert_eq!(guest.get(layout::MSIX_PENDING.offset.into(), Width::Eight), 2);
    guest.set(control, Width::Four, 0);
    assert_eq!(guest.messages(), [(0xfee0_0000, 0x41)], "once");
    guest.msix_control(0xc000);
    guest.interrupt().config_changed();
    assert!(guest.messages().is_empty());
    guest.msix_control(0x8000);
    assert_eq!(guest.messages(), [(0xfee0_0000, 0x40)]);
    assert!(
        guest.device.bar_write(0, layout::MSIX_PENDING.offset.into(), Width::Four, 1).is_err(),
        "read only"
    );
}

#[test]
fn a_vector_that_does_not_exist_reads_back_as_none() {
    let mut guest = guest(false);
    guest.turn_msix_on();
    assert_eq!(guest.set_vector(0, 2), 2);
    assert_eq!(guest.set_vector(0, 3), NO_VECTOR);
    assert_eq!(guest.set_vector(2, 0), NO_VECTOR, "no such queue");
    assert_eq!(guest.set_config_vector(0x7ff), NO_VECTOR);
    guest.interrupt().queue_used(0);
    guest.interrupt().queue_used(7);
    guest.interrupt().config_changed();
    assert!(guest.messages().is_empty() && !guest.level());
    assert_eq!((guest.set_vector(0, 2), guest.set_config_vector(1)), (2, 1));
    guest.set_status(0);
    guest.set(common::QUEUE_SELECT, Width::Two, 0);
    assert_eq!(
        guest.get(common::QUEUE_MSIX_VECTOR, Width::Two),
        u64::from(NO_VECTOR),
        "forgotten by a reset"
    );
    assert_eq!(guest.get(common::CONFIG_MSIX_VECTOR, Width::Two), u64::from(NO_VECTOR));
}

#[test]
fn a_device_that_needs_a_reset_says_so_by_the_configurations_vector() {
    let mut guest = guest(false);
    guest.turn_msix_on();
    let mut queues = guest.set_up(u64::MAX);
    queues[1].put_available(0x7777);
    queues[1].publish();
    guest.ring(1);
    assert!(eventually(|| guest.status() == 15 | status::NEEDS_RESET));
    assert!(eventually(|| guest.messages() == [(0xfee0_0000, 0x40)]));
    let mut queues = guest.set_up(u64::MAX);
    guest.ask(&mut queues[1], b"ab");
    assert_eq!(answer(&mut queues[1]), b"ba");
}

#[test]
fn registers_read_the_same_in_every_width() {
    let mut guest = guest(true);
    guest.set_up(u64::MAX);
    guest.set(common::DEVICE_FEATURE_SELECT, Width::Four, 1);
    guest.set(common::QUEUE_SELECT, Width::Two, 1);
    let bytes: Vec<u64> = (0..0x40).map(|at| guest.get(at, Width::One)).collect();
    assert_eq!(bytes[0x12..0x16], [2, 0, 15, 0], "number of queues, status, generation");
    for width in Width::ALL {
        for at in 0..0x40_u64 {
            let parts =
                (0..width.bytes()).map(|n| bytes.get((at + n) as usize).copied().unwrap_or(0) << (8 * n));
            assert_eq!(guest.get(at, width), parts.sum::<u64>(), "{width:?} at {at:#x}");
        }
    }
    assert!(guest.device.bar_read(0, 0x40, Width::One).is_err());
    assert_eq!(guest.get(u64::from(layout::NOTIFY) + 4, Width::Two), 0);
}

#[test]
fn the_configuration_is_read_and_written_in_every_width() {
    let mut guest = guest(false);
    let at = u64::from(layout::DEVICE);
    assert_eq!(guest.get(at, Width::Eight), u64::from_le_bytes(*b"hello co"));
    assert_eq!(guest.get(at + 10, Width::Four), u64::from_le_bytes(*b"ig\0\0\0\0\0\0"));
    guest.set(at + 1, Width::One, b'a'.into());
    assert_eq!(guest.get(at, Width::Two), u64::from(u16::from_le_bytes(*b"ha")));
}

impl Guest {
    /// Points the window capability.
    fn window(&mut self, bar: u32, at: u32, bytes: u32) -> u16 {
        let window = self.structures().pop().unwrap().at;
        self.device.config_write(window + 4, Width::One, bar);
        self.device.config_write(window + 8, Width::Four, at);
        self.device.config_write(window + 12, Width::Four, bytes);
        window + 16
    }
}

#[test]
fn structures_are_reached_through_configuration_space() {
    let mut guest = guest(false);
    let data = guest.window(0, common::DEVICE_STATUS as u32, 1);
    guest.device.config_write(data, Width::One, 3);
    assert_eq!((guest.status(), guest.device.config_read(data, Width::One)), (3, 3));
    guest.window(0, common::QUEUE_SELECT as u32, 2);
    guest.device.config_write(data, Width::Two, 1);
    guest.window(0, common::QUEUE_SIZE as u32, 2);
    assert_eq!(guest.device.config_read(data, Width::Four), 64);
    guest.window(0, layout::DEVICE + 4, 4);
    assert_eq!(guest.device.config_read(data, Width::Four), u32::from_le_bytes(*b"o co"));
    guest.interrupt().queue_used(0);
    guest.window(0, layout::ISR, 1);
    assert_eq!(guest.device.config_read(data, Width::One), 1);
    assert!(!guest.level(), "the status was read");
}

#[test]
fn a_window_onto_nothing_does_nothing() {
    let mut guest = guest(false);
    let end = layout::BAR_BYTES as u32;
    let status = common::DEVICE_STATUS as u32;
    for (bar, at, bytes) in [
        (1, status, 1),
        (0, status, 0),
        (0, status, 3),
        (0, status, 8),
        (0, status, u32::MAX),
        (0, 0x12, 4),
        (0, end, 1),
        (0, end - 2, 4),
        (0, u32::MAX, 4),
        (0, u32::MAX - 3, 4),
    ] {
        let data = guest.window(bar, at, bytes);
        guest.device.config_write(data, Width::Four, 3);
        assert_eq!(guest.device.config_read(data, Width::Four), 3, "{bar} {at:#x} {bytes}: as plain memory");
        assert_eq!(guest.status(), 0);
    }
    let data = guest.window(0, layout::MSIX_TABLE.offset - 4, 4);
    assert_eq!(guest.device.config_read(data, Width::Four), 0, "doorbells");
    guest.window(0, 0x1004, 4);
    assert_eq!(guest.device.config_read(data, Width::Four), u32::MAX, "nobody");
}

#[test]
fn queues_are_reset_by_register() {
    let mut guest = guest(false);
    let mut queues = guest.set_up(u64::MAX);
    guest.set(common::QUEUE_SELECT, Width::Two, 0);
    guest.set(common::QUEUE_RESET, Width::Two, 1);
    assert_eq!(guest.get(common::QUEUE_RESET, Width::Two), 0);
    assert_eq!(guest.get(common::QUEUE_ENABLE, Width::Two), 0);
    assert_eq!(guest.get(common::QUEUE_DESC, Width::Eight), 0);
    guest.ask(&mut queues[1], b"ab");
    assert_eq!(answer(&mut queues[1]), b"ba");
    let features = feature::VERSION_1 | feature::EVENT_IDX;
    let mut again = DriverQueue::new(guest.memory.clone(), 0, 0, QUEUE_BYTES, 16, features);
    guest.enable(&again);
    guest.ask(&mut again, b"cd");
    assert_eq!(answer(&mut again), b"dc");
}

#[test]
fn nothing_moves_after_a_reset() {
    let mut guest = guest(true);
    for round in 0..20 {
        // The vectors outlive a reset of the device, the queues' choice of one does not.
        guest.turn_msix_on();
        let mut queues = guest.set_up(u64::MAX);
        for queue in &mut queues {
            (0..30).for_each(|_| _ = queue.add(&[b"0123456789"], &[10]));
            queue.publish();
        }
        guest.ring(0);
        guest.ring(1);
        (0..round * 50).for_each(|_| std::hint::spin_loop());
        if round % 2 == 0 {
            guest.set_status(0)
        } else {
            guest.device.reset()
        }
        guest.messages();
        queues.iter_mut().for_each(|queue| while queue.used().is_some() {});
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(queues.iter_mut().all(|queue| queue.used().is_none()), "an answer after the reset");
        assert!(guest.messages().is_empty() && !guest.level(), "an interrupt after the reset");
    }
}

#[test]
fn power_up_forgets_what_the_driver_chose() {
    let mut guest = guest(false);
    guest.turn_msix_on();
    guest.set_up(u64::MAX);
    guest.set(common::DEVICE_FEATURE_SELECT, Width::Four, 1);
    guest.device.reset();
    guest.device.config_mut().reset();
    assert_eq!(guest.get(common::DEVICE_FEATURE_SELECT, Width::Eight) as u32, 0);
    assert_eq!((guest.status(), guest.get(common::QUEUE_SELECT, Width::Two)), (0, 0));
    guest.interrupt().queue_used(0);
    assert!(guest.level() && guest.messages().is_empty(), "the line again");
}

/// Both of a function's faces as one device: its window, then its configuration space.
struct Faces<'a>(&'a mut VirtioPci);

const CONFIG_AT: u64 = 0x9000;

impl BusDevice for Faces<'_> {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        match offset.checked_sub(CONFIG_AT) {
            // The root passes four bytes at most, within the space.
            Some(at) if width != Width::Eight => Ok(self.0.config_read((at % 0x100) as u16, width).into()),
            _ => self.0.bar_read(0, offset % layout::BAR_BYTES, width),
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        match offset.checked_sub(CONFIG_AT) {
            Some(at) if width != Width::Eight => {
                self.0.config_write((at % 0x100) as u16, width, value as u32);
                Ok(())
            }
            _ => self.0.bar_write(0, offset % layout::BAR_BYTES, width, value),
        }
    }
}

fn squeezed(offset: u64) -> u64 {
    // Pages are mostly empty: common, ISR, device, doorbells, table, pending bits, configuration space.
    let page = [0, 0, 0, 0x1000, 0x2000, 0x3000, 0x4000, 0x8000, CONFIG_AT, CONFIG_AT, CONFIG_AT];
    page[(offset / 0x100) as usize % page.len()] + offset % 0x100
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_access_hurts(steps in any_access::steps(0xb00)) {
        let mut guest = guest(true);
        for step in steps {
            let step = match step {
                Step::Read(offset, width) => Step::Read(squeezed(offset), width),
                Step::Write(offset, width, value) => Step::Write(squeezed(offset), width, value),
                // From a device at work, too.
                Step::Poke(0..128) => {
                    drop(guest.set_up(u64::MAX));
                    continue;
                }
                Step::Poke(_) => {
                    guest.turn_msix_on();
                    continue;
                }
                step => step,
            };
            any_access::perform(&mut Faces(&mut guest.device), step);
        }
    }
}
