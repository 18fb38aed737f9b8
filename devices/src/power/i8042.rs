//! The keyboard controller, as far as a PC without a keyboard needs it.
//!
//! It is a whole controller with nothing plugged in: it passes its self test, and whatever is sent to a keyboard or mouse
//! comes back at once as a time-out, so that a driver is done with it quickly. And it pulses reset.

use std::sync::Arc;

use super::{ResetSource, SystemEvent, SystemEvents};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;

/// Offset of the data port, as [`crate::platform_map::port::I8042`] maps it.
const DATA: u64 = 0;
/// Offset of the command and status port.
const COMMAND: u64 = 4;

/// Bits of the status register.
mod status {
    /// A byte waits in the output buffer.
    pub(super) const OUTPUT_FULL: u8 = 1 << 0;
    /// The self test passed.
    pub(super) const SYSTEM: u8 = 1 << 2;
    /// The last write was a command.
    pub(super) const COMMAND: u8 = 1 << 3;
    /// The keyboard is not locked.
    pub(super) const UNLOCKED: u8 = 1 << 4;
    /// The byte that waits is the mouse's.
    pub(super) const FROM_MOUSE: u8 = 1 << 5;
    /// The device did not answer.
    pub(super) const TIMEOUT: u8 = 1 << 6;
}

/// Bit of the controller's configuration byte: keyboard interrupt.
const CONFIG_KEYBOARD_IRQ: u8 = 1 << 0;
/// After reset: translation on, both ports off, self test passed.
const CONFIG_RESET: u8 = 0x74;
/// What the controller answers for a device that does not.
const RESEND: u8 = 0xfe;
/// Output port: A20 open, no reset.
const OUTPUT_PORT: u8 = 0x03;

/// What the next byte at the data port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expecting {
    KeyboardCommand,
    Config,
    OutputPort,
    KeyboardEcho,
    MouseEcho,
    MouseCommand,
}

/// The keyboard controller.
pub struct I8042 {
    events: Arc<dyn SystemEvents>,
    irq1: IrqLine,
    config: u8,
    output: u8,
    status: u8,
    expecting: Expecting,
}

impl I8042 {
    /// The controller after reset, without interrupts: drivers that wait for one find nothing by their own time-out.
    pub fn new(events: Arc<dyn SystemEvents>) -> Self {
        let status = status::SYSTEM | status::UNLOCKED;
        let irq1 = IrqLine::unconnected();
        Self { events, irq1, config: CONFIG_RESET, output: 0, status, expecting: Expecting::KeyboardCommand }
    }

    /// Connects the keyboard interrupt (ISA interrupt 1), so that drivers learn of the missing keyboard at once.
    #[must_use]
    pub fn with_irq(mut self, irq1: IrqLine) -> Self {
        self.irq1 = irq1;
        self
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        self.config = CONFIG_RESET;
        self.status = status::SYSTEM | status::UNLOCKED;
        self.expecting = Expecting::KeyboardCommand;
        self.output = 0;
        self.drive();
    }

    fn drive(&self) {
        let keyboard = self.status & (status::OUTPUT_FULL | status::FROM_MOUSE) == status::OUTPUT_FULL;
        self.irq1.set_level(keyboard && self.config & CONFIG_KEYBOARD_IRQ != 0);
    }

    /// Puts a byte where the guest reads it; one that waits is lost, as there is room for one.
    fn answer(&mut self, byte: u8, flags: u8) {
        self.output = byte;
        self.status &= !(status::FROM_MOUSE | status::TIMEOUT);
        self.status |= status::OUTPUT_FULL | flags;
    }

    fn pulse_reset(&self) {
        self.events.notify(SystemEvent::Reset(ResetSource::KeyboardController));
    }

    fn command(&mut self, command: u8) {
        self.status |= status::COMMAND;
        self.expecting = Expecting::KeyboardCommand;
        match command {
            0x20 => self.answer(self.config, 0),
            0x60 => self.expecting = Expecting::Config,
            // Mouse interface test: the clock line is stuck low, nothing is there.
            0xa9 => self.answer(0x01, 0),
            // Self test: passed.
            0xaa => {
                self.status |= status::SYSTEM;
                self.answer(0x55, 0);
            }
            // Keyboard interface test: no error.
            0xab => self.answer(0x00, 0),
            // Enable and disable the ports.
            0xa7 => self.config |= 1 << 5,
            0xa8 => self.config &= !(1 << 5),
            0xad => self.config |= 1 << 4,
            0xae => self.config &= !(1 << 4),
            // Input port: keyboard not locked.
            0xc0 => self.answer(0x80, 0),
            0xd0 => self.answer(OUTPUT_PORT, 0),
            0xd1 => self.expecting = Expecting::OutputPort,
            0xd2 => self.expecting = Expecting::KeyboardEcho,
            0xd3 => self.expecting = Expecting::MouseEcho,
            0xd4 => self.expecting = Expecting::MouseCommand,
            // Pulse the output port's low bits whose bit here is clear; bit 0 is reset.
            0xf0..=0xff if command & 1 == 0 => self.pulse_reset(),
            _ => {}
        }
    }

    fn data(&mut self, value: u8) {
        self.status &= !status::COMMAND;
        match std::mem::replace(&mut self.expecting, Expecting::KeyboardCommand) {
            Expecting::Config => self.config = value,
            Expecting::OutputPort if value & 1 == 0 => self.pulse_reset(),
            Expecting::OutputPort => {}
            Expecting::KeyboardEcho => self.answer(value, 0),
            // There is no mouse port: what is sent there comes back as the keyboard's, which tells a driver so.
            Expecting::MouseEcho => self.answer(value, 0),
            Expecting::MouseCommand => self.answer(RESEND, status::FROM_MOUSE | status::TIMEOUT),
            Expecting::KeyboardCommand => self.answer(RESEND, status::TIMEOUT),
        }
    }
}

impl BusDevice for I8042 {
    fn read(&mut self, offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        let value = match offset {
            DATA => {
                self.status &= !(status::OUTPUT_FULL | status::FROM_MOUSE | status::TIMEOUT);
                self.output
            }
            COMMAND => self.status,
            _ => return Err(Unclaimed),
        };
        self.drive();
        Ok(value.into())
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64) -> Result<(), Unclaimed> {
        let value = (value & 0xff) as u8;
        match offset {
            DATA => self.data(value),
            COMMAND => self.command(value),
            _ => return Err(Unclaimed),
        }
        self.drive();
        Ok(())
    }
}
