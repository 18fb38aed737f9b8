use std::sync::Arc;

use crate::net::{MacAddress, NetConfig, open};

/// What is wrong with the device of `text`.
fn refused(text: &str) -> String {
    let config: NetConfig = text.parse().unwrap();
    open(&config, MacAddress::local(7), Arc::new(())).err().unwrap().to_string()
}

#[test]
fn what_this_host_has_not_is_said() {
    if cfg!(target_os = "macos") {
        assert!(refused("tap,name=tap0").contains("exist on Linux only"));
    } else {
        assert!(refused("vmnet").contains("exists on macOS only"));
        assert!(refused("tap,name=lo").starts_with("tap interface lo: "));
    }
}
