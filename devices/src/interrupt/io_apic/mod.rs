//! The I/O APIC.
//!
//! A pin with its redirection entry is a small state machine:
//!
//! ```text
//! edge:   line rises, not masked ─▶ message          (a rise while masked is lost)
//! level:  line up, not masked, no remote IRR ─▶ message, remote IRR set
//!         EOI of its vector ─▶ remote IRR clear, and once more from the start
//! ```

pub mod spec;

use std::sync::{Arc, Mutex};

use self::spec::{entry, index, window};
use super::{
    DeliveryMode, Destination, EoiListener, InterruptFabric, InterruptMessage, IrqInput, IrqLine, Trigger,
};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::lock;

/// An I/O APIC with 24 pins. Behind `Arc<Mutex<_>>`: on the MMIO bus, and as the receiver of lines and EOIs.
///
/// Messages are posted while it is locked, so that a guest which masked a pin knows that none is still on its way.
pub struct IoApic {
    fabric: Arc<InterruptFabric>,
    id: u8,
    select: u8,
    lines: u32,
    entries: [u64; spec::PINS as usize],
}

impl IoApic {
    /// An I/O APIC after reset, which sends its messages through `fabric` and hears of EOIs from it. `id` has four bits.
    pub fn new(id: u8, fabric: Arc<InterruptFabric>) -> Arc<Mutex<Self>> {
        let io_apic = Self {
            fabric: fabric.clone(),
            id: id & 0xf,
            select: 0,
            lines: 0,
            entries: [entry::MASKED; spec::PINS as usize],
        };
        let io_apic = Arc::new(Mutex::new(io_apic));
        let listener: Arc<dyn EoiListener> = io_apic.clone();
        fabric.attach_eoi_listener(Arc::downgrade(&listener));
        io_apic
    }

    /// The line into `pin`, for devices that are not on ISA interrupts.
    pub fn line(io_apic: &Arc<Mutex<Self>>, pin: u8) -> IrqLine {
        IrqLine::new(io_apic.clone(), pin.into())
    }

    /// Drives input `pin`; pins that do not exist are ignored.
    pub fn set_pin(&mut self, pin: u8, level: bool) {
        let Some(entry) = self.entries.get(usize::from(pin)).copied() else { return };
        let bit = 1 << pin;
        let rises = level && self.lines & bit == 0;
        self.lines = if level { self.lines | bit } else { self.lines & !bit };
        if entry & entry::LEVEL != 0 {
            self.serve_level(pin);
        } else if rises && entry & entry::MASKED == 0 {
            self.send(entry);
        }
    }

    /// Power-up reset: all pins masked. Lines keep their levels, the ID its value.
    pub fn reset(&mut self) {
        self.select = 0;
        self.entries = [entry::MASKED; spec::PINS as usize];
    }

    /// Sends a level-triggered pin's message if it is due.
    fn serve_level(&mut self, pin: u8) {
        let up = self.lines >> pin & 1 != 0;
        let Some(entry) = self.entries.get_mut(usize::from(pin)) else { return };
        if !up || *entry & (entry::MASKED | entry::REMOTE_IRR) != 0 {
            return;
        }
        let value = *entry;
        if self.send(value)
            && let Some(entry) = self.entries.get_mut(usize::from(pin))
        {
            *entry |= entry::REMOTE_IRR;
        }
    }

    /// Sends the message of a redirection entry; whether an EOI will come for it.
    fn send(&self, entry: u64) -> bool {
        let Some(mode) = DeliveryMode::from_bits((entry >> entry::MODE_SHIFT) as u32) else { return false };
        if mode == DeliveryMode::Startup {
            return false;
        }
        let destination = (entry >> entry::DESTINATION_SHIFT) as u8;
        let ends = matches!(mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        let trigger = if ends && entry & entry::LEVEL != 0 { Trigger::Level } else { Trigger::Edge };
        let message = InterruptMessage {
            destination: Destination::from_byte(destination, entry & entry::LOGICAL != 0),
            mode,
            vector: (entry & entry::VECTOR) as u8,
            trigger,
        };
        let taken = self.fabric.deliver(&message);
        ends && taken != 0
    }

    /// An EOI for `vector`: level pins with it may fire again.
    fn end_of_interrupt(&mut self, vector: u8) {
        for pin in 0..spec::PINS {
            let Some(entry) = self.entries.get_mut(usize::from(pin)) else { return };
            let level = *entry & entry::LEVEL != 0 && *entry & entry::REMOTE_IRR != 0;
            if level && *entry & entry::VECTOR == u64::from(vector) {
                *entry &= !entry::REMOTE_IRR;
                self.serve_level(pin);
            }
        }
    }

    fn read_selected(&self) -> u32 {
        match self.select {
            index::ID | index::ARBITRATION => u32::from(self.id) << 24,
            index::VERSION => spec::VERSION,
            select => match self.selected_entry(select) {
                Some((pin, shift)) => self.entries.get(pin).map_or(u32::MAX, |entry| (entry >> shift) as u32),
                None => u32::MAX,
            },
        }
    }

    fn write_selected(&mut self, value: u32) {
        if self.select == index::ID {
            self.id = (value >> 24 & 0xf) as u8;
            return;
        }
        let Some((pin, shift)) = self.selected_entry(self.select) else { return };
        let Some(entry) = self.entries.get_mut(pin) else { return };
        let writable = entry::WRITABLE & 0xffff_ffff << shift;
        *entry = *entry & !writable | u64::from(value) << shift & writable;
        if *entry & entry::LEVEL == 0 {
            // An edge-triggered pin has no level to end; older guests switch to edge and back to forget one.
            *entry &= !entry::REMOTE_IRR;
        } else {
            // A pin is one of 24.
            self.serve_level(pin as u8);
        }
    }

    /// Which entry, and at which bit of it, a register index selects.
    fn selected_entry(&self, select: u8) -> Option<(usize, u32)> {
        let half = select.checked_sub(index::REDIRECTION)?;
        let pin = usize::from(half / 2);
        (pin < self.entries.len()).then_some((pin, u32::from(half % 2) * 32))
    }
}

impl BusDevice for IoApic {
    fn read(&mut self, offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        let value = match offset & !3 {
            window::SELECT => u32::from(self.select),
            window::DATA => self.read_selected(),
            window::EOI => 0,
            _ => return Err(Unclaimed),
        };
        Ok(u64::from(value) >> ((offset & 3) * 8))
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        match (offset, width) {
            // The selector and the EOI vector have eight bits, so any width holds them.
            (window::SELECT, _) => self.select = (value & 0xff) as u8,
            (window::EOI, _) => self.end_of_interrupt((value & 0xff) as u8),
            (window::DATA, Width::Four | Width::Eight) => self.write_selected(value as u32),
            _ => return Err(Unclaimed),
        }
        Ok(())
    }
}

impl IrqInput for Mutex<IoApic> {
    fn set_level(&self, pin: u32, level: bool) {
        if let Ok(pin) = u8::try_from(pin) {
            lock(self).set_pin(pin, level);
        }
    }
}

impl EoiListener for Mutex<IoApic> {
    fn end_of_interrupt(&self, vector: u8) {
        lock(self).end_of_interrupt(vector);
    }
}

#[cfg(test)]
#[path = "io_apic_test.rs"]
mod io_apic_test;
