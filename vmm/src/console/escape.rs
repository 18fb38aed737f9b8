//! The keys that are for the VMM, not for the guest.

/// The escape key: Ctrl-A.
const ESCAPE: u8 = 0x01;

/// The keys, for people; lines end in LF.
pub const ESCAPE_HELP: &str = "Ctrl-A x  quit\n\
    Ctrl-A h  this list\n\
    Ctrl-A b  send a break (then a SysRq key, where the guest allows it)\n\
    Ctrl-A p  press the power button\n\
    Ctrl-A Ctrl-A  send Ctrl-A\n";

/// What a key asks of the VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// End the machine.
    Quit,
    /// Show [`ESCAPE_HELP`].
    Help,
    /// Send a break condition.
    Break,
    /// Press the power button.
    PowerButton,
}

/// Finds escape sequences in typed input, across reads.
#[derive(Debug, Default, Clone, Copy)]
pub struct Escape {
    pending: bool,
}

impl Escape {
    /// Splits input: bytes for the guest are appended to `guest`, keys to the answer.
    pub fn filter(&mut self, typed: &[u8], guest: &mut Vec<u8>) -> Vec<Key> {
        let mut keys = Vec::new();
        for &byte in typed {
            if !self.pending {
                match byte {
                    ESCAPE => self.pending = true,
                    _ => guest.push(byte),
                }
                continue;
            }
            self.pending = false;
            match byte {
                ESCAPE => guest.push(ESCAPE),
                b'x' | b'X' => keys.push(Key::Quit),
                b'h' | b'H' | b'?' => keys.push(Key::Help),
                b'b' | b'B' => keys.push(Key::Break),
                b'p' | b'P' => keys.push(Key::PowerButton),
                // No such key: swallowed, as the list says what there is.
                _ => {}
            }
        }
        keys
    }
}

#[cfg(test)]
#[path = "escape_test.rs"]
mod escape_test;
