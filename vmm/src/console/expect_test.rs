use super::*;

fn matcher(pattern: &str) -> Matcher {
    Matcher::new(ExpectPattern::new(pattern).unwrap())
}

#[test]
fn a_match_may_cross_every_chunk_border() {
    let text = b"[    1.0] Run /init as init process\r\n/ # ";
    for split in 0..=text.len() {
        let mut matcher = matcher(r"Run \S+ as init");
        let (first, second) = text.split_at(split);
        assert!(matcher.feed(first) || matcher.feed(second), "split at {split}");
    }
    let mut bytewise = matcher(r"^/ # $");
    assert_eq!(text.iter().position(|byte| bytewise.feed(&[*byte])), Some(text.len() - 1));
}

#[test]
fn anchors_are_lines_with_cr_lf() {
    assert!(matcher("^two$").feed(b"one\r\ntwo\r\nthree"));
    assert!(!matcher("^wo$").feed(b"one\r\ntwo\r\n"));
}

#[test]
fn memory_is_bounded_and_late_matches_are_found() {
    let mut matcher = matcher("needle");
    for _ in 0..10_000 {
        assert!(!matcher.feed(&[b'x'; 997]));
        assert!(matcher.window.len() <= MAX_WINDOW + 997);
    }
    assert!(!matcher.feed(b"nee"));
    assert!(matcher.feed(b"dle"));
}

#[test]
fn a_needle_anywhere_in_a_huge_chunk_is_found() {
    for at in [0, MAX_MATCH, MAX_WINDOW - 3, MAX_WINDOW, 3 * MAX_WINDOW] {
        let mut text = vec![b'.'; 4 * MAX_WINDOW];
        text[at..at + 6].copy_from_slice(b"needle");
        assert!(matcher("needle").feed(&text), "{at}");
    }
}

#[test]
fn where_the_window_was_cut_no_line_begins() {
    let mut matcher = matcher("^x");
    let mut text = vec![b'x'; 3 * MAX_WINDOW];
    text[0] = b'y';
    assert!(!matcher.feed(&text));
    assert!(matcher.feed(b"\nx"));
}

#[test]
fn output_is_bytes_not_text() {
    assert!(matcher("ok").feed(b"\xff\xfe\x80ok"));
}

#[test]
fn bad_patterns_have_a_reason_on_one_line() {
    for pattern in ["(", "[", "a{1000000}", "\\p{nothing}", "a{999}{999}{999}"] {
        let error = ExpectPattern::new(pattern).unwrap_err().to_string();
        assert!(!error.contains('\n') && error.len() > 12, "{pattern}: {error}");
    }
}
