//! One 8259A.

use super::spec::{SPURIOUS, icw1, icw4, ocw2, ocw3};

/// What the next write to the data port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expecting {
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

#[derive(Debug, Clone)]
pub(super) struct Chip {
    lines: u8,
    irr: u8,
    isr: u8,
    imr: u8,
    elcr: u8,
    elcr_writable: u8,
    /// Inputs whose requests follow their line: the cascade, whatever ELCR says.
    follows: u8,
    vector_base: u8,
    expecting: Expecting,
    icw1: u8,
    auto_eoi: bool,
    rotate_auto: bool,
    special_mask: bool,
    special_fully_nested: bool,
    poll: bool,
    read_isr: bool,
    /// The input of highest priority.
    first: u8,
}

impl Chip {
    pub(super) fn new(elcr_writable: u8, follows: u8) -> Self {
        Self {
            lines: 0,
            irr: 0,
            isr: 0,
            // Until it is initialised nothing gets through.
            imr: 0xff,
            elcr: 0,
            elcr_writable,
            follows,
            vector_base: 0,
            expecting: Expecting::Mask,
            icw1: 0,
            auto_eoi: false,
            rotate_auto: false,
            special_mask: false,
            special_fully_nested: false,
            poll: false,
            read_isr: false,
            first: 0,
        }
    }

    /// Power-up state, with the lines as they are.
    pub(super) fn reset(&mut self) {
        *self = Self { lines: self.lines, ..Self::new(self.elcr_writable, self.follows) };
        self.irr = self.lines & self.follows;
    }

    pub(super) fn set_line(&mut self, input: u8, level: bool) {
        let bit = 1 << (input & 7);
        let rises = level && self.lines & bit == 0;
        self.lines = if level { self.lines | bit } else { self.lines & !bit };
        if (self.elcr | self.follows) & bit != 0 {
            self.irr = self.irr & !bit | self.lines & bit;
        } else if rises {
            self.irr |= bit;
        }
    }

    /// The input whose request would interrupt now.
    pub(super) fn pending(&self) -> Option<u8> {
        let (rank, input) = self.highest(self.irr & !self.imr)?;
        let mut in_service = self.isr;
        if self.special_mask {
            in_service &= !self.imr;
        }
        if self.special_fully_nested {
            // The second chip may interrupt while one of its own is served.
            in_service &= !self.follows;
        }
        match self.highest(in_service) {
            Some((serving, _)) if serving <= rank => None,
            _ => Some(input),
        }
    }

    /// The acknowledge cycle for what is pending; the spurious input if nothing is.
    pub(super) fn acknowledge(&mut self) -> u8 {
        let Some(input) = self.pending() else { return SPURIOUS };
        let bit = 1 << input;
        if self.auto_eoi {
            if self.rotate_auto {
                self.first = (input + 1) & 7;
            }
        } else {
            self.isr |= bit;
        }
        if (self.elcr | self.follows) & bit == 0 {
            self.irr &= !bit;
        }
        input
    }

    pub(super) fn vector(&self, input: u8) -> u8 {
        self.vector_base | input & 7
    }

    pub(super) fn elcr(&self) -> u8 {
        self.elcr
    }

    pub(super) fn set_elcr(&mut self, value: u8) {
        let elcr = value & self.elcr_writable;
        let changed = elcr ^ self.elcr;
        self.elcr = elcr;
        // An input that becomes level-triggered requests what its line says; one that ceases to be forgets.
        self.irr = self.irr & !changed | self.lines & elcr & changed;
    }

    pub(super) fn read_command(&mut self) -> u8 {
        if self.poll {
            return self.poll_byte();
        }
        if self.read_isr { self.isr } else { self.irr }
    }

    pub(super) fn read_data(&mut self) -> u8 {
        if self.poll { self.poll_byte() } else { self.imr }
    }

    fn poll_byte(&mut self) -> u8 {
        self.poll = false;
        match self.pending() {
            Some(_) => 0x80 | self.acknowledge(),
            None => 0,
        }
    }

    pub(super) fn write_command(&mut self, value: u8) {
        if value & icw1::INIT != 0 {
            self.initialise(value);
        } else if value & ocw3::MARK != 0 {
            if value & ocw3::SET_SPECIAL_MASK != 0 {
                self.special_mask = value & ocw3::SPECIAL_MASK != 0;
            }
            self.poll = value & ocw3::POLL != 0;
            if value & ocw3::SET_READ != 0 {
                self.read_isr = value & ocw3::READ_ISR != 0;
            }
        } else {
            self.operate(value >> 5, value & 7);
        }
    }

    pub(super) fn write_data(&mut self, value: u8) {
        self.expecting = match self.expecting {
            Expecting::Mask => {
                self.imr = value;
                Expecting::Mask
            }
            Expecting::Icw2 => {
                self.vector_base = value & 0xf8;
                if self.icw1 & icw1::SINGLE == 0 { Expecting::Icw3 } else { self.after_icw3() }
            }
            // Who is cascaded to whom is wired.
            Expecting::Icw3 => self.after_icw3(),
            Expecting::Icw4 => {
                self.special_fully_nested = value & icw4::SPECIAL_FULLY_NESTED != 0;
                self.auto_eoi = value & icw4::AUTO_EOI != 0;
                Expecting::Mask
            }
        };
    }

    fn after_icw3(&self) -> Expecting {
        if self.icw1 & icw1::ICW4 != 0 { Expecting::Icw4 } else { Expecting::Mask }
    }

    /// ICW1. An edge-triggered input must rise again before it requests; ELCR stays.
    fn initialise(&mut self, icw1: u8) {
        *self = Self {
            lines: self.lines,
            irr: self.lines & (self.elcr | self.follows),
            imr: 0,
            elcr: self.elcr,
            vector_base: self.vector_base,
            icw1,
            expecting: Expecting::Icw2,
            ..Self::new(self.elcr_writable, self.follows)
        };
    }

    fn operate(&mut self, command: u8, level: u8) {
        match command {
            ocw2::ROTATE_AUTO_OFF => self.rotate_auto = false,
            ocw2::ROTATE_AUTO_ON => self.rotate_auto = true,
            ocw2::EOI | ocw2::ROTATE_EOI => {
                // In special mask mode the masked ones in service are left alone.
                let ending = if self.special_mask { self.isr & !self.imr } else { self.isr };
                if let Some((_, input)) = self.highest(ending) {
                    self.isr &= !(1 << input);
                    if command == ocw2::ROTATE_EOI {
                        self.first = (input + 1) & 7;
                    }
                }
            }
            ocw2::SPECIFIC_EOI => self.isr &= !(1 << level),
            ocw2::ROTATE_SPECIFIC_EOI => {
                self.isr &= !(1 << level);
                self.first = (level + 1) & 7;
            }
            ocw2::SET_PRIORITY => self.first = (level + 1) & 7,
            _ => {}
        }
    }

    /// Rank (0 is highest) and number of the input of highest priority in `set`.
    fn highest(&self, set: u8) -> Option<(u8, u8)> {
        // The rotation amount is below 8, and so is the rank.
        let ranked = set.rotate_right(self.first.into());
        let rank = (ranked != 0).then(|| ranked.trailing_zeros() as u8)?;
        Some((rank, (rank + self.first) & 7))
    }
}
