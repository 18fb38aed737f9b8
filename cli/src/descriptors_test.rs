use super::*;

#[test]
fn raised_to_what_is_of_use_and_allowed() {
    let limit = |current, maximum| Rlimit { current, maximum };
    assert_eq!(raised(limit(Some(256), None), 65_536), Some(65_536));
    assert_eq!(raised(limit(Some(1024), Some(4096)), 65_536), Some(4096));
    assert_eq!(raised(limit(Some(1024), Some(1 << 20)), 65_536), Some(65_536));
    assert_eq!(raised(limit(Some(4096), Some(4096)), 65_536), None);
    assert_eq!(raised(limit(Some(100_000), None), 65_536), None, "never lowered");
    assert_eq!(raised(limit(None, None), 65_536), None);
}
