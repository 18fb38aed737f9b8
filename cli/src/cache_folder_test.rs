use super::*;

#[test]
fn caches_are_where_the_system_has_them() {
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(folder("linux", path("/caches"), path("/home/a")), path("/caches/rvmm"));
    assert_eq!(folder("macos", path("/caches"), path("/Users/a")), path("/caches/rvmm"));
    assert_eq!(folder("linux", None, path("/home/a")), path("/home/a/.cache/rvmm"));
    assert_eq!(folder("macos", None, path("/Users/a")), path("/Users/a/Library/Caches/rvmm"));
    assert_eq!(folder("linux", None, None), None);
}
