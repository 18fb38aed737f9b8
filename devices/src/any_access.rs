//! Sequences of accesses as no sane guest makes them, for "never panics" tests of every device.

use proptest::prelude::*;

use crate::bus::{BusDevice, Width};

/// One step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A read.
    Read(u64, Width),
    /// A write.
    Write(u64, Width, u64),
    /// Time goes on by so many nanoseconds.
    Wait(u64),
    /// Something comes from the host's side; what, is the test's choice.
    Poke(u8),
}

pub(crate) fn width() -> impl Strategy<Value = Width> {
    prop::sample::select(Width::ALL.to_vec())
}

/// Values that matter: small, single bits, bytes, anything.
pub(crate) fn value() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..=0xff, (0_u32..64).prop_map(|bit| 1 << bit), any::<u64>(), Just(u64::MAX)]
}

/// Up to a few hundred steps with offsets mostly below `window`.
pub(crate) fn steps(window: u64) -> impl Strategy<Value = Vec<Step>> {
    let offset = prop_oneof![20 => 0..window, 1 => any::<u64>()];
    let time = prop_oneof![0_u64..2_000, 0_u64..2_000_000_000, any::<u64>()];
    let step = (offset, width(), value(), time, 0..12_u8, any::<u8>()).prop_map(
        |(offset, width, value, time, kind, poke)| match kind {
            0..4 => Step::Read(offset, width),
            4..10 => Step::Write(offset, width, value),
            10 => Step::Wait(time),
            _ => Step::Poke(poke),
        },
    );
    prop::collection::vec(step, 1..200)
}

/// Performs the bus steps on a device; gives time and pokes back to the caller.
pub(crate) fn perform(device: &mut dyn BusDevice, step: Step) {
    match step {
        Step::Read(offset, width) => {
            let _ = device.read(offset, width);
        }
        Step::Write(offset, width, value) => {
            let _ = device.write(offset, width, value & width.mask());
        }
        Step::Wait(_) | Step::Poke(_) => {}
    }
}
