use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::any_access::{self, Step};
use crate::interrupt::IrqInput;
use crate::time::ManualClock;

#[derive(Default)]
struct Line(Mutex<(bool, usize)>);

impl IrqInput for Line {
    fn set_level(&self, _pin: u32, level: bool) {
        let mut state = self.0.lock().unwrap();
        state.1 += usize::from(level && !state.0);
        state.0 = level;
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl ByteSink for Sink {
    fn write(&mut self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }
}

#[derive(Clone, Default)]
struct Ready(Arc<AtomicUsize>);

impl InputReady for Ready {
    fn input_ready(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Machine {
    serial: Serial16550,
    line: Arc<Line>,
    sink: Sink,
    ready: Ready,
    clock: Arc<ManualClock>,
}

fn machine() -> Machine {
    let (line, sink, ready) = (Arc::new(Line::default()), Sink::default(), Ready::default());
    let clock = Arc::new(ManualClock::new(1));
    let serial = Serial16550::new(
        IrqLine::new(line.clone(), 0),
        Box::new(sink.clone()),
        Box::new(ready.clone()),
        clock.clone(),
        Arc::new(()),
    );
    Machine { serial, line, sink, ready, clock }
}

impl Machine {
    fn write(&mut self, offset: u64, value: u8) {
        self.serial.write(offset, Width::One, value.into()).unwrap();
    }

    fn read(&mut self, offset: u64) -> u8 {
        self.serial.read(offset, Width::One).unwrap() as u8
    }

    fn irq(&self) -> bool {
        self.line.0.lock().unwrap().0
    }

    /// FIFOs on with a trigger of eight, received-data interrupt, 115,200 baud: a Linux console.
    fn linux(mut self) -> Self {
        self.write(offset::LCR, 0x83);
        self.write(0, 1);
        self.write(1, 0);
        self.write(offset::LCR, 0x03);
        self.write(offset::IIR_FCR, 0x87);
        self.write(offset::MCR, 0x0b);
        self.write(offset::IER, 0x05);
        self
    }

    fn advance(&mut self) {
        let next = self.serial.next_deadline_ns().expect("a deadline");
        self.serial.advance(self.clock.advance_to(next));
    }
}

#[test]
fn registers_after_reset() {
    let mut machine = machine();
    for (offset, value) in [(0, 0), (1, 0), (2, 0x01), (3, 0), (4, 0), (5, 0x60), (6, 0xb0), (7, 0)] {
        assert_eq!(machine.read(offset), value, "{offset}");
    }
    assert_eq!(machine.serial.read(8, Width::One), Err(Unclaimed));
}

/// The steps by which Linux' 8250 driver tells chips apart.
#[test]
fn linux_detects_a_16550a() {
    let mut machine = machine();
    // IER has four bits that read back.
    machine.write(offset::IER, 0);
    assert_eq!(machine.read(offset::IER), 0);
    machine.write(offset::IER, 0x0f);
    assert_eq!(machine.read(offset::IER), 0x0f);
    machine.write(offset::IER, 0x4f);
    assert_eq!(machine.read(offset::IER), 0x0f, "no XScale");
    machine.write(offset::IER, 0);
    // Loopback brings the outputs back as inputs.
    machine.write(offset::MCR, 0x1a);
    assert_eq!(machine.read(offset::MSR) & 0xf0, 0x90);
    machine.write(offset::MCR, 0);
    // FIFOs, and no enhanced registers behind DLAB or 0xbf.
    machine.write(offset::IIR_FCR, 0x01);
    assert_eq!(machine.read(offset::IIR_FCR) >> 6, 3);
    for lcr in [0x80, 0xbf] {
        machine.write(offset::LCR, lcr);
        assert_ne!(machine.read(2), 0);
    }
    // No 64-byte FIFO.
    for lcr in [0x00, 0x80] {
        machine.write(offset::LCR, lcr);
        machine.write(offset::IIR_FCR, 0x21);
        assert_eq!(machine.read(offset::IIR_FCR) >> 5, 6);
    }
    machine.write(offset::LCR, 0);
    // A scratch register.
    for value in [0x55, 0xaa] {
        machine.write(offset::SCRATCH, value);
        assert_eq!(machine.read(offset::SCRATCH), value);
    }
    // The divisor latch is its own pair of registers.
    machine.write(offset::LCR, 0x83);
    machine.write(0, 0x34);
    machine.write(1, 0x12);
    assert_eq!((machine.read(0), machine.read(1)), (0x34, 0x12));
    machine.write(offset::LCR, 0x03);
    assert_eq!(machine.read(1), 0);
    assert!(machine.sink.0.lock().unwrap().is_empty());
}

#[test]
fn enabling_the_transmit_interrupt_raises_it_each_time() {
    // Linux tests for a chip that does not.
    let mut machine = machine().linux();
    for _ in 0..2 {
        machine.write(offset::IER, 0x02);
        assert!(machine.irq());
        assert_eq!(machine.read(offset::IIR_FCR) & 0x0f, iir::TRANSMIT_EMPTY);
        assert!(!machine.irq(), "reading the identification takes it down");
        assert_eq!(machine.read(offset::IIR_FCR) & 0x0f, iir::NONE);
        machine.write(offset::IER, 0);
    }
}

#[test]
fn output_goes_out_with_an_edge_per_batch() {
    let mut machine = machine().linux();
    machine.write(offset::IER, 0x07);
    for batch in 0..4 {
        assert!(machine.irq(), "{batch}");
        assert_eq!(machine.read(offset::IIR_FCR) & 0x0f, iir::TRANSMIT_EMPTY);
        for byte in 0..16 {
            machine.write(0, b'a' + byte);
        }
    }
    assert_eq!(machine.sink.0.lock().unwrap().len(), 64);
    assert_eq!(machine.read(offset::IIR_FCR) & 0x0f, iir::TRANSMIT_EMPTY);
    machine.write(offset::IER, 0x05);
    let edges = machine.line.0.lock().unwrap().1;
    for _ in 0..1000 {
        machine.read(offset::LSR);
    }
    assert_eq!(machine.line.0.lock().unwrap().1, edges, "no storm once there is nothing to send");
}

#[test]
fn a_typed_byte_interrupts_by_time_out() {
    let mut machine = machine().linux();
    assert_eq!(machine.serial.enqueue(b"x"), 1);
    assert!(!machine.irq(), "below the trigger");
    assert_eq!(machine.read(offset::LSR) & 1, 1, "but it can be polled");

    // Four characters of ten bits at 115,200 baud.
    assert_eq!(machine.serial.next_deadline_ns(), Some(347_222));
    machine.advance();

    assert!(machine.irq());
    assert_eq!(machine.read(offset::IIR_FCR), 0xc0 | iir::TIMEOUT);
    assert_eq!(machine.read(0), b'x');
    assert!(!machine.irq());
    assert_eq!(machine.read(offset::LSR), 0x60);
    assert_eq!(machine.serial.next_deadline_ns(), None);
}

#[test]
fn a_burst_interrupts_at_the_trigger_and_the_rest_by_time_out() {
    let mut machine = machine().linux();
    assert_eq!(machine.serial.enqueue(b"0123456789"), 10);
    assert!(machine.irq());
    assert_eq!(machine.read(offset::IIR_FCR) & 0x0f, iir::RECEIVED);
    for byte in b"012" {
        assert_eq!(machine.read(0), *byte);
    }
    assert!(!machine.irq(), "seven are left");
    machine.advance();
    assert_eq!(machine.read(offset::IIR_FCR) & 0x0f, iir::TIMEOUT);
    assert_eq!(machine.read(0), b'3');
    assert!(!machine.irq(), "reading starts the time-out again");
    machine.advance();
    assert!(machine.irq());
}

#[test]
fn triggers() {
    for (bits, level) in [(0, 1), (1, 4), (2, 8), (3, 14)] {
        let mut machine = machine().linux();
        machine.write(offset::IIR_FCR, bits << 6 | 1);
        for n in 1..=16 {
            assert_eq!(machine.serial.enqueue(b"x"), 1);
            assert_eq!(machine.irq(), n >= level, "{n} of {level}");
        }
    }
}

#[test]
fn without_fifos_each_byte_interrupts() {
    let mut machine = machine().linux();
    machine.write(offset::IIR_FCR, 0);
    assert_eq!(machine.serial.enqueue(b"ab"), 2);
    assert!(machine.irq());
    assert_eq!(machine.read(offset::IIR_FCR), iir::RECEIVED);
    assert_eq!((machine.read(0), machine.read(0)), (b'a', b'b'));
    assert!(!machine.irq());
}

#[test]
fn a_long_paste_is_held_back_and_arrives_whole() {
    let mut machine = machine().linux();
    let input: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
    let mut offered = machine.serial.enqueue(&input);
    assert!(offered < input.len());
    // The FIFO has taken some of the queue's.
    offered += machine.serial.enqueue(&input[offered..]);
    assert_eq!(machine.serial.enqueue(&input[offered..]), 0);

    let mut received = Vec::new();
    let mut told = 0;
    while received.len() < input.len() {
        if machine.read(offset::LSR) & 1 != 0 {
            received.push(machine.read(0));
        }
        let tellings = machine.ready.0.load(Ordering::SeqCst);
        if tellings != told {
            told = tellings;
            offered += machine.serial.enqueue(&input[offered..]);
        }
    }

    assert_eq!(received, input);
    assert!((2..50).contains(&told), "{told}");
    assert_eq!(machine.read(offset::LSR) & 1, 0);
}

#[test]
fn the_line_is_connected_by_out2() {
    let mut machine = machine().linux();
    machine.write(offset::MCR, 0x03);
    let _ = machine.serial.enqueue(b"0123456789");
    assert!(!machine.irq());
    assert_eq!(machine.read(offset::IIR_FCR) & 0x0f, iir::RECEIVED, "pending all the same");
    machine.write(offset::MCR, 0x0b);
    assert!(machine.irq());
}

#[test]
fn loopback_sends_to_itself_and_holds_the_line_back() {
    let mut machine = machine().linux();
    machine.write(offset::MCR, 0x1f);
    let _ = machine.serial.enqueue(b"z");
    machine.write(0, b'q');
    assert_eq!(machine.read(0), b'q');
    assert_eq!(machine.read(offset::LSR) & 1, 0);
    assert!(machine.sink.0.lock().unwrap().is_empty());
    for n in 0..17 {
        machine.write(0, n);
    }
    assert_eq!(machine.read(offset::LSR) & lsr::OVERRUN, lsr::OVERRUN);
    assert_eq!(machine.read(offset::LSR) & lsr::OVERRUN, 0);
    machine.write(offset::IIR_FCR, 0x83);
    machine.write(offset::MCR, 0x0b);
    assert_eq!(machine.read(0), b'z', "it waited");
}

#[test]
fn modem_lines_change_in_loopback() {
    let mut machine = machine();
    machine.write(offset::MCR, 0x10);
    assert_eq!(machine.read(offset::MSR), 0x0b);
    assert_eq!(machine.read(offset::MSR), 0x00);
    for (mcr, msr) in [(0x11, 0x22), (0x12, 0x13), (0x14, 0x41), (0x18, 0x8c)] {
        machine.write(offset::MCR, mcr);
        assert_eq!(machine.read(offset::MSR), msr, "{mcr:#x}");
    }
}

#[test]
fn a_break_is_a_line_status_interrupt() {
    let mut machine = machine().linux();
    machine.serial.receive_break();
    assert!(machine.irq());
    assert_eq!(machine.read(offset::IIR_FCR) & 0x0f, iir::LINE_STATUS);
    assert_eq!(machine.read(offset::LSR), 0x60 | lsr::BREAK | lsr::DATA_READY | lsr::FIFO_ERROR);
    assert!(!machine.irq());
    assert_eq!(machine.read(0), 0);
    assert_eq!(machine.read(offset::LSR), 0x60);
}

#[test]
fn clearing_the_fifo_and_reset_drop_input() {
    let mut machine = machine().linux();
    let _ = machine.serial.enqueue(b"0123456789");
    machine.write(offset::IIR_FCR, 0x83);
    assert!(!machine.irq());
    assert_eq!(machine.read(offset::LSR) & 1, 0);

    let _ = machine.serial.enqueue(&[0; 5000]);
    machine.serial.reset();
    assert!(!machine.irq());
    assert_eq!(machine.read(offset::LSR), 0x60);
    assert_eq!(machine.ready.0.load(Ordering::SeqCst), 1, "the one that was refused is told");
    assert_eq!(machine.serial.next_deadline_ns(), None);
}

proptest! {
    #[test]
    fn any_access_is_survived(steps in any_access::steps(8)) {
        let mut machine = machine();
        for step in steps {
            any_access::perform(&mut machine.serial, step);
            match step {
                Step::Wait(ns) => {
                    let now = machine.clock.advance_by(ns % (1 << 50));
                    machine.serial.advance(now);
                    prop_assert!(machine.serial.next_deadline_ns().is_none_or(|next| next > now));
                }
                Step::Poke(value) => {
                    let input = vec![value; usize::from(value) * 40];
                    prop_assert!(machine.serial.enqueue(&input) <= input.len());
                    if value & 7 == 0 {
                        machine.serial.receive_break();
                    }
                }
                _ => {}
            }
        }
    }

    /// Whatever the driver's pattern of reads, input arrives in order and nothing is lost.
    #[test]
    fn input_arrives_in_order(chunks in prop::collection::vec((1_usize..600, 0_usize..40), 1..40), fifo in any::<bool>()) {
        let mut machine = machine().linux();
        machine.write(offset::IIR_FCR, u8::from(fifo) * 0x81);
        let (mut sent, mut received): (Vec<u8>, Vec<u8>) = Default::default();
        for (count, reads) in chunks {
            let chunk: Vec<u8> = (0..count).map(|n| (sent.len() + n) as u8).collect();
            let taken = machine.serial.enqueue(&chunk);
            sent.extend(&chunk[..taken]);
            for _ in 0..reads {
                if machine.read(offset::LSR) & 1 != 0 {
                    received.push(machine.read(0));
                }
            }
        }
        while machine.read(offset::LSR) & 1 != 0 {
            received.push(machine.read(0));
        }
        prop_assert_eq!(sent, received);
    }
}
