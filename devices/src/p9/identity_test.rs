use super::*;

#[test]
fn the_text_of_a_mapped_owner() {
    let mapped = Mapped { mode: 0o104_755, uid: 1000, gid: u32::MAX, device: (8, 1) };
    assert_eq!(mapped.text(), "v1 104755 1000 4294967295 8 1");
    assert_eq!(Mapped::parse(mapped.text().as_bytes()), Some(mapped));
    assert!(mapped.text().len() < MAX_TEXT);
    for text in
        ["", "v1", "v1 104755 1000 1 8", "v1 104755 1000 1 8 1 ", "v1 9 1 1 1 1", "v1 7 1 1 1 4294967296"]
    {
        assert_eq!(Mapped::parse(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn the_hosts_user_is_never_locked_out() {
    let of = |mode| Mapped { mode, uid: 0, gid: 0, device: (0, 0) }.host_permissions();
    assert_eq!(of(0o100_000), 0o600);
    assert_eq!(of(0o106_755), 0o755);
    assert_eq!(of(0o041_777), 0o777);
    assert_eq!(of(0o040_000), 0o700);
}

#[test]
fn what_may_stand_for_what() {
    let fits = |mode, host| Mapped { mode, uid: 0, gid: 0, device: (0, 0) }.fits(host);
    assert!(fits(0o100_644, file_type::REGULAR));
    assert!(fits(0o020_644, file_type::REGULAR));
    assert!(!fits(0o040_755, file_type::REGULAR));
    assert!(!fits(0o120_777, file_type::REGULAR));
    assert!(!fits(0o020_644, file_type::DIRECTORY));
    assert!(!fits(0, file_type::REGULAR));
}
