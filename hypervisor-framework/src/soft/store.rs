//! VMCS fields that the engine does not hold.

use crate::x86_64::vmcs::Field;

/// Width (2 bits), area (2 bits) and index (5 bits are enough for every field) of an encoding.
const SLOTS: usize = 1 << 9;

/// One 64-bit slot per encoding.
pub(super) struct Store(Box<[u64; SLOTS]>);

impl Store {
    pub(super) fn new() -> Self {
        Self(Box::new([0; SLOTS]))
    }

    pub(super) fn get(&self, field: Field) -> u64 {
        self.0[slot(field)]
    }

    pub(super) fn set(&mut self, field: Field, value: u64) {
        self.0[slot(field)] = value;
    }
}

fn slot(field: Field) -> usize {
    let encoding = field.0 as usize;
    (encoding >> 13 & 3) << 7 | (encoding >> 10 & 3) << 5 | encoding >> 1 & 0x1f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_fields_share_a_slot() {
        let mut slots: Vec<_> = Field::ALL.iter().map(|field| slot(*field)).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), Field::ALL.len());
    }
}
