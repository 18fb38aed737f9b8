use super::*;

#[test]
fn memory_has_its_bounds() {
    assert!(memory("512M").is_ok());
    assert!(memory("1M").is_err() && memory("1T").is_err() && memory("2049K").is_err());
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
fn virtio_has_a_place_and_rings() {
    let both = |transport, packed_rings| Ok(Virtio { transport, packed_rings });
    assert_eq!(virtio("pci"), both(Some(VirtioTransport::Pci), None));
    assert_eq!(virtio("mmio-cmdline,packed=on"), both(Some(VirtioTransport::MmioCmdline), Some(true)));
    assert_eq!(virtio("packed=off"), both(None, Some(false)));
    for text in ["", "isa", "pci,", "packed", "packed=maybe", "pci;mmio"] {
        assert!(virtio(text).unwrap_err().contains("not one of pci, mmio"), "{text}");
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
    assert_eq!(engine_options("").unwrap(), EngineOptions::default());
    if EngineOptions::has_portable() {
        let portable = EngineOptions::default().with_portable();
        assert_eq!(engine_options("jit=portable").unwrap(), portable);
        let options = engine_options("threshold=7,jit=portable").unwrap();
        assert_eq!(options, EngineOptions { threshold: 7, ..portable });
    } else {
        assert!(engine_options("jit=portable").unwrap_err().contains("not built in"));
    }
    assert_eq!(engine_options("seed=7,clock=virtual").unwrap().seed, Some(7));
    assert_eq!(engine_options("clock=virtual").unwrap().seed, Some(0));
    for wrong in [
        "jit",
        "jit=maybe",
        "clock=sun",
        "seed=1",
        "seed=x",
        "threshold=-1",
        "cache=1K",
        "cache=2G",
        "speed=11",
    ] {
        assert!(engine_options(wrong).unwrap_err().contains(wrong.split('=').next().unwrap()));
    }
}
