use super::*;

#[test]
fn sizes() {
    for (text, bytes) in [
        ("512M", 512 << 20),
        ("512m", 512 << 20),
        ("512", 512 << 20),
        ("2G", 2 << 30),
        ("2GiB", 2 << 30),
        ("2gb", 2 << 30),
        ("4096K", 4 << 20),
        ("0", 0),
    ] {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for text in
        ["", "M", "-1", "1.5G", "5b", "5X", "99999999999999999999", "18446744073709551615T", "1 G", "٣"]
    {
        assert!(parse_size(text).is_err(), "{text}");
    }
}

#[test]
fn durations() {
    for (text, milliseconds) in
        [("30", 30_000), ("30s", 30_000), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000)]
    {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    for text in ["", "0", "0ms", "s", "-1s", "1.5s", "1d", "18446744073709551615h"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[derive(serde::Serialize, Deserialize, PartialEq, Debug)]
struct Both {
    #[serde(with = "size")]
    size: u64,
    #[serde(with = "time")]
    time: Duration,
    #[serde(with = "optional_time", default, skip_serializing_if = "Option::is_none")]
    maybe: Option<Duration>,
}

#[test]
fn files_have_them_as_text() {
    let both = Both { size: 1536 << 20, time: Duration::from_millis(1500), maybe: None };
    let text = toml::to_string(&both).unwrap();
    assert_eq!(text, "size = \"1536M\"\ntime = \"1500ms\"\n");
    assert_eq!(toml::from_str::<Both>(&text).unwrap(), both);
    let error = toml::from_str::<Both>("size = \"1Q\"\ntime = \"1s\"").unwrap_err().to_string();
    assert!(error.contains("\"1Q\" is not a size"), "{error}");
}
