//! The local interrupt pins LINT0 and LINT1.

use super::LocalApic;
use super::spec::{lvt, reg};
use crate::interrupt::{DeliveryMode, Trigger};

impl LocalApic {
    /// What a local interrupt pin with its LVT entry makes of `level` and of a rising `edge`. ExtINT is not taken here:
    /// it is asked of the line when it can be injected.
    pub(super) fn lint(&mut self, offset: u32, level: bool, edge: bool) {
        let entry = self.lvt(offset);
        if !self.is_enabled() {
            // Without the APIC, LINT1 is the processor's NMI pin.
            self.nmi |= edge && offset == reg::LVT_LINT1;
            return;
        }
        if entry & lvt::MASKED != 0 {
            return;
        }
        let vector = (entry & lvt::VECTOR) as u8;
        let by_level = entry & lvt::LEVEL != 0;
        match DeliveryMode::from_bits(entry >> lvt::MODE_SHIFT) {
            Some(DeliveryMode::Fixed) if by_level && level && entry & lvt::REMOTE_IRR == 0 => {
                self.set_remote_irr(offset, true);
                self.accept(vector, Trigger::Level);
            }
            Some(DeliveryMode::Fixed) if !by_level && edge => self.accept(vector, Trigger::Edge),
            Some(DeliveryMode::Nmi) if edge => self.nmi = true,
            Some(DeliveryMode::Init) if edge => self.take_init(),
            _ => {}
        }
    }

    pub(super) fn set_remote_irr(&mut self, offset: u32, set: bool) {
        let index = lvt::ENTRIES.iter().position(|(entry, _)| *entry == offset);
        if let Some(entry) = index.and_then(|index| self.lvt.get_mut(index)) {
            *entry = if set { *entry | lvt::REMOTE_IRR } else { *entry & !lvt::REMOTE_IRR };
        }
    }

    pub(super) fn ext_int_pending(&self) -> bool {
        self.ext_int_message || (self.takes_ext_int() && self.mailbox.lint0())
    }

    /// Whether LINT0 is the 8259's way in: by its LVT entry, or because the APIC is off and LINT0 is the processor's
    /// INTR pin.
    pub(super) fn takes_ext_int(&self) -> bool {
        let entry = self.lvt(reg::LVT_LINT0);
        let ext_int = DeliveryMode::from_bits(entry >> lvt::MODE_SHIFT) == Some(DeliveryMode::ExtInt);
        !self.is_enabled() || (ext_int && entry & lvt::MASKED == 0)
    }

    /// Says whether LINT0 matters, and looks at it once: a level that rose unheard is found here.
    pub(super) fn hear_lint0(&mut self) {
        let masked = self.lvt(reg::LVT_LINT0) & lvt::MASKED != 0;
        self.mailbox.set_lint0_heard(!masked || !self.is_enabled());
        self.lint(reg::LVT_LINT0, self.mailbox.lint0(), false);
    }
}
