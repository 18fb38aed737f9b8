//! What reaches a local APIC from other threads.
//!
//! A [`super::LocalApic`] belongs to its vCPU's thread. Everybody else posts into its mailbox with atomics, and reads from
//! it what must be known to address it: its ID, its logical ID and mode, its priority.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{DeliveryMode, Trigger};

const EVENT_INIT: u32 = 1 << 8;
const EVENT_STARTUP: u32 = 1 << 9;
const EVENT_NMI: u32 = 1 << 10;
const EVENT_EXT_INT: u32 = 1 << 11;
const EVENT_LINT0_EDGE: u32 = 1 << 12;
const EVENT_LINT1_EDGE: u32 = 1 << 13;
const STARTUP_VECTOR: u32 = 0xff;

/// How a local APIC listens, as IA32_APIC_BASE bits 11 and 10 say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApicMode {
    Disabled,
    XApic,
    X2Apic,
}

/// What others need in order to address a local APIC, as one word that is replaced as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ApicAddress {
    pub(super) apic_id: u32,
    pub(super) mode: ApicMode,
    /// xAPIC logical ID, bits 31:24 of LDR.
    pub(super) logical_id: u8,
    /// xAPIC destination format: flat if set, else cluster.
    pub(super) flat: bool,
    /// SVR bit 8.
    pub(super) software_enabled: bool,
}

impl ApicAddress {
    fn pack(self) -> u64 {
        let mode = match self.mode {
            ApicMode::Disabled => 0,
            ApicMode::XApic => 1,
            ApicMode::X2Apic => 2,
        };
        u64::from(self.apic_id)
            | u64::from(self.logical_id) << 32
            | mode << 40
            | u64::from(self.flat) << 42
            | u64::from(self.software_enabled) << 43
    }

    fn unpack(word: u64) -> Self {
        Self {
            apic_id: word as u32,
            mode: match word >> 40 & 3 {
                1 => ApicMode::XApic,
                2 => ApicMode::X2Apic,
                _ => ApicMode::Disabled,
            },
            logical_id: (word >> 32) as u8,
            flat: word & 1 << 42 != 0,
            software_enabled: word & 1 << 43 != 0,
        }
    }
}

/// The x2APIC logical ID that follows from an APIC ID: SDM "Logical destination mode in x2APIC mode".
pub(super) const fn x2apic_logical_id(apic_id: u32) -> u32 {
    (apic_id >> 4) << 16 | 1 << (apic_id & 0xf)
}

/// Events taken out of a mailbox.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct PostedEvents {
    pub(super) init: bool,
    pub(super) startup: Option<u8>,
    pub(super) nmi: bool,
    pub(super) ext_int: bool,
    pub(super) lint0_edge: bool,
    pub(super) lint1_edge: bool,
}

/// Vectors taken out of a mailbox, as bit sets of 256.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct PostedVectors {
    pub(super) edge: [u64; 4],
    pub(super) level: [u64; 4],
}

/// The shared half of a local APIC.
#[derive(Debug)]
pub struct ApicMailbox {
    /// Something was posted since the owner last looked. The cheap question at every VM entry.
    posted: AtomicBool,
    edge: [AtomicU64; 4],
    level: [AtomicU64; 4],
    events: AtomicU32,
    lint0: AtomicBool,
    lint1: AtomicBool,
    /// Whether the owner's LINT0 would make anything of a level; others need not wake it if not.
    lint0_heard: AtomicBool,
    address: AtomicU64,
    priority: AtomicU32,
}

impl ApicMailbox {
    pub(super) fn new(address: ApicAddress) -> Self {
        Self {
            posted: AtomicBool::new(false),
            edge: Default::default(),
            level: Default::default(),
            events: AtomicU32::new(0),
            lint0: AtomicBool::new(false),
            lint1: AtomicBool::new(false),
            lint0_heard: AtomicBool::new(false),
            address: AtomicU64::new(address.pack()),
            priority: AtomicU32::new(0),
        }
    }

    /// Whether anything was posted that the vCPU has not yet collected. One load; any thread.
    #[inline]
    pub fn has_posted(&self) -> bool {
        self.posted.load(Ordering::SeqCst)
    }

    /// Marks the mailbox; true if it was not marked before, so that the owner must be woken.
    ///
    /// Sequentially consistent with the waker's own flag: either the poster sees that the vCPU sleeps or runs, or the
    /// vCPU sees the mark before it does.
    fn mark(&self) -> bool {
        !self.posted.swap(true, Ordering::SeqCst)
    }

