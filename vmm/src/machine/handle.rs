//! How others ask something of a running machine.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use super::signals::{Alarm, Message};
use crate::console::Terminal;
use crate::lifecycle::{Refusal, Request, State};
use crate::stop::StopReason;

/// Where the answer to a request goes.
pub(super) type Reply = Sender<Result<State, Refusal>>;

/// A request that was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It makes no sense now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The machine is gone.
    #[error("the machine has ended")]
    Ended,
}

/// Sends requests to a machine from any thread. Stays usable, without effect, when the machine is gone.
#[derive(Clone)]
pub struct MachineHandle {
    pub(super) messages: Sender<Message>,
    pub(super) alarm: Alarm,
    pub(super) terminal: Option<Arc<Terminal>>,
}

impl MachineHandle {
    /// Asks for a change of state and waits until it is done; the state afterwards.
    ///
    /// Must not be called by the thread that runs the machine.
    ///
    /// # Errors
    /// The request is not legal now, or the machine has ended.
    pub fn request(&self, request: Request) -> Result<State, RequestError> {
        let (reply, answer) = mpsc::channel();
        self.send(Message::Request(request, Some(reply)));
        Ok(answer.recv().map_err(|_| RequestError::Ended)??)
    }

    /// The terminal the guest's console is on, to be restored when the process is stopped or dies.
    pub fn terminal(&self) -> Option<&Arc<Terminal>> {
        self.terminal.as_ref()
    }

    /// The terminal has another size: a virtio console on it is told. Does not wait.
    pub fn resized(&self) {
        self.send(Message::Resized);
    }

    /// Ends the run with [`StopReason::Quit`]. Does not wait.
    pub fn quit(&self) {
        self.send(Message::Stop(StopReason::Quit));
    }

    /// Ends the run with [`StopReason::Signal`]. Does not wait.
    pub fn signal(&self, number: i32) {
        self.send(Message::Stop(StopReason::Signal { number }));
    }

    /// Presses the power button, and ends the run with [`StopReason::Signal`] if the guest does not listen to it or is not
    /// off after [`crate::config::MachineConfig::shutdown_timeout`]. Does not wait.
    pub fn terminate(&self, number: i32) {
        self.send(Message::Terminate(number));
    }

    fn send(&self, message: Message) {
        if self.messages.send(message).is_ok() {
            self.alarm.ring();
        }
    }
}
