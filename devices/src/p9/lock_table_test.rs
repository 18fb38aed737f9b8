use proptest::prelude::*;

use super::*;

const FILE: FileId = FileId { device: 1, inode: 2 };

fn owner(process: u32) -> Owner {
    Owner::new(b"guest", process)
}

#[test]
fn spans() {
    let end = i64::MAX as u64;
    assert_eq!(Span::new(5, 3), Some(Span { first: 5, last: 7 }));
    assert_eq!(Span::new(5, 0).map(Span::length), Some(0));
    assert_eq!(Span::new(end, 1), Some(Span { first: end, last: end }));
    assert_eq!(Span::new(end, 2), None);
    assert_eq!(Span::new(end + 1, 0), None);
    assert_eq!(Span::new(u64::MAX, u64::MAX), None);
}

#[test]
fn names_of_clients_are_cut() {
    assert_eq!(Owner::new(&[b'x'; 1000], 1).client.len(), MAX_CLIENT);
}

/// What each byte is locked as, by whom: the definition that the table is compared with.
#[derive(Default)]
struct Bytes(Vec<(u32, bool)>);

#[derive(Clone, Debug)]
enum Op {
    Lock { process: u32, first: u64, length: u64, exclusive: bool },
    Unlock { process: u32, first: u64, length: u64 },
    Close { opener: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let span = (0..24u64, 1..10u64);
    prop_oneof![
        3 => (0..3u32, span.clone(), any::<bool>())
            .prop_map(|(process, (first, length), exclusive)| Op::Lock { process, first, length, exclusive }),
        2 => (0..3u32, span).prop_map(|(process, (first, length))| Op::Unlock { process, first, length }),
        1 => (0..3u64).prop_map(|opener| Op::Close { opener }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn byte_by_byte(ops in prop::collection::vec(op(), 1..40)) {
        let table = LockTable::default();
        let mut bytes: Vec<Bytes> = (0..40).map(|_| Bytes::default()).collect();
        for op in ops {
            match op {
                Op::Lock { process, first, length, exclusive } => {
                    let range = first as usize..(first + length) as usize;
                    let free = bytes[range.clone()]
                        .iter()
                        .all(|byte| byte.0.iter().all(|(by, hard)| *by == process || !(exclusive || *hard)));
                    let span = Span::new(first, length).unwrap();
                    // One open file per process.
                    let got = table.lock(FILE, None, owner(process), process.into(), span, exclusive);
                    prop_assert_eq!(got, if free { Outcome::Done } else { Outcome::Blocked });
                    if free {
                        for byte in &mut bytes[range] {
                            byte.0.retain(|(by, _)| *by != process);
                            byte.0.push((process, exclusive));
                        }
                    }
                }
                Op::Unlock { process, first, length } => {
                    table.unlock(FILE, &owner(process), Span::new(first, length).unwrap());
                    for byte in &mut bytes[first as usize..(first + length) as usize] {
                        byte.0.retain(|(by, _)| *by != process);
                    }
                }
                Op::Close { opener } => {
                    table.close(FILE, opener);
                    for byte in &mut bytes {
                        byte.0.retain(|(by, _)| u64::from(*by) != opener);
                    }
                }
            }
            for (at, byte) in bytes.iter().enumerate() {
                for process in 0..4 {
                    for exclusive in [false, true] {
                        let blocked = byte.0.iter().any(|(by, hard)| *by != process && (exclusive || *hard));
                        let span = Span::new(at as u64, 1).unwrap();
                        let held = lock(&table.files).get(&FILE).and_then(|locks| {
                            locks.blocking(&owner(process), span, exclusive).cloned()
                        });
                        prop_assert_eq!(held.is_some(), blocked);
                    }
                }
            }
        }
        for process in 0..3 {
            table.unlock(FILE, &owner(process), Span::new(0, 0).unwrap());
        }
        prop_assert!(lock(&table.files).is_empty(), "nothing is left of what nobody holds");
    }
}