    /// Posts a vector; true if the owner must be woken.
    pub(super) fn post_vector(&self, vector: u8, trigger: Trigger) -> bool {
        let set = match trigger {
            Trigger::Edge => &self.edge,
            Trigger::Level => &self.level,
        };
        let [word, bit] = [usize::from(vector >> 6), usize::from(vector & 63)];
        // A vector has eight bits, so the word is one of four.
        if let Some(word) = set.get(word) {
            word.fetch_or(1 << bit, Ordering::SeqCst);
        }
        self.mark()
    }

    /// Posts what is not a vector of its own; true if the owner must be woken.
    pub(super) fn post_event(&self, mode: DeliveryMode, vector: u8) -> bool {
        let update = |events: u32| match mode {
            // INIT forgets a start-up that came before it; one that comes after it waits behind it.
            DeliveryMode::Init => Some(events & !(EVENT_STARTUP | STARTUP_VECTOR) | EVENT_INIT),
            DeliveryMode::Startup if events & EVENT_STARTUP == 0 => {
                Some(events & !STARTUP_VECTOR | EVENT_STARTUP | u32::from(vector))
            }
            DeliveryMode::Nmi => Some(events | EVENT_NMI),
            DeliveryMode::ExtInt => Some(events | EVENT_EXT_INT),
            _ => None,
        };
        match self.events.fetch_update(Ordering::SeqCst, Ordering::SeqCst, update) {
            Ok(_) => self.mark(),
            Err(_) => false,
        }
    }

    /// Drives LINT0 (`pin` 0) or LINT1; true if the owner must be woken.
    pub(super) fn set_lint(&self, pin: u32, level: bool) -> bool {
        let (line, edge) =
            if pin == 0 { (&self.lint0, EVENT_LINT0_EDGE) } else { (&self.lint1, EVENT_LINT1_EDGE) };
        let before = line.swap(level, Ordering::SeqCst);
        if before == level {
            return false;
        }
        if level {
            self.events.fetch_or(edge, Ordering::SeqCst);
        }
        let heard = pin != 0 || self.lint0_heard.load(Ordering::SeqCst);
        level && heard && self.mark()
    }

    /// Whether LINT0 is up.
    pub(super) fn lint0(&self) -> bool {
        self.lint0.load(Ordering::SeqCst)
    }

    /// Whether LINT1 is up.
    pub(super) fn lint1(&self) -> bool {
        self.lint1.load(Ordering::SeqCst)
    }

    /// Owner: whether LINT0 is unmasked. To be followed by a look at [`ApicMailbox::lint0`].
    pub(super) fn set_lint0_heard(&self, heard: bool) {
        self.lint0_heard.store(heard, Ordering::SeqCst);
    }

    /// Owner: clears the mark. What is posted from here on marks again.
    pub(super) fn clear_mark(&self) {
        self.posted.store(false, Ordering::SeqCst);
    }

    /// Owner: takes the vectors.
    pub(super) fn take_vectors(&self) -> PostedVectors {
        let take = |set: &[AtomicU64; 4]| {
            let mut taken = [0; 4];
            for (to, from) in taken.iter_mut().zip(set) {
                // Most words are empty; a load is cheaper than a locked exchange.
                if from.load(Ordering::SeqCst) != 0 {
                    *to = from.swap(0, Ordering::SeqCst);
                }
            }
            taken
        };
        PostedVectors { edge: take(&self.edge), level: take(&self.level) }
    }

    /// Owner: takes the events.
    pub(super) fn take_events(&self) -> PostedEvents {
        if self.events.load(Ordering::SeqCst) == 0 {
            return PostedEvents::default();
        }
        let events = self.events.swap(0, Ordering::SeqCst);
        PostedEvents {
            init: events & EVENT_INIT != 0,
            startup: (events & EVENT_STARTUP != 0).then_some((events & STARTUP_VECTOR) as u8),
            nmi: events & EVENT_NMI != 0,
            ext_int: events & EVENT_EXT_INT != 0,
            lint0_edge: events & EVENT_LINT0_EDGE != 0,
            lint1_edge: events & EVENT_LINT1_EDGE != 0,
        }
    }

    /// Owner: publishes how the APIC is addressed.
    pub(super) fn set_address(&self, address: ApicAddress) {
        self.address.store(address.pack(), Ordering::SeqCst);
    }

    /// How the APIC is addressed.
    pub(super) fn address(&self) -> ApicAddress {
        ApicAddress::unpack(self.address.load(Ordering::SeqCst))
    }

    /// Owner: publishes the processor priority, for lowest-priority arbitration.
    pub(super) fn set_priority(&self, priority: u8) {
        self.priority.store(priority.into(), Ordering::Relaxed);
    }

    /// The processor priority last published.
    pub(super) fn priority(&self) -> u32 {
        self.priority.load(Ordering::Relaxed)
    }
}
