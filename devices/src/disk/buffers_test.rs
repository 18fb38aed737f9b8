use proptest::prelude::*;

use super::*;

/// The memory of `source` in one piece.
fn content(source: &Source<'_>) -> Vec<u8> {
    let mut bytes = vec![0; source.len()];
    source.copy_to(&mut bytes);
    bytes
}

#[test]
fn empty_ranges_are_left_out() {
    let (mut first, mut second) = ([], [1, 2, 3]);
    let slices = [VolatileSlice::from(&mut first[..]), VolatileSlice::from(&mut second[..])];

    let source = Source::of_slices(&slices);

    assert_eq!(source.slices().len(), 1);
    assert_eq!(content(&source), [1, 2, 3]);
    assert_eq!(Source::of_bytes(&[]).len(), 0);
    assert!(Source::of_bytes(&[]).slices().is_empty());
}

#[test]
fn repeating_nothing_is_nothing() {
    assert_eq!(Source::repeating(&[], 10).len(), 0);
    assert_eq!(content(&Source::repeating(&[1, 2], 5)), [1, 2, 1, 2, 1]);
}

#[test]
fn a_target_is_zeroed_and_filled_in_pieces() {
    let mut bytes = vec![9; 10_000];
    let (front, back) = bytes.split_at_mut(3);
    let slices = [VolatileSlice::from(front), VolatileSlice::from(back)];
    let mut target = Target::of_slices(&slices);

    let mut head = target.take(5);
    head.copy_from(&[1, 2, 3, 4, 5]);
    target.zero();

    assert_eq!(target.len(), 0);
    drop((head, target));
    assert_eq!(bytes[..6], [1, 2, 3, 4, 5, 0]);
    assert!(bytes[5..].iter().all(|byte| *byte == 0));
}

proptest! {
    /// However ranges are laid out, taken and advanced, the bytes come in order.
    #[test]
    fn bytes_come_in_order(lens in prop::collection::vec(0..20usize, 0..10), steps in prop::collection::vec((0..30usize, any::<bool>()), 0..10)) {
        let total: usize = lens.iter().sum();
        let mut bytes: Vec<u8> = (0..total).map(|index| index as u8).collect();
        let expected = bytes.clone();
        let mut rest = &mut bytes[..];
        let mut slices = Vec::new();
        for len in lens {
            let (front, behind) = rest.split_at_mut(len);
            slices.push(VolatileSlice::from(front));
            rest = behind;
        }
        let mut source = Source::of_slices(&slices);
        let mut at = 0;
        for (count, take) in steps {
            let count_there = count.min(expected.len() - at);
            if take {
                let taken = source.take(count);
                prop_assert_eq!(content(&taken), &expected[at..at + count_there]);
            } else {
                source.advance(count);
            }
            at += count_there;
            prop_assert_eq!(source.len(), expected.len() - at);
            prop_assert_eq!(content(&source), &expected[at..]);
        }
    }
}
