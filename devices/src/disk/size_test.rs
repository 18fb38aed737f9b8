use proptest::prelude::*;

use super::*;

#[test]
fn units_are_powers_of_1024_in_any_spelling() {
    for (text, bytes) in [
        ("512B", 512),
        ("1k", 1 << 10),
        ("3K", 3 << 10),
        ("10M", 10 << 20),
        ("10MiB", 10 << 20),
        ("10mb", 10 << 20),
        ("20G", 20 << 30),
        ("2t", 2 << 40),
    ] {
        assert_eq!(text.parse::<DiskSize>().unwrap().bytes(), bytes, "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused_with_what_was_given() {
    for (text, message) in [
        ("", "is not a size"),
        ("20", "is not a size"),
        ("G", "is not a size"),
        ("-1G", "is not a size"),
        ("1.5G", "is not a size"),
        ("1Gx", "is not a size"),
        ("1iB", "is not a size"),
        ("1é", "is not a size"),
        ("0G", "at least one sector"),
        ("100B", "100 bytes is not a size for a disk"),
        ("99999999T", "too large"),
        ("99999999999999999999G", "too large"),
    ] {
        let error = text.parse::<DiskSize>().unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn text_and_back(sectors in 1..=MAX_BYTES / SECTOR_BYTES) {
        let size = DiskSize::new(sectors * SECTOR_BYTES).unwrap();
        prop_assert_eq!(size.to_string().parse::<DiskSize>().unwrap(), size);
    }

    #[test]
    fn any_text_is_answered(text in ".*") {
        let _ = text.parse::<DiskSize>();
    }
}
