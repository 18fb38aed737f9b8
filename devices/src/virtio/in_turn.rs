//! A device that answers before its driver goes on.

use super::{Activation, ActivationError, DeviceKind, Queue, VirtioDevice};

/// A device whose requests are done, and their interrupts sent, when the driver's notification returns: for machines
/// whose time is counted. Between notifications its queues are stopped, so what the driver puts into them unannounced is
/// not found early. Requests take none of the guest's time; what comes by itself (a frame from outside) waits for the
/// next notification.
pub struct InTurn {
    device: Box<dyn VirtioDevice>,
    /// By number.
    queues: Vec<Option<Queue>>,
}

impl InTurn {
    /// Makes a device answer at once.
    pub fn new(device: Box<dyn VirtioDevice>) -> Self {
        let queues = device.queue_sizes().iter().map(|_| None).collect();
        Self { device, queues }
    }

    fn serve(&mut self, index: u16, queue: Queue) {
        self.device.start_queue(index, queue);
        self.device.settle(index);
        if let Some(slot) = self.queues.get_mut(usize::from(index)) {
            *slot = self.device.stop_queue(index);
        }
    }
}

impl VirtioDevice for InTurn {
    fn kind(&self) -> DeviceKind {
        self.device.kind()
    }

    fn features(&self) -> u64 {
        self.device.features()
    }

    fn queue_sizes(&self) -> &[u16] {
        self.device.queue_sizes()
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        self.device.read_config(offset, bytes);
    }

    fn write_config(&mut self, offset: u64, bytes: &[u8]) {
        self.device.write_config(offset, bytes);
    }

    fn config_generation(&self) -> u32 {
        self.device.config_generation()
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivationError> {
        self.device.activate(activation)
    }

    fn start_queue(&mut self, index: u16, queue: Queue) {
        self.serve(index, queue);
    }

    fn stop_queue(&mut self, index: u16) -> Option<Queue> {
        self.queues.get_mut(usize::from(index))?.take()
    }

    fn notify(&mut self, index: u16) {
        if let Some(queue) = self.queues.get_mut(usize::from(index)).and_then(Option::take) {
            self.serve(index, queue);
        }
    }

    fn deactivate(&mut self) {
        self.device.deactivate();
    }
}

#[cfg(test)]
#[path = "in_turn_test.rs"]
mod in_turn_test;
