//! Everything that happens elsewhere and concerns the machine's owner.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use boot::InitialState;
use devices::interrupt::VcpuWaker;
use devices::power::{SystemEvent, SystemEvents};
use devices::serial::InputReady;
use devices::time::DeadlineListener;

use super::handle::Reply;
use crate::console::OutputEvents;
use crate::lifecycle::Request;
use crate::stop::StopReason;
use crate::vcpu::{Doorbell, Hold, Turns, VcpuGroup};

/// What reaches the owner's queue.
pub(super) enum Message {
    /// Somebody asks for something.
    Request(Request, Option<Reply>),
    /// The run is to end with this reason.
    Stop(StopReason),
    /// The guest is to power off; failing that, the run ends with this signal's number.
    Terminate(i32),
    /// The terminal has another size.
    Resized,
    /// The guest has this address.
    GuestAddress(IpAddr),
    /// The guest asks for something, through a device.
    Guest(SystemEvent),
    /// A vCPU cannot go on.
    VcpuStopped(StopReason),
    /// No vCPU will ever wake.
    AllAsleep,
}

/// Wakes the owner out of its event loop. Any thread; does not block.
#[derive(Clone)]
pub(super) struct Alarm(pub(super) Arc<mio::Waker>);

impl Alarm {
    pub(super) fn ring(&self) {
        if let Err(error) = self.0.wake() {
            log::error!("the event loop cannot be woken: {error}");
        }
    }
}

/// The effects given to devices and vCPU threads.
pub(super) struct Signals {
    pub(super) group: Arc<VcpuGroup<InitialState>>,
    pub(super) messages: Sender<Message>,
    pub(super) alarm: Alarm,
}

impl Signals {
    /// Queues a message and wakes the owner.
    pub(super) fn send(&self, message: Message) {
        // Without an owner the machine is ending anyway.
        let _ = self.messages.send(message);
        self.alarm.ring();
    }
}

impl SystemEvents for Signals {
    fn notify(&self, event: SystemEvent) {
        // These come before the guest's next instruction; the others do not stop it.
        if matches!(event, SystemEvent::Reset(_) | SystemEvent::PowerOff | SystemEvent::DebugExit(_)) {
            self.group.hold(Hold::Guest);
        }
        self.send(Message::Guest(event));
    }
}

impl DeadlineListener for Signals {
    fn deadline_moved(&self) {
        self.alarm.ring();
    }
}

impl OutputEvents for Signals {
    fn output_ready(&self) {
        self.alarm.ring();
    }

    fn output_full(&self) {
        self.group.hold(Hold::Console);
        self.alarm.ring();
    }
}

/// Tells the event loop that a console takes input again.
pub(super) struct InputAlarm(pub(super) Alarm);

impl InputReady for InputAlarm {
    fn input_ready(&mut self) {
        self.0.ring();
    }
}

/// Rings vCPUs for the interrupt fabric.
pub(super) struct Bells {
    pub(super) bells: Vec<Arc<Doorbell>>,
    pub(super) turns: Option<Arc<Turns>>,
}

impl VcpuWaker for Bells {
    fn wake(&self, vcpu: usize) {
        if let Some(turns) = &self.turns {
            turns.news(vcpu);
        }
        if let Some(bell) = self.bells.get(vcpu) {
            bell.ring();
        }
    }
}
