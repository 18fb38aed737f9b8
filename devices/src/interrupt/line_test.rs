use std::sync::{Arc, Mutex};

use super::*;

#[derive(Default)]
struct Recorder(Mutex<Vec<(u32, bool)>>);

impl IrqInput for Recorder {
    fn set_level(&self, pin: u32, level: bool) {
        self.0.lock().unwrap().push((pin, level));
    }
}

#[test]
fn a_pulse_is_up_then_down() {
    let recorder = Arc::new(Recorder::default());

    IrqLine::new(recorder.clone(), 7).pulse();

    assert_eq!(*recorder.0.lock().unwrap(), [(7, true), (7, false)]);
}

#[test]
fn a_junction_is_up_while_any_line_is() {
    let recorder = Arc::new(Recorder::default());
    let junction = WiredOr::new(IrqLine::new(recorder.clone(), 3));
    let (first, second) = (junction.add_line(), junction.add_line());

    first.set_level(true);
    second.set_level(true);
    first.set_level(false);
    second.set_level(false);
    junction.set_level(99, true);

    assert_eq!(*recorder.0.lock().unwrap(), [(3, true), (3, true), (3, true), (3, false)]);
}
