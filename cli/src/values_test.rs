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
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    for text in
        ["", "M", "-1", "1.5G", "5b", "5X", "99999999999999999999", "18446744073709551615T", "1 G", "٣"]
    {
        assert!(size(text).is_err(), "{text}");
    }
}

#[test]
fn memory_has_its_bounds() {
    assert!(memory("512M").is_ok());
    assert!(memory("1M").is_err() && memory("1T").is_err() && memory("2049K").is_err());
}

#[test]
fn durations() {
    for (text, milliseconds) in
        [("30", 30_000), ("30s", 30_000), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000)]
    {
        assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    for text in ["", "0", "0ms", "s", "-1s", "1.5s", "1d", "18446744073709551615h"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn serial_back_ends() {
    assert_eq!(serial("stdio"), Ok(SerialBackend::Stdio));
    assert_eq!(serial("pty"), Ok(SerialBackend::Pty));
    assert_eq!(serial("null"), Ok(SerialBackend::Null));
    assert_eq!(serial("file=a=b"), Ok(SerialBackend::File("a=b".into())));
    assert_eq!(serial("socket=/tmp/s"), Ok(SerialBackend::Socket("/tmp/s".into())));
    for text in ["", "file", "file=", "socket=", "stdio=x", "tcp=1"] {
        assert!(serial(text).is_err(), "{text}");
    }
}

#[test]
fn ports() {
    assert_eq!(port("0xf4"), Ok(0xf4));
    assert_eq!(port("1281"), Ok(0x501));
    for text in ["", "0x", "65536", "-1", "f4"] {
        assert!(port(text).is_err(), "{text}");
    }
}

#[test]
fn engine_options_are_named_and_bounded() {
    let options = engine_options("jit=on,threshold=7,cache=16M").unwrap();
    assert_eq!((options.jit, options.threshold, options.cache_bytes), (true, 7, 16 << 20));
    assert!(!engine_options("jit=off").unwrap().jit);
    assert_eq!(engine_options("").unwrap(), vmm::engine::EngineOptions::default());
    for wrong in ["jit", "jit=maybe", "threshold=-1", "cache=1K", "cache=2G", "speed=11"] {
        assert!(engine_options(wrong).unwrap_err().contains(wrong.split('=').next().unwrap()));
    }
}
