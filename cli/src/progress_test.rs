use super::*;

#[test]
fn the_line_tells_what_is_done_and_how_long_it_will_take() {
    let elapsed = Duration::from_secs(10);
    assert_eq!(line(256 << 20, 1 << 30, elapsed), "25 %, 256 of 1024 MiB, 30 s left");
    assert_eq!(line(1 << 30, 1 << 30, elapsed), "100 %, 1024 of 1024 MiB, 0 s left");
}

#[test]
fn nothing_done_or_to_do_is_no_division_by_zero() {
    assert_eq!(line(0, 1 << 30, Duration::ZERO), "0 %, 0 of 1024 MiB");
    assert_eq!(line(0, 0, Duration::ZERO), "100 %, 0 of 0 MiB");
    assert!(line(u64::MAX, u64::MAX, Duration::MAX).starts_with("100 %"));
}
