use super::*;

fn config() -> MachineConfig {
    let boot = BootConfig {
        kernel: "bzImage".into(),
        initrd: None,
        cmdline: DEFAULT_CMDLINE.to_owned(),
        unpack: UnpackBy::Host,
        unpack_cache: None,
    };
    MachineConfig::new(512 << 20, boot)
}

#[test]
fn a_usual_machine_is_valid() {
    assert_eq!(config().validate(), Ok(()));
}

#[test]
fn memory_has_bounds_and_a_step() {
    for (bytes, valid) in [
        (0, false),
        (MIN_MEMORY_BYTES - 1, false),
        (MIN_MEMORY_BYTES, true),
        (MIN_MEMORY_BYTES + 1, false),
        (MIN_MEMORY_BYTES + MEMORY_STEP_BYTES, true),
        (MAX_MEMORY_BYTES, true),
        (MAX_MEMORY_BYTES + MEMORY_STEP_BYTES, false),
        (u64::MAX, false),
    ] {
        let machine = MachineConfig { memory_bytes: bytes, ..config() };
        assert_eq!(machine.validate().is_ok(), valid, "{bytes}");
    }
}

#[test]
fn cpus_have_bounds() {
    for (cpus, valid) in [(0, false), (1, true), (MAX_CPUS, true), (MAX_CPUS + 1, false)] {
        let machine = MachineConfig { cpus, ..config() };
        assert_eq!(machine.validate().is_ok(), valid, "{cpus}");
    }
}

#[test]
fn a_bad_pattern_is_told_on_one_line() {
    let machine = MachineConfig { expect: Some("(".to_owned()), ..config() };
    let error = machine.validate().unwrap_err().to_string();
    assert!(error.starts_with("expect: ") && !error.contains('\n'), "{error}");
}
