use super::*;

fn filter(chunks: &[&[u8]]) -> (Vec<u8>, Vec<Key>) {
    let (mut escape, mut guest) = (Escape::default(), Vec::new());
    let keys = chunks.iter().flat_map(|chunk| escape.filter(chunk, &mut guest)).collect();
    (guest, keys)
}

#[test]
fn ordinary_input_passes_every_byte_but_the_escape() {
    let all: Vec<u8> = (0..=255).filter(|byte| *byte != ESCAPE).collect();
    assert_eq!(filter(&[&all]), (all.clone(), vec![]));
}

#[test]
fn keys_are_found_also_across_reads() {
    assert_eq!(filter(&[b"a\x01xb"]), (b"ab".to_vec(), vec![Key::Quit]));
    assert_eq!(filter(&[b"a\x01", b"xb"]), (b"ab".to_vec(), vec![Key::Quit]));
    assert_eq!(filter(&[b"\x01h\x01b\x01p"]).1, [Key::Help, Key::Break, Key::PowerButton]);
}

#[test]
fn twice_sends_one() {
    assert_eq!(filter(&[b"\x01\x01x"]), (b"\x01x".to_vec(), vec![]));
}

#[test]
fn unknown_keys_are_swallowed() {
    assert_eq!(filter(&[b"\x01zq"]), (b"q".to_vec(), vec![]));
}
