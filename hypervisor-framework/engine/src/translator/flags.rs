//! Where the arithmetic flags are: a look-up in the TLB overwrites the host's.

use super::context::field;
use super::emitter::host::RAX;
use super::emitter::{Emitter, opcode};
use super::lazy::Origin;
use super::stubs::context;
use super::unit::Builder;

/// Where the guest's arithmetic flags are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flags {
    /// In the context only.
    Memory,
    /// In the host's flags only.
    Host,
    Both,
    /// Nowhere; they follow from [`Builder::origin`].
    Lazy,
    /// Nowhere; nobody will look.
    Dead,
}

/// Stores the host's flags in the context; RAX is lost.
pub(super) fn emit_save_flags(e: &mut Emitter) {
    // lahf; seto al; mov [flags], ax
    e.raw(&[0x9f, 0x0f, 0x90, 0xc0, 0x66]);
    e.memory(false, opcode::STORE, RAX, context(field::FLAGS));
}

/// Loads the host's flags from the context; RAX is lost.
pub(super) fn emit_load_flags(e: &mut Emitter) {
    // movzx eax, word [flags]; add al, 0x7f; sahf
    e.memory(false, opcode::MOVZX_WORD, RAX, context(field::FLAGS));
    e.raw(&[0x04, 0x7f, 0x9e]);
}

impl Builder<'_> {
    /// Makes sure that the context has the flags.
    pub(super) fn save_flags(&mut self) {
        if let (Flags::Lazy, Some(origin)) = (self.flags, &self.origin) {
            origin.emit(&mut self.e);
            self.flags = Flags::Host;
        }
        if self.flags == Flags::Host {
            emit_save_flags(&mut self.e);
            self.flags = Flags::Both;
        }
    }

    /// Before the host's flags are overwritten by something that is not the guest's.
    pub(super) fn clobber_flags(&mut self) {
        let lazy = match self.flags {
            Flags::Host => self.may_be_lazy(self.at),
            Flags::Lazy => true,
            _ => false,
        };
        self.forget_host_flags(lazy);
    }

    /// As [`Self::clobber_flags`]; if they are to be `lazy`, nothing is stored.
    pub(super) fn forget_host_flags(&mut self, lazy: bool) {
        if !lazy {
            self.save_flags();
        }
        self.flags = match self.flags {
            Flags::Host | Flags::Lazy => Flags::Lazy,
            Flags::Both | Flags::Memory => Flags::Memory,
            Flags::Dead => Flags::Dead,
        };
        self.entry = self.origin.filter(|_| self.flags == Flags::Lazy);
    }

    /// The current step has written the host's flags.
    pub(super) fn set_host_flags(&mut self, origin: Option<Origin>) {
        (self.flags, self.origin, self.origin_at) = (Flags::Host, origin, self.at);
    }

    /// Does the host have the flags?
    pub(super) fn host_has_flags(&self) -> bool {
        matches!(self.flags, Flags::Host | Flags::Both)
    }

    /// Loads the host's flags; RAX is lost.
    pub(super) fn load_flags(&mut self) {
        match (self.flags, &self.origin) {
            (Flags::Memory, _) => {
                emit_load_flags(&mut self.e);
                self.flags = Flags::Both;
            }
            (Flags::Lazy, Some(origin)) => {
                origin.emit(&mut self.e);
                self.flags = Flags::Host;
            }
            _ => {}
        }
    }

    /// Loads CF of the flags in the context; the host's others are nothing.
    pub(super) fn load_carry(&mut self) {
        // bt word [flags], 8: as wide as what was stored, which the host then forwards.
        self.e.byte(0x66);
        self.e.memory_with(false, &[0x0f, 0xba], 4, context(field::FLAGS), 1);
        self.e.byte(8);
        (self.flags, self.origin) = (Flags::Host, None);
    }
}
