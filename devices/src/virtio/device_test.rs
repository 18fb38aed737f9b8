use super::*;
use crate::virtio::mock::MockInterrupt;

fn warnings(link: &DeviceLink) -> u32 {
    link.warnings.load(Ordering::Relaxed)
}

#[test]
fn a_reset_is_asked_for_with_one_reason() {
    let interrupt = Arc::new(MockInterrupt::default());
    let link = DeviceLink::new(interrupt.clone());
    link.needs_reset(format_args!("queue 0 is broken"));
    link.clone().needs_reset(format_args!("so is queue 1"));
    assert_eq!((warnings(&link), interrupt.reset_needed()), (1, true));
    interrupt.clear();
    link.needs_reset(format_args!("again"));
    assert_eq!(warnings(&link), 2);
}

#[test]
fn configurations_are_copied_with_zeros_behind_them() {
    let mut bytes = [9; 4];
    copy_config(b"abc", 1, &mut bytes);
    assert_eq!(&bytes, b"bc\0\0");
    copy_config(b"abc", u64::MAX, &mut bytes);
    assert_eq!(bytes, [0; 4]);
}
