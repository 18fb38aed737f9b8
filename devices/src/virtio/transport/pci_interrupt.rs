//! Interrupts of a virtio function: MSI-X where the guest uses it, else INTx with the ISR register.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::interrupt::IrqLine;
use crate::lock;
use crate::pci::spec::command;
use crate::pci::{ConfigSpace, Msix};
use crate::virtio::registers::TransportInterrupt;
use crate::virtio::spec::{NO_VECTOR, isr};

/// The INTx side.
struct Intx {
    status: u8,
    line: IrqLine,
    /// By the command register's bit 10, or because MSI-X is on.
    disabled: bool,
}

impl Intx {
    fn drive(&self) {
        self.line.set_level(self.status != 0 && !self.disabled);
    }
}

/// Shared by the function, on vCPU threads, and the device's workers.
pub(super) struct PciInterrupt {
    // Each is a leaf but for the interrupt controllers behind it; they are never held together.
    msix: Mutex<Msix>,
    intx: Mutex<Intx>,
    config_vector: AtomicU16,
    queue_vectors: Box<[AtomicU16]>,
    needs_reset: AtomicBool,
}

impl PciInterrupt {
    pub(super) fn new(msix: Msix, line: IrqLine, queues: u16) -> Self {
        Self {
            msix: Mutex::new(msix),
            intx: Mutex::new(Intx { status: 0, line, disabled: false }),
            config_vector: AtomicU16::new(NO_VECTOR),
            queue_vectors: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
            needs_reset: AtomicBool::new(false),
        }
    }

    pub(super) fn msix(&self) -> MutexGuard<'_, Msix> {
        lock(&self.msix)
    }

    fn send(&self, vector: &AtomicU16, bits: u8) {
        let mut msix = self.msix();
        if msix.is_enabled() {
            // Beyond the table, NO_VECTOR included, nothing is sent.
            msix.trigger(vector.load(Ordering::SeqCst));
            return;
        }
        drop(msix);
        let mut intx = lock(&self.intx);
        intx.status |= bits;
        intx.drive();
    }

    /// Reading the ISR register clears it, and lets go of the line (section 4.1.4.5).
    pub(super) fn take_status(&self) -> u8 {
        let mut intx = lock(&self.intx);
        let status = std::mem::take(&mut intx.status);
        intx.drive();
        status
    }

    /// Follows what the guest wrote to `config`. A function that sends messages does not drive its line (PCI 3.0, section
    /// 6.8.2.3), also not for what is pending from before.
    pub(super) fn follow(&self, config: &ConfigSpace) {
        let mut msix = self.msix();
        msix.follow(config);
        let messages = msix.is_enabled();
        drop(msix);
        self.set_intx_disabled(messages || config.command() & command::INTX_DISABLE != 0);
    }

    fn set_intx_disabled(&self, disabled: bool) {
        let mut intx = lock(&self.intx);
        intx.disabled = disabled;
        intx.drive();
    }

    pub(super) fn intx_raised(&self) -> bool {
        lock(&self.intx).status != 0
    }

    pub(super) fn config_vector(&self) -> u16 {
        self.config_vector.load(Ordering::SeqCst)
    }

    pub(super) fn set_config_vector(&self, vector: u16) {
        self.config_vector.store(self.checked(vector), Ordering::SeqCst);
    }

    pub(super) fn queue_vector(&self, queue: u16) -> u16 {
        self.queue_vectors.get(usize::from(queue)).map_or(NO_VECTOR, |vector| vector.load(Ordering::SeqCst))
    }

    pub(super) fn set_queue_vector(&self, queue: u16, vector: u16) {
        let vector = self.checked(vector);
        if let Some(slot) = self.queue_vectors.get(usize::from(queue)) {
            slot.store(vector, Ordering::SeqCst);
        }
    }

    /// A vector that does not exist reads back as none: the driver then knows (section 4.1.5.1.2.1).
    fn checked(&self, vector: u16) -> u16 {
        if vector < self.msix().vectors() { vector } else { NO_VECTOR }
    }

    /// Power-up reset, beyond what a reset of the device does.
    pub(super) fn power_up(&self) {
        self.msix().reset();
        self.set_intx_disabled(false);
    }
}

impl TransportInterrupt for PciInterrupt {
    fn queue_used(&self, queue: u16) {
        if let Some(vector) = self.queue_vectors.get(usize::from(queue)) {
            self.send(vector, isr::QUEUE);
        }
    }

    fn config_changed(&self) {
        self.send(&self.config_vector, isr::CONFIG);
    }

    fn needs_reset(&self) {
        self.needs_reset.store(true, Ordering::SeqCst);
        self.config_changed();
    }

    fn reset_needed(&self) -> bool {
        self.needs_reset.load(Ordering::SeqCst)
    }

    fn clear(&self) {
        self.needs_reset.store(false, Ordering::SeqCst);
        self.take_status();
        self.config_vector.store(NO_VECTOR, Ordering::SeqCst);
        for vector in &self.queue_vectors {
            vector.store(NO_VECTOR, Ordering::SeqCst);
        }
    }
}
