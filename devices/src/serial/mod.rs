//! The 16550A serial port.

mod receiver;
pub mod spec;

use std::sync::Arc;

use self::receiver::Receiver;
use self::spec::{FIFO_BYTES, fcr, ier, iir, lcr, lsr, mcr, msr, offset};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;
use crate::time::{Clock, DeadlineListener, NANOS_PER_SECOND, TimedDevice};

/// Where a serial port's output goes. Called with the port locked.
pub trait ByteSink: Send {
    /// Takes `bytes`. Never blocks the guest for long: a reader that does not keep up loses output or is waited for a
    /// bounded time, as the sink decides. An error is the sink's to report.
    fn write(&mut self, bytes: &[u8]);
}

/// Drops everything.
impl ByteSink for () {
    fn write(&mut self, _bytes: &[u8]) {}
}

/// Collects everything: for tests.
impl ByteSink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Told that the port can take input again after [`Serial16550::enqueue`] took less than was offered. Called with the
/// port locked: it wakes somebody and does nothing else.
pub trait InputReady: Send {
    /// There is room.
    fn input_ready(&mut self);
}

/// Nobody waits to send input.
impl InputReady for () {
    fn input_ready(&mut self) {}
}

/// A 16550A. Bytes leave at once; the line's speed only decides how soon a lone received byte interrupts.
pub struct Serial16550 {
    irq: IrqLine,
    output: Box<dyn ByteSink>,
    ready: Box<dyn InputReady>,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn DeadlineListener>,
    receiver: Receiver,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    /// Errors the line status shows until it is read.
    overrun: u8,
    /// The changes the modem status shows until it is read.
    modem_changes: u8,
    scratch: u8,
    divisor: u16,
    /// The transmit-empty interrupt is up: it is no level, reading the identification takes it down.
    transmit_empty: bool,
    /// The receive time-out has come.
    timed_out: bool,
    /// When it will.
    timeout_ns: Option<u64>,
}

impl Serial16550 {
    /// A port after reset.
    pub fn new(
        irq: IrqLine,
        output: Box<dyn ByteSink>,
        ready: Box<dyn InputReady>,
        clock: Arc<dyn Clock>,
        listener: Arc<dyn DeadlineListener>,
    ) -> Self {
        Self {
            irq,
            output,
            ready,
            clock,
            listener,
            receiver: Receiver::default(),
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            overrun: 0,
            modem_changes: 0,
            scratch: 0,
            // 9,600 baud, what firmware leaves.
            divisor: 12,
            transmit_empty: false,
            timed_out: false,
            timeout_ns: None,
        }
    }

    /// Offers input; gives how many bytes were taken. The rest is to be offered again after
    /// [`InputReady::input_ready`]. Input is kept for a guest that does not read yet.
    #[must_use = "bytes that were not taken must be offered again"]
    pub fn enqueue(&mut self, bytes: &[u8]) -> usize {
        let taken = self.receiver.enqueue(bytes);
        self.receive();
        taken
    }

    /// Tells the guest of a break condition on the line; lost if the queue is full.
    pub fn receive_break(&mut self) {
        self.receiver.enqueue_break();
        self.receive();
    }

    /// Power-up reset. Queued input is dropped; whoever was refused is told of room.
    pub fn reset(&mut self) {
        self.receiver.clear();
        (self.ier, self.fcr, self.lcr, self.mcr, self.scratch) = (0, 0, 0, 0, 0);
        (self.overrun, self.modem_changes, self.divisor) = (0, 0, 12);
        self.transmit_empty = false;
        self.stop_timeout();
        self.drive();
        self.tell_ready();
    }

    fn loops_back(&self) -> bool {
        self.mcr & mcr::LOOPBACK != 0
    }

    fn has_fifos(&self) -> bool {
        self.fcr & fcr::ENABLE != 0
    }

    fn capacity(&self) -> usize {
        if self.has_fifos() { FIFO_BYTES } else { 1 }
    }

    fn trigger(&self) -> usize {
        match self.fcr >> fcr::TRIGGER_SHIFT {
            _ if !self.has_fifos() => 1,
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        }
    }

