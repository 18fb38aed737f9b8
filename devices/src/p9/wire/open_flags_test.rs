use super::*;

#[test]
fn the_table_has_each_bit_once() {
    let all = TABLE.iter().fold(0, |all, (bit, name, _)| {
        assert!(bit.is_power_of_two() && all & bit == 0, "{name}");
        all | bit
    });
    assert_eq!(all, 0o7_777_700 & !0o1_000_000 | 0o1_000_000);
}

#[test]
fn access_modes() {
    assert_eq!(OpenFlags(0).to_host(), Ok(OFlags::RDONLY));
    assert_eq!(OpenFlags(1).to_host(), Ok(OFlags::WRONLY));
    assert_eq!(OpenFlags(2).to_host(), Ok(OFlags::RDWR));
    assert_eq!(OpenFlags(3).to_host(), Err(Errno::EINVAL));
    assert_eq!(OpenFlags(0o1000).to_host(), Ok(OFlags::RDWR), "to be emptied it must be writable");
}

#[test]
fn what_the_host_gets() {
    assert_eq!(OpenFlags(0o2001).to_host(), Ok(OFlags::WRONLY | OFlags::APPEND));
    for sync in [0o10_000, 0o4_000_000, 0o4_010_000] {
        assert_eq!(OpenFlags(sync).to_host(), Ok(OFlags::SYNC));
    }
    // No flag of the guest's creates, follows, or makes the host wait or signal.
    let others = 0o100 | 0o200 | 0o400 | 0o4000 | 0o20_000 | 0o40_000 | 0o100_000 | 0o600_000 | 0o3_000_000;
    assert_eq!(OpenFlags(others).to_host(), Ok(OFlags::RDONLY));
    assert_eq!(OpenFlags(0xffe0_0000).to_host(), Ok(OFlags::RDONLY), "bits of the future");
}

#[test]
fn what_the_server_does() {
    assert!(OpenFlags(0o200).exclusive() && !OpenFlags(0o100).exclusive());
    assert!(OpenFlags(0o1000).truncate() && OpenFlags(0o1000).writes());
    assert!(OpenFlags(0o200_000).directory() && !OpenFlags(0o200_000).writes());
    assert!(
        OpenFlags(1).writes()
            && OpenFlags(2).writes()
            && OpenFlags(3).writes()
            && !OpenFlags(0o2000).writes()
    );
}
