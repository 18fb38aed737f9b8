//! Messages to a running CPU: what it must act on at its next block end.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What another thread asks of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// Guest physical memory was mapped, unmapped or protected.
    MapChanged,
    /// The host page now holds code: give up the right to write to it unnoticed.
    ProtectCode(usize),
    /// The host page's code was overwritten: drop what was translated from it.
    DropCode(usize),
}

/// Bits of the word that a CPU tests at each block end.
pub(crate) mod pending {
    /// Someone used the kicker.
    pub(crate) const KICK: u32 = 1 << 0;
    /// The mailbox holds messages.
    pub(crate) const MAIL: u32 = 1 << 1;
    /// Host code has been made in the background.
    #[allow(dead_code)] // not every host makes it
    pub(crate) const CODE: u32 = 1 << 2;
}

/// A CPU's mailbox and the word it polls.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pending: AtomicU32,
    in_guest: AtomicBool,
    messages: Mutex<Vec<Message>>,
    posted: AtomicU64,
    acted: AtomicU64,
}

impl Mailbox {
    /// Something to act on?
    #[inline(always)]
    pub(crate) fn pending(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    /// The word that [`Self::pending`] reads, for generated code.
    #[allow(dead_code)] // not every host has generated code
    pub(crate) fn pending_word(&self) -> *const AtomicU32 {
        &raw const self.pending
    }

    pub(crate) fn raise(&self, bits: u32) {
        self.pending.fetch_or(bits, Ordering::SeqCst);
    }

    /// Clears bits and answers which of them were set.
    pub(crate) fn take(&self, bits: u32) -> u32 {
        self.pending.fetch_and(!bits, Ordering::SeqCst) & bits
    }

    /// Kicks: only a CPU in the guest notices.
    pub(crate) fn kick(&self) {
        if self.in_guest.load(Ordering::SeqCst) {
            self.raise(pending::KICK);
        }
    }

    /// Enters or leaves the guest. Entering forgets old kicks.
    pub(crate) fn set_in_guest(&self, inside: bool) {
        if inside {
            self.take(pending::KICK);
        }
        self.in_guest.store(inside, Ordering::SeqCst);
    }

    /// Puts a message in; the number answered is for [`Self::done`].
    pub(crate) fn post(&self, message: Message) -> u64 {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.push(message);
        let ticket = self.posted.fetch_add(1, Ordering::SeqCst) + 1;
        self.raise(pending::MAIL);
        ticket
    }

    /// Has the CPU acted on the message, or is it outside the guest (and will act before it enters)?
    pub(crate) fn done(&self, ticket: u64) -> bool {
        self.acted.load(Ordering::SeqCst) >= ticket || !self.in_guest.load(Ordering::SeqCst)
    }

    /// Takes the messages; the number goes to [`Self::acted`] when they have been acted on.
    pub(crate) fn collect(&self) -> (Vec<Message>, u64) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        self.take(pending::MAIL);
        (std::mem::take(&mut *messages), self.posted.load(Ordering::SeqCst))
    }

    /// All messages up to `ticket` have been acted on.
    pub(crate) fn acted(&self, ticket: u64) {
        self.acted.fetch_max(ticket, Ordering::SeqCst);
    }
}
