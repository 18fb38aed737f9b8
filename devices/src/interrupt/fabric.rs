//! The way from any sender of interrupts to the local APICs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::mailbox::{ApicAddress, ApicMode, x2apic_logical_id};
use super::{
    ApicMailbox, DeliveryMode, Destination, InterruptMessage, IrqInput, IrqLine, MsiMessage, MsiTarget,
};

/// Wakes a vCPU: out of its halt, or out of the guest.
///
/// Called once each time the vCPU's mailbox goes from empty to not empty; until the vCPU has looked
/// ([`super::LocalApic::has_work`] or anything that collects), it is not called again. So a wake must not be lost: one
/// that comes while the vCPU is about to enter must keep it from staying inside. The order that is safe is: the vCPU
/// publishes "entering", then asks `has_work`, then enters; the waker finds "entering" and interrupts.
///
/// May be called on any thread, with devices locked, also on the vCPU's own: a leaf that does not block.
pub trait VcpuWaker: Send + Sync {
    /// Something new is pending for vCPU `vcpu` (its index in the fabric).
    fn wake(&self, vcpu: usize);
}

/// Told that a vCPU finished a level-triggered interrupt. Implemented by the I/O APIC.
pub trait EoiListener: Send + Sync {
    /// A local APIC got an EOI for `vector`, which had come by level.
    fn end_of_interrupt(&self, vector: u8);
}

/// Routes interrupt messages to local APICs. One per machine; any thread.
pub struct InterruptFabric {
    mailboxes: Vec<Arc<ApicMailbox>>,
    waker: Arc<dyn VcpuWaker>,
    eoi_listener: OnceLock<Weak<dyn EoiListener>>,
    /// Where the search for the least busy target starts, so that equals take turns.
    turn: AtomicUsize,
}

impl InterruptFabric {
    /// Mailboxes for the vCPUs with these APIC IDs, in order; a vCPU's place in it is its index.
    pub fn new(apic_ids: &[u32], waker: Arc<dyn VcpuWaker>) -> Arc<Self> {
        let mailbox = |&apic_id: &u32| {
            Arc::new(ApicMailbox::new(ApicAddress {
                apic_id,
                mode: ApicMode::XApic,
                logical_id: 0,
                flat: true,
                software_enabled: false,
            }))
        };
        Arc::new(Self {
            mailboxes: apic_ids.iter().map(mailbox).collect(),
            waker,
            eoi_listener: OnceLock::new(),
            turn: AtomicUsize::new(0),
        })
    }

    /// Number of vCPUs.
    pub fn vcpus(&self) -> usize {
        self.mailboxes.len()
    }

    /// The mailbox of vCPU `vcpu`, by index.
    pub fn mailbox(&self, vcpu: usize) -> Option<&Arc<ApicMailbox>> {
        self.mailboxes.get(vcpu)
    }

    /// Says who is told of level-triggered EOIs; the first one stays.
    pub fn attach_eoi_listener(&self, listener: Weak<dyn EoiListener>) {
        // A second listener would be a second I/O APIC, which the platform does not have.
        let _ = self.eoi_listener.set(listener);
    }

    /// The line into LINT0 of every local APIC: the 8259's INT output.
    pub fn lint0(self: &Arc<Self>) -> IrqLine {
        IrqLine::new(self.clone(), 0)
    }

    /// The line into LINT1 of every local APIC: NMI.
    pub fn lint1(self: &Arc<Self>) -> IrqLine {
        IrqLine::new(self.clone(), 1)
    }

    /// Posts `message` to its targets; the number of local APICs that took it.
    pub fn deliver(&self, message: &InterruptMessage) -> usize {
        self.deliver_from(None, None, message)
    }

    /// Posts an IPI. `sender` is not woken, it is awake; `except` is skipped ("all but self").
    pub(super) fn deliver_from(
        &self,
        sender: Option<usize>,
        except: Option<usize>,
        message: &InterruptMessage,
    ) -> usize {
        let targets = self.mailboxes.iter().enumerate().filter(|(index, mailbox)| {
            Some(*index) != except && addressed(&mailbox.address(), message.destination)
        });
        if message.mode == DeliveryMode::LowestPriority {
            return usize::from(self.deliver_lowest(sender, targets, message));
        }
        let mut taken = 0;
        for (index, mailbox) in targets {
            taken += usize::from(self.post(sender, index, mailbox, message));
        }
        taken
    }

    fn deliver_lowest<'a>(
        &self,
        sender: Option<usize>,
        targets: impl Iterator<Item = (usize, &'a Arc<ApicMailbox>)>,
        message: &InterruptMessage,
    ) -> bool {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.mailboxes.len().max(1);
        let first = turn % count;
        let chosen = targets
            .filter(|(_, mailbox)| mailbox.address().software_enabled)
            .min_by_key(|(index, mailbox)| (mailbox.priority() >> 4, (index + count - first) % count));
        chosen.is_some_and(|(index, mailbox)| self.post(sender, index, mailbox, message))
    }

    fn post(
        &self,
        sender: Option<usize>,
        index: usize,
        mailbox: &ApicMailbox,
        message: &InterruptMessage,
    ) -> bool {
        let wake = match message.mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                // A software-disabled APIC takes no vectors, but still INIT, NMI and start-up.
                if !mailbox.address().software_enabled {
                    return false;
                }
                mailbox.post_vector(message.vector, message.trigger)
            }
            DeliveryMode::Smi => return false,
            mode => mailbox.post_event(mode, message.vector),
        };
        if wake && sender != Some(index) {
            self.waker.wake(index);
        }
        true
    }

    pub(super) fn end_of_interrupt(&self, vector: u8) {
        if let Some(listener) = self.eoi_listener.get().and_then(Weak::upgrade) {
            listener.end_of_interrupt(vector);
        }
    }
}

/// Whether a local APIC that listens as `address` says takes messages for `destination`.
fn addressed(address: &ApicAddress, destination: Destination) -> bool {
    match (address.mode, destination) {
        // INIT and start-up reach a processor only through its APIC.
        (ApicMode::Disabled, _) => false,
        (_, Destination::All) => true,
        (_, Destination::Physical(id)) => address.apic_id == id,
        (ApicMode::X2Apic, Destination::Logical(id)) => {
            let own = x2apic_logical_id(address.apic_id);
            id == u32::MAX || (own >> 16 == id >> 16 && own & id & 0xffff != 0)
        }
        (ApicMode::XApic, Destination::Logical(id)) => {
            let (own, id) = (u32::from(address.logical_id), id & 0xff);
            if address.flat {
                own & id != 0
            } else {
                // Cluster 15 addresses all clusters.
                (id >> 4 == 0xf || own >> 4 == id >> 4) && own & id & 0xf != 0
            }
        }
    }
}

impl IrqInput for InterruptFabric {
    fn set_level(&self, pin: u32, level: bool) {
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            if pin <= 1 && mailbox.set_lint(pin, level) {
                self.waker.wake(index);
            }
        }
    }
}

impl MsiTarget for InterruptFabric {
    fn send_msi(&self, message: MsiMessage) {
        if let Some(interrupt) = message.decode() {
            self.deliver(&interrupt);
        }
    }
}
