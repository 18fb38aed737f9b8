//! A disk as a command line or a file may state it.
#![no_main]

use devices::disk::DiskConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(config) = text.parse::<DiskConfig>() {
        assert_eq!(config.to_string().parse::<DiskConfig>(), Ok(config.clone()), "{config}");
        assert!(!config.path.as_os_str().is_empty());
    }
});
