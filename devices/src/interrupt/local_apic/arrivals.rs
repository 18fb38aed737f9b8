//! What other threads posted, taken in by the owner.

use super::LocalApic;
use super::spec::{self, esr, reg};

impl LocalApic {
    /// Takes in what others posted.
    pub(super) fn collect(&mut self) {
        if self.mailbox.has_posted() {
            self.mailbox.clear_mark();
            self.collect_events();
            self.collect_vectors();
        }
    }

    pub(super) fn collect_vectors(&mut self) {
        const ILLEGAL: u64 = (1 << spec::FIRST_VECTOR) - 1;
        let mut posted = self.mailbox.take_vectors();
        let [low_edge, low_level] = [&mut posted.edge[0], &mut posted.level[0]];
        let illegal = (*low_edge | *low_level) & ILLEGAL != 0;
        *low_edge &= !ILLEGAL;
        *low_level &= !ILLEGAL;
        self.irr.extend(&posted.edge);
        self.tmr.subtract(&posted.edge);
        self.irr.extend(&posted.level);
        self.tmr.extend(&posted.level);
        if illegal {
            self.error(esr::RECEIVED_ILLEGAL_VECTOR);
        }
    }

    pub(super) fn collect_events(&mut self) {
        let events = self.mailbox.take_events();
        if events.init {
            self.take_init();
        }
        if self.waits_for_startup
            && let Some(vector) = events.startup
        {
            self.waits_for_startup = false;
            self.startup = Some(vector);
        }
        self.nmi |= events.nmi;
        self.ext_int_message |= events.ext_int;
        self.lint(reg::LVT_LINT0, self.mailbox.lint0(), events.lint0_edge);
        self.lint(reg::LVT_LINT1, self.mailbox.lint1(), events.lint1_edge);
    }

    /// SDM, "Local APIC State After an INIT Reset": registers are reset; ID, mode and page stay.
    pub(super) fn take_init(&mut self) {
        self.mailbox.take_vectors();
        (self.startup, self.nmi, self.ext_int_message) = (None, false, false);
        self.init = true;
        self.waits_for_startup = !self.config.bootstrap;
        self.reset_registers();
    }
}
