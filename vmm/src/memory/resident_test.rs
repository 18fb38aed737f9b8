use super::*;

const MAPPINGS: &str = "\
55d0c0000000-55d0c0100000 r-xp 00000000 08:01 42   /usr/bin/rvmm
Size:               1024 kB
Rss:                 700 kB
7f0000000000-7f0020000000 rw-p 00000000 00:00 0
Size:             524288 kB
Rss:              150000 kB
Pss:              150000 kB
7f0030000000-7f0030001000 rw-p 00000000 00:00 0 [stack]
Rss:                   4 kB
";

#[test]
fn the_guest_is_told_apart() {
    let guest = 0x7f00_0000_0000..0x7f00_2000_0000;
    let all = count(MAPPINGS, std::slice::from_ref(&guest));
    assert_eq!(all, Resident { process_bytes: 150_704 << 10, guest_bytes: 150_000 << 10 });
    let guest = 0x7f00_1000_0000..0x7f00_1000_1000;
    let small = count(MAPPINGS, std::slice::from_ref(&guest));
    assert_eq!(small.guest_bytes, 4096, "no more than it has");
    assert_eq!(count("nonsense\nRss: x kB\n", &[]), Resident::default());
}

#[test]
fn this_process_is_resident_where_the_host_tells() {
    if std::env::consts::OS == "linux" {
        assert!(resident(&[]).is_some_and(|resident| resident.process_bytes > 100 << 10));
    }
}

#[test]
fn what_is_mapped_twice_is_there_once() {
    let mappings = "\
7f0000000000-7f0001000000 r-xs 00000000 00:01 77 /memfd:code (deleted)
Rss:                 300 kB
7f0002000000-7f0003000000 rw-s 00000000 00:01 77 /memfd:code (deleted)
Rss:                 320 kB
7f0004000000-7f0005000000 rw-s 00000000 00:01 78 /memfd:code (deleted)
Rss:                  10 kB
";
    assert_eq!(count(mappings, &[]).process_bytes, 330 << 10);
}
