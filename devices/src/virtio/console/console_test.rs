use std::sync::atomic::AtomicUsize;

use super::*;
use crate::virtio::mock::{Driver, Setup};

#[derive(Clone, Default)]
struct Screen {
    text: Arc<Mutex<Vec<u8>>>,
    told: Arc<AtomicUsize>,
}

impl ByteSink for Screen {
    fn write(&mut self, bytes: &[u8]) {
        self.text.lock().unwrap().extend_from_slice(bytes);
    }
}

impl InputReady for Screen {
    fn input_ready(&mut self) {
        self.told.fetch_add(1, Ordering::SeqCst);
    }
}

impl Screen {
    fn told(&self) -> usize {
        self.told.load(Ordering::SeqCst)
    }

    fn text(&self) -> Vec<u8> {
        std::mem::take(&mut self.text.lock().unwrap())
    }
}

fn console() -> (Console, ConsoleHandle, Screen) {
    let screen = Screen::default();
    let console = Console::new(Box::new(screen.clone()), Box::new(screen.clone()));
    let handle = console.handle();
    (console, handle, screen)
}

fn driver(setup: Setup) -> (Driver<Console>, ConsoleHandle, Screen) {
    let (console, handle, screen) = console();
    (Driver::new(console, setup), handle, screen)
}

#[test]
fn output_reaches_the_sink() {
    for packed in [false, true] {
        let (mut driver, _, screen) = driver(Setup { packed, ..Setup::default() });
        let long: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
        assert_eq!(driver.request(TX, &[b"Hello ", b"host"], &[]).unwrap().written, 0);
        assert_eq!(screen.text(), b"Hello host");
        driver.request(TX, &[&long], &[]).unwrap();
        assert_eq!(screen.text(), long);
        driver.request(TX, &[], &[16]).unwrap();
        assert!(screen.text().is_empty());
    }
}

#[test]
fn output_of_one_request_is_bounded() {
    let (mut driver, _, screen) = driver(Setup { queue_size: 4, ..Setup::default() });
    driver.request(TX, &[&vec![1; 1_500_000]], &[]).unwrap();
    assert_eq!(screen.text().len() as u64, MAX_OUTPUT_BYTES);
}

#[test]
fn input_fills_the_drivers_buffers_in_order() {
    for packed in [false, true] {
        let (mut driver, handle, screen) = driver(Setup { packed, ..Setup::default() });
        assert_eq!(handle.enqueue(b"early"), 5, "kept for a guest that does not read yet");
        driver.send(RX, &[], &[3]);
        driver.send(RX, &[], &[8]);
        let used = driver.wait(RX).unwrap();
        assert_eq!((used.written, &used.bytes[..]), (3, &b"ear"[..]));
        let used = driver.wait(RX).unwrap();
        assert_eq!((used.written, &used.bytes[..2]), (2, &b"ly"[..]));
        (0..4).for_each(|_| _ = driver.send(RX, &[], &[4]));
        assert_eq!(handle.enqueue(b"typed later"), 11);
        let mut all: Vec<u8> = Vec::new();
        while all.len() < 11 {
            let used = driver.wait(RX).unwrap();
            all.extend(&used.bytes[..used.written as usize]);
        }
        assert_eq!(all, b"typed later");
        assert_eq!(driver.queues[0].in_flight(), 1, "a buffer without input waits");
        assert_eq!(screen.told(), 0, "nobody was refused");
    }
}

#[test]
fn input_is_held_back_when_the_guest_does_not_read() {
    let (mut driver, handle, screen) = driver(Setup::default());
    assert_eq!(handle.enqueue(&[1; INPUT_BYTES - 10]), INPUT_BYTES - 10);
    assert_eq!(handle.enqueue(&[2; 30]), 10);
    assert_eq!(handle.enqueue(&[3; 30]), 0);
    assert_eq!(screen.told(), 0);
    assert_eq!(driver.request(RX, &[], &[100]).unwrap().written, 100);
    assert_eq!(screen.told(), 1);
    assert_eq!(handle.enqueue(&[2; 20]), 20);
    driver.request(RX, &[], &[5000]).unwrap();
    assert_eq!(screen.told(), 1, "told once");
    assert_eq!(handle.enqueue(&[]), 0);
}

#[test]
fn the_screens_size_is_told() {
    let (driver, handle, _) = driver(Setup::default());
    let size = |driver: &Driver<Console>| {
        let mut bytes = [9; 14];
        driver.device.read_config(0, &mut bytes);
        assert_eq!(bytes[4..], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        [bytes[config::COLS], bytes[config::COLS + 1], bytes[config::ROWS], bytes[config::ROWS + 1]]
    };
    assert_eq!(size(&driver), [80, 0, 25, 0]);
    let before = driver.device.config_generation();
    handle.set_size(300, 50);
    assert_eq!(size(&driver), [44, 1, 50, 0]);
    assert_eq!(driver.interrupt.config_changes(), 1);
    assert_ne!(driver.device.config_generation(), before);
    handle.set_size(300, 50);
    assert_eq!(driver.interrupt.config_changes(), 1, "it is the same");
}

#[test]
fn emergency_writes_need_no_driver() {
    let (mut console, _, screen) = console();
    b"panic".iter().for_each(|byte| console.write_config(8, &[*byte, 0, 0, 0]));
    console.write_config(9, b"x");
    console.write_config(0, &[1; 8]);
    console.write_config(u64::MAX, b"x");
    console.write_config(8, b"");
    assert_eq!(screen.text(), b"panic");
}

#[test]
fn a_reset_drops_input_and_lets_go_of_who_waits() {
    let (mut driver, handle, screen) = driver(Setup::default());
    assert_eq!(handle.enqueue(&[1; INPUT_BYTES + 1]), INPUT_BYTES);
    (0..2).for_each(|index| drop(driver.device.stop_queue(index)));
    driver.device.deactivate();
    assert_eq!(screen.told(), 1);
    handle.set_size(1, 2);
    assert_eq!(driver.interrupt.config_changes(), 0, "nobody to tell");
    assert_eq!(handle.enqueue(b"new"), 3);
    let device = std::mem::replace(&mut driver.device, console().0);
    driver = Driver::new(device, Setup::default());
    assert_eq!(&driver.request(RX, &[], &[16]).unwrap().bytes[..3], b"new");
    driver.request(TX, &[b"out"], &[]).unwrap();
    assert_eq!(screen.text(), b"out");
}

#[test]
fn a_driver_with_output_is_told_of_the_size_again() {
    let (mut driver, _, _) = driver(Setup::default());
    assert_eq!(driver.interrupt.config_changes(), 0);
    driver.request(TX, &[b"x"], &[]).unwrap();
    let interrupt = driver.interrupt.clone();
    assert!(interrupt.wait(|| interrupt.config_changes() >= 3));
}
