//! Inter-processor interrupts: what a write of the interrupt command register sends.

use super::LocalApic;
use super::spec::{self, esr, icr};
use crate::interrupt::mailbox::ApicMode;
use crate::interrupt::{DeliveryMode, Destination, InterruptMessage, Trigger};

impl LocalApic {
    /// Sends what the interrupt command register now holds.
    pub(super) fn send_ipi(&mut self) {
        let own = self.config.vcpu;
        let (destination, except) = match self.icr >> icr::SHORTHAND_SHIFT & 3 {
            0 => (self.icr_destination(), None),
            1 => (Destination::Physical(self.config.apic_id), None),
            2 => (Destination::All, None),
            _ => (Destination::All, Some(own)),
        };
        // The low half has the vector in its first byte.
        let vector = (self.icr & 0xff) as u8;
        let mode = match DeliveryMode::from_bits((self.icr >> icr::MODE_SHIFT) as u32) {
            // The 8259 has no part in IPIs.
            None | Some(DeliveryMode::ExtInt) => return,
            // INIT level de-assert set the arbitration IDs of APICs on a serial bus; there is none.
            Some(DeliveryMode::Init) if self.icr & icr::LEVEL != 0 && self.icr & icr::ASSERT == 0 => return,
            Some(mode) => mode,
        };
        if matches!(mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority) && vector < spec::FIRST_VECTOR {
            self.error(esr::SEND_ILLEGAL_VECTOR);
            return;
        }
        let message = InterruptMessage { destination, mode, vector, trigger: Trigger::Edge };
        self.fabric.deliver_from(Some(own), except, &message);
    }

    fn icr_destination(&self) -> Destination {
        let logical = self.icr & icr::LOGICAL != 0;
        let id = (self.icr >> 32) as u32;
        match (self.mode(), logical) {
            (ApicMode::X2Apic, true) => Destination::Logical(id),
            (ApicMode::X2Apic, false) if id == u32::MAX => Destination::All,
            (ApicMode::X2Apic, false) => Destination::Physical(id),
            (_, logical) => Destination::from_byte((id >> 24) as u8, logical),
        }
    }

    /// The self-IPI register.
    pub(super) fn send_self(&mut self, vector: u8) {
        if vector < spec::FIRST_VECTOR {
            self.error(esr::SEND_ILLEGAL_VECTOR);
        } else {
            self.accept(vector, Trigger::Edge);
        }
    }
}
