use super::*;

fn read(text: &str) -> Vec<Milestone> {
    LineReader::default().feed(text.as_bytes())
}

#[test]
fn kernel_lines_are_known_with_and_without_stamps() {
    for stamp in ["", "[    1.234567] ", "[  123.000001][    T1] ", "[    0.5][   C0] "] {
        assert_eq!(read(&format!("{stamp}Run /init as init process\r\n")), [Milestone::Init]);
        assert_eq!(
            read(&format!("{stamp}Kernel panic - not syncing: VFS: Unable to mount root fs\r\n")),
            [Milestone::PanicBegins]
        );
        assert_eq!(
            read(&format!("{stamp}---[ end Kernel panic - not syncing: VFS ]---\n")),
            [Milestone::PanicEnds]
        );
    }
}

#[test]
fn what_merely_mentions_a_panic_is_none() {
    for line in [
        "/ # echo Kernel panic - not syncing",
        "grep: Kernel panic - not syncing: x",
        "[note] Kernel panic - not syncing",
        "Running /init as init process",
    ] {
        assert_eq!(read(&format!("{line}\r\n")), [], "{line}");
    }
}

#[test]
fn lines_may_come_in_pieces_and_be_endless() {
    let mut reader = LineReader::default();
    assert_eq!(reader.feed(b"Run /sbin/init as in"), []);
    assert_eq!(reader.feed(b"it process\r"), []);
    assert_eq!(reader.feed(b"\n"), [Milestone::Init]);
    assert_eq!(reader.feed(&vec![b'x'; 1 << 20]), []);
    assert!(reader.line.len() <= MAX_LINE);
    assert_eq!(reader.feed(b"\nRun /init as init process\n"), [Milestone::Init]);
}