    /// Lets queued input in and tells of it. In loopback the line is cut off, so it waits.
    fn receive(&mut self) {
        if !self.loops_back() && self.receiver.fill(self.capacity()) {
            self.restart_timeout();
        }
        self.tell_ready();
        self.drive();
    }

    fn tell_ready(&mut self) {
        if self.receiver.take_ready() {
            self.ready.input_ready();
        }
    }

    /// Time of four characters, after which bytes below the trigger interrupt.
    fn timeout_after_ns(&self) -> u64 {
        let stop = if self.lcr & lcr::STOP != 0 { 2 } else { 1 };
        let parity = u64::from(self.lcr & lcr::PARITY != 0);
        let bits = 4 * (1 + u64::from(self.lcr & lcr::WORD_LENGTH) + 5 + parity + stop);
        bits * 16 * u64::from(self.divisor.max(1)) * NANOS_PER_SECOND / spec::CLOCK_HZ
    }

    /// A byte came or went.
    fn restart_timeout(&mut self) {
        self.stop_timeout();
        if self.has_fifos() && self.receiver.len() != 0 && self.receiver.len() < self.trigger() {
            self.timeout_ns = Some(self.clock.now_ns().saturating_add(self.timeout_after_ns()));
            self.listener.deadline_moved();
        }
    }

    fn stop_timeout(&mut self) {
        self.timed_out = false;
        self.timeout_ns = None;
    }

    /// The pending interrupt of highest priority.
    fn interrupt(&self) -> u8 {
        let enabled = |bit: u8| self.ier & bit != 0;
        let waiting = self.receiver.len();
        if enabled(ier::LINE_STATUS) && (self.overrun | self.receiver.errors()) != 0 {
            iir::LINE_STATUS
        } else if enabled(ier::RECEIVED) && waiting >= self.trigger() {
            iir::RECEIVED
        } else if enabled(ier::RECEIVED) && waiting != 0 && self.timed_out {
            iir::TIMEOUT
        } else if enabled(ier::TRANSMIT_EMPTY) && self.transmit_empty {
            iir::TRANSMIT_EMPTY
        } else if enabled(ier::MODEM_STATUS) && self.modem_changes != 0 {
            iir::MODEM_STATUS
        } else {
            iir::NONE
        }
    }

    fn drive(&self) {
        // In loopback the output pins are inactive, OUT2 among them.
        let connected = self.mcr & mcr::OUT_2 != 0 && !self.loops_back();
        self.irq.set_level(connected && self.interrupt() != iir::NONE);
    }

    /// The modem lines: a terminal that is always there, or in loopback our own outputs.
    fn modem_lines(&self) -> u8 {
        if !self.loops_back() {
            return msr::DCD | msr::DSR | msr::CTS;
        }
        let when = |output: u8, input: u8| if self.mcr & output != 0 { input } else { 0 };
        when(mcr::RTS, msr::CTS)
            | when(mcr::DTR, msr::DSR)
            | when(mcr::OUT_1, msr::RI)
            | when(mcr::OUT_2, msr::DCD)
    }

    fn read_data(&mut self) -> u8 {
        let byte = self.receiver.pop().map_or(0, |received| received.byte);
        self.stop_timeout();
        self.receive();
        // Filling restarts it only when something came.
        if self.timeout_ns.is_none() {
            self.restart_timeout();
        }
        byte
    }

    fn read_iir(&mut self) -> u8 {
        let pending = self.interrupt();
        if pending == iir::TRANSMIT_EMPTY {
            self.transmit_empty = false;
        }
        pending | if self.has_fifos() { iir::FIFOS } else { 0 }
    }

    fn read_lsr(&mut self) -> u8 {
        let ready = if self.receiver.len() != 0 { lsr::DATA_READY } else { 0 };
        let fifo_error = if self.has_fifos() && self.receiver.any_error() { lsr::FIFO_ERROR } else { 0 };
        let errors = std::mem::take(&mut self.overrun) | self.receiver.take_errors();
        ready | errors | fifo_error | lsr::TRANSMIT_EMPTY | lsr::TRANSMITTER_IDLE
    }

