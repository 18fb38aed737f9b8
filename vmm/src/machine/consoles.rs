//! A machine's consoles: COM1, and a virtio console if it has one.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use devices::serial::Serial16550;
use devices::virtio::console::ConsoleHandle;
use mio::Registry;

use crate::console::{Attention, Console, Key, Place, Seen, Terminal};
use crate::lock;

/// Linux's `hvc` driver takes Ctrl-O for the break that it has not: a SysRq key follows.
const CTRL_O: u8 = 0x0f;

/// Which console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleKind {
    /// COM1, Linux's `ttyS0`.
    Serial,
    /// The virtio console, Linux's `hvc0`.
    Virtio,
}

impl fmt::Display for ConsoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serial => "console",
            Self::Virtio => "virtio console",
        })
    }
}

/// Where what is typed goes.
enum Input {
    Serial(Arc<Mutex<Serial16550>>),
    Virtio(ConsoleHandle),
}

impl Input {
    /// Offers input; answers how many bytes were taken.
    fn offer(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Serial(serial) => lock(serial).enqueue(bytes),
            Self::Virtio(console) => console.enqueue(bytes),
        }
    }

    fn send_break(&self) {
        match self {
            Self::Serial(serial) => lock(serial).receive_break(),
            // A guest that takes no input takes no break.
            Self::Virtio(console) => _ = console.enqueue(&[CTRL_O]),
        }
    }
}

struct Port {
    console: Console,
    input: Input,
}

/// A console that listens for somebody, for a person to be told.
pub(super) enum Listening {
    Pty(PathBuf),
    Socket(PathBuf),
}

/// All of them, as the owner's loop serves them.
pub(super) struct Consoles(Vec<Port>);

impl Consoles {
    pub(super) fn new(
        serial: (Console, Arc<Mutex<Serial16550>>),
        virtio: Option<(Console, ConsoleHandle)>,
    ) -> Self {
        let (console, input) = serial;
        let virtio = virtio.map(|(console, input)| Port { console, input: Input::Virtio(input) });
        let serial = Port { console, input: Input::Serial(input) };
        Self(std::iter::once(serial).chain(virtio).collect())
    }

    /// The run begins: terminals become raw, events are asked for.
    pub(super) fn attach(&mut self, registry: &Registry) -> io::Result<()> {
        for port in &mut self.0 {
            port.console.attach()?;
            port.console.register(registry)?;
        }
        self.resize();
        Ok(())
    }

    /// Consoles that wait for somebody to connect.
    pub(super) fn listening(&self) -> impl Iterator<Item = (ConsoleKind, Listening)> {
        self.0.iter().filter_map(|port| {
            let kind = match port.input {
                Input::Serial(_) => ConsoleKind::Serial,
                Input::Virtio(_) => ConsoleKind::Virtio,
            };
            let listening = match port.console.place() {
                Place::Pty { path, .. } => Listening::Pty(path.clone()),
                Place::Socket { path, .. } => Listening::Socket(path.clone()),
                Place::Stdio { .. } | Place::File { .. } | Place::Null => return None,
            };
            Some((kind, listening))
        })
    }

    /// Tells a virtio console how large its terminal is; serial ports do not know of sizes.
    pub(super) fn resize(&self) {
        for port in &self.0 {
            if let (Input::Virtio(console), Some(terminal)) = (&port.input, port.console.place().terminal())
                && let Some((columns, rows)) = terminal.size()
            {
                console.set_size(columns, rows);
            }
        }
    }

    /// The terminal that one of them may be on.
    pub(super) fn terminal(&self) -> Option<&Arc<Terminal>> {
        self.0.iter().find_map(|port| port.console.place().terminal())
    }

    /// May a person be typing at one?
    pub(super) fn is_interactive(&self) -> bool {
        self.0.iter().any(|port| port.console.place().is_interactive())
    }

    /// Moves output on; what was seen on any.
    pub(super) fn pump_output(&mut self) -> Seen {
        let mut all = Seen::default();
        for port in &mut self.0 {
            let seen = port.console.pump_output();
            all.milestones.extend(seen.milestones);
            all.expected |= seen.expected;
            all.closed |= seen.closed;
        }
        all
    }

    /// Moves input on; the answer is what is asked of the machine.
    pub(super) fn pump_input(&mut self, registry: &Registry) -> Vec<Key> {
        let mut asked = Vec::new();
        for Port { console, input } in &mut self.0 {
            for key in console.pump_input(registry, |bytes| input.offer(bytes)) {
                match key {
                    Key::Break => input.send_break(),
                    key => asked.push(key),
                }
            }
        }
        asked
    }

    /// When the most eager of them is looked at again.
    pub(super) fn wants_attention(&self) -> Attention {
        self.0.iter().map(|port| port.console.wants_attention()).min().unwrap_or(Attention::OnEvents)
    }

    /// Have all readers caught up?
    pub(super) fn have_room(&self) -> bool {
        self.0.iter().all(|port| port.console.has_room())
    }

    /// Is there output that a reader has not taken?
    pub(super) fn have_output(&self) -> bool {
        self.0.iter().any(|port| port.console.has_output())
    }

    /// Bytes seen, and bytes nobody took.
    pub(super) fn counts(&self) -> (u64, u64) {
        let counts = self.0.iter().map(|port| port.console.counts());
        counts.fold((0, 0), |(seen, dropped), (more, lost)| (seen + more, dropped + lost))
    }

    /// When the first byte came.
    pub(super) fn first_byte(&self) -> Option<Instant> {
        self.0.iter().filter_map(|port| port.console.first_byte()).min()
    }
}
