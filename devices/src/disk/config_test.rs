use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> DiskConfig {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match text.parse::<DiskConfig>() {
        Ok(config) => panic!("{text}: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_path_alone_is_a_raw_writable_disk_flushed_to_the_drive() {
    let config = parsed("/images/disk.img");

    assert_eq!(config, DiskConfig::new("/images/disk.img"));
    assert_eq!(config.format_in_force(), ImageFormat::Raw);
    assert_eq!(config.flush, FlushMode::Drive);
}

#[test]
fn each_option_sets_its_field() {
    let config = parsed("d,size=20G,format=qcow2,serial=root disk 1,flush=os,backing=on");

    assert_eq!(config.size.unwrap().bytes(), 20 << 30);
    assert_eq!(config.format, Some(ImageFormat::Qcow2));
    assert_eq!(config.serial.as_deref(), Some("root disk 1"));
    assert_eq!(config.flush, FlushMode::Os);
    assert!(config.backing);
    assert!(parsed("d,ro").ro);
    assert!(parsed("d,ro=on").ro);
    assert!(!parsed("d,ro=off").ro);
    assert!(parsed("d,format=qcow2,backing").backing);
    assert!(!parsed("d,format=qcow2,backing=off").backing);
    assert_eq!(parsed("d,overlay=tmp").overlay, Some(OverlayMode::Tmp));
    assert_eq!(parsed("d,flush=none").flush, FlushMode::None);
}

#[test]
fn a_doubled_comma_in_the_path_is_a_comma() {
    assert_eq!(parsed("a,,b,ro").path, PathBuf::from("a,b"));
    assert_eq!(parsed("a,,,,b").path, PathBuf::from("a,,b"));
    assert_eq!(parsed(",,").path, PathBuf::from(","));
    assert_eq!(parsed("a,,,ro"), parsed("a,,,ro=on"));
    assert_eq!(parsed("a,,,ro").path, PathBuf::from("a,"));
}

#[test]
fn what_is_wrong_is_named() {
    for (text, message) in [
        ("", "the path is empty"),
        (",ro", "the path is empty"),
        ("d,", "\"\" is not an option"),
        ("d,readonly", "\"readonly\" is not an option of a disk"),
        ("a,b.img", "a comma in a path is written twice"),
        ("d,size", "size needs a value"),
        ("d,size=", "size needs a value"),
        ("d,size=20", "size: \"20\" is not a size"),
        ("d,size=1G,size=1G", "size is given twice"),
        ("d,flush=drive,flush=drive", "flush is given twice"),
        ("d,ro,ro=off", "ro is given twice"),
        ("d,format=vmdk", "format=vmdk: must be raw or qcow2"),
        ("d,flush=always", "flush=always: must be none, os or drive"),
        ("d,overlay=here", "overlay=here: must be tmp"),
        ("d,ro=yes", "ro=yes: must be on or off"),
        ("d,overlay", "overlay needs a value: tmp"),
        ("d,serial=123456789012345678901", "must be 1 to 20 printable"),
        ("d,serial=\u{e9}", "must be 1 to 20 printable"),
        ("d,ro,size=1G", "ro and size exclude each other"),
        ("d,ro,overlay=tmp", "ro and overlay exclude each other"),
        ("d,overlay=tmp,size=1G", "overlay and size exclude each other"),
        ("d,backing=on", "only qcow2 has backing files"),
    ] {
        let error = refused(text);
        assert!(error.contains(message), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

fn any_config() -> impl Strategy<Value = DiskConfig> {
    let format = prop_oneof![Just(None), Just(Some(ImageFormat::Raw)), Just(Some(ImageFormat::Qcow2))];
    let flush = prop_oneof![Just(FlushMode::None), Just(FlushMode::Os), Just(FlushMode::Drive)];
    let serial = proptest::option::of("[!-+\\--~ ]{1,20}");
    let overlay = prop_oneof![Just(None), Just(Some(OverlayMode::Tmp))];
    let size =
        proptest::option::of((1..1u64 << 50).prop_map(|sectors| DiskSize::new(sectors * 512).unwrap()));
    ("[a-z,=/ ]{1,12}", size, format, any::<bool>(), serial, flush, overlay, any::<bool>())
        .prop_map(|(path, size, format, ro, serial, flush, overlay, backing)| DiskConfig {
            path: path.into(),
            size,
            format,
            ro,
            serial,
            flush,
            overlay,
            backing,
        })
        .prop_filter("contradictory", |config| config.validate().is_ok())
}

proptest! {
    #[test]
    fn text_and_back(config in any_config()) {
        prop_assert_eq!(parsed(&config.to_string()), config);
    }

    #[test]
    fn toml_and_back(config in any_config()) {
        let text = toml::to_string(&config).unwrap();
        prop_assert_eq!(toml::from_str::<DiskConfig>(&text).unwrap(), config);
    }

    #[test]
    fn any_text_is_answered(text in ".*") {
        let _ = text.parse::<DiskConfig>();
    }
}

#[test]
fn a_file_says_the_same_as_a_flag() {
    let text = "path = 'disk.img'\nsize = '20G'\nflush = 'os'\n";

    assert_eq!(toml::from_str::<DiskConfig>(text).unwrap(), parsed("disk.img,size=20G,flush=os"));
    assert_eq!(
        toml::to_string(&parsed("disk.img,flush=os")).unwrap(),
        "path = \"disk.img\"\nflush = \"os\"\n"
    );
    assert!(toml::from_str::<DiskConfig>("path = 'd'\nsise = '20G'").is_err());
    assert!(toml::from_str::<DiskConfig>("path = 'd'\nsize = '20 apples'").is_err());
}
