//! Interrupt lines: from a device's output pin to a controller's input.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::lock;

/// Numbered inputs of an interrupt controller or of the wiring before it. Takes levels; what an edge means is the
/// receiver's business. Called with the sending device locked, so it never calls that device back.
pub trait IrqInput: Send + Sync {
    /// Drives input `pin`. Repeating a level changes nothing. A pin that does not exist is ignored.
    fn set_level(&self, pin: u32, level: bool);
}

/// A device's interrupt output, given to it when it is made.
#[derive(Clone)]
pub struct IrqLine {
    input: Option<Arc<dyn IrqInput>>,
    pin: u32,
}

impl IrqLine {
    /// A line into `pin` of `input`.
    pub fn new(input: Arc<dyn IrqInput>, pin: u32) -> Self {
        Self { input: Some(input), pin }
    }

    /// A line that ends nowhere.
    pub fn unconnected() -> Self {
        Self { input: None, pin: 0 }
    }

    /// Drives the line.
    pub fn set_level(&self, level: bool) {
        if let Some(input) = &self.input {
            input.set_level(self.pin, level);
        }
    }

    /// Up and down again: one edge, for inputs that take edges.
    pub fn pulse(&self) {
        self.set_level(true);
        self.set_level(false);
    }
}

impl fmt::Debug for IrqLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.input {
            Some(_) => write!(f, "IrqLine(pin {})", self.pin),
            None => write!(f, "IrqLine(unconnected)"),
        }
    }
}

/// Joins several lines into one that is up while any of them is: shared level-triggered interrupts.
pub struct WiredOr {
    output: IrqLine,
    // The level of each line. Held while the output is driven, so that levels arrive in order.
    levels: Mutex<Vec<bool>>,
}

impl WiredOr {
    /// A junction without lines, into `output`.
    pub fn new(output: IrqLine) -> Arc<Self> {
        Arc::new(Self { output, levels: Mutex::default() })
    }

    /// A further line into the junction.
    pub fn add_line(self: &Arc<Self>) -> IrqLine {
        let mut levels = lock(&self.levels);
        let pin = u32::try_from(levels.len()).unwrap_or(u32::MAX);
        levels.push(false);
        drop(levels);
        IrqLine::new(self.clone(), pin)
    }
}

impl IrqInput for WiredOr {
    fn set_level(&self, pin: u32, level: bool) {
        let mut levels = lock(&self.levels);
        let Some(own) = usize::try_from(pin).ok().and_then(|pin| levels.get_mut(pin)) else { return };
        *own = level;
        self.output.set_level(levels.contains(&true));
    }
}

/// Drives several lines as one: an output pin that is wired to more than one controller.
pub struct LineSplit {
    lines: Vec<IrqLine>,
}

impl LineSplit {
    /// One line that drives all of `lines`, in order.
    pub fn line(lines: Vec<IrqLine>) -> IrqLine {
        IrqLine::new(Arc::new(Self { lines }), 0)
    }
}

impl IrqInput for LineSplit {
    fn set_level(&self, _pin: u32, level: bool) {
        self.lines.iter().for_each(|line| line.set_level(level));
    }
}

#[cfg(test)]
#[path = "line_test.rs"]
mod line_test;