    fn write_data(&mut self, value: u8) {
        // The interrupt goes down with the write and up as the byte has left: an edge.
        self.transmit_empty = false;
        self.drive();
        if self.loops_back() {
            if self.receiver.push(value, self.capacity()) {
                self.restart_timeout();
            } else {
                self.overrun = lsr::OVERRUN;
            }
        } else {
            self.output.write(&[value]);
        }
        self.transmit_empty = true;
    }

    fn write_ier(&mut self, value: u8) {
        let enabled = value & !self.ier;
        self.ier = value & ier::WRITABLE;
        // The transmitter is always empty, so enabling its interrupt raises it.
        self.transmit_empty |= enabled & ier::TRANSMIT_EMPTY != 0;
    }

    fn write_fcr(&mut self, value: u8) {
        let toggled = (value ^ self.fcr) & fcr::ENABLE != 0;
        // Without ENABLE the other bits are not programmed.
        self.fcr = if value & fcr::ENABLE != 0 { value } else { 0 };
        if toggled || (self.has_fifos() && value & fcr::CLEAR_RECEIVE != 0) {
            self.receiver.clear_fifo();
            self.stop_timeout();
        }
        self.restart_timeout();
    }

    fn write_mcr(&mut self, value: u8) {
        let before = self.modem_lines();
        self.mcr = value & mcr::WRITABLE;
        let after = self.modem_lines();
        let changed = before ^ after;
        self.modem_changes |= changed >> 4 & (msr::DELTA_CTS | msr::DELTA_DSR | msr::DELTA_DCD);
        if changed & msr::RI != 0 && after & msr::RI == 0 {
            self.modem_changes |= msr::RING_ENDED;
        }
    }

    fn divisor_selected(&self) -> bool {
        self.lcr & lcr::DIVISOR != 0
    }
}

impl BusDevice for Serial16550 {
    fn read(&mut self, offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        let [divisor_low, divisor_high] = self.divisor.to_le_bytes();
        let value = match offset {
            offset::DATA if self.divisor_selected() => divisor_low,
            offset::IER if self.divisor_selected() => divisor_high,
            offset::DATA => self.read_data(),
            offset::IER => self.ier,
            offset::IIR_FCR => self.read_iir(),
            offset::LCR => self.lcr,
            offset::MCR => self.mcr,
            offset::LSR => self.read_lsr(),
            offset::MSR => self.modem_lines() | std::mem::take(&mut self.modem_changes),
            offset::SCRATCH => self.scratch,
            _ => return Err(Unclaimed),
        };
        self.drive();
        Ok(value.into())
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64) -> Result<(), Unclaimed> {
        let value = (value & 0xff) as u8;
        let [divisor_low, divisor_high] = self.divisor.to_le_bytes();
        match offset {
            offset::DATA if self.divisor_selected() => {
                self.divisor = u16::from_le_bytes([value, divisor_high]);
            }
            offset::IER if self.divisor_selected() => self.divisor = u16::from_le_bytes([divisor_low, value]),
            offset::DATA => self.write_data(value),
            offset::IER => self.write_ier(value),
            offset::IIR_FCR => self.write_fcr(value),
            offset::LCR => self.lcr = value,
            offset::MCR => self.write_mcr(value),
            // The factory tests' writes of the status registers are not for guests.
            offset::LSR | offset::MSR => {}
            offset::SCRATCH => self.scratch = value,
            _ => return Err(Unclaimed),
        }
        // A larger FIFO, or a line that is no longer looped back, has room for what waits.
        self.receive();
        Ok(())
    }
}

impl TimedDevice for Serial16550 {
    fn next_deadline_ns(&self) -> Option<u64> {
        self.timeout_ns
    }

    fn advance(&mut self, now_ns: u64) {
        if self.timeout_ns.is_some_and(|at| at <= now_ns) {
            self.timeout_ns = None;
            self.timed_out = true;
            self.drive();
        }
    }
}

#[cfg(test)]
#[path = "serial_test.rs"]
mod serial_test;
