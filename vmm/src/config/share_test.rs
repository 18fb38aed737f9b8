use super::*;

fn parse(text: &str) -> Result<ShareConfig, ShareTextError> {
    text.parse()
}

#[test]
fn a_path_alone_is_a_share_mounted_where_the_host_has_it() {
    let share = parse("/Users").unwrap();
    assert_eq!(share, ShareConfig::new("/Users"));
    assert_eq!(share.tag(3), "share3");
    assert_eq!(share.cmdline(3).unwrap(), "rvmm.share=share3:/Users");
}

#[test]
fn options_are_options() {
    let share = parse("/a,,b,tag=src,ro,mount=/work/my src").unwrap();
    assert_eq!((share.path.to_str().unwrap(), share.tag(0).as_str(), share.ro), ("/a,b", "src", true));
    assert_eq!(share.cmdline(0).unwrap(), "rvmm.share=src:/work/my\\040src:ro");
    assert_eq!(parse("/x,mount=off").unwrap().cmdline(0), None);
    assert_eq!(parse("/x:y").unwrap().cmdline(0), None, "such a path cannot be said");
    let squashed = parse("/x,uid=1000").unwrap();
    assert_eq!((squashed.ids, squashed.uid, squashed.gid), (ShareIds::Squash, Some(1000), None));
}

#[test]
fn nonsense_is_refused_by_name() {
    for (text, says) in [
        ("", "empty"),
        (",ro", "empty"),
        ("/x,rw", "\"rw\""),
        ("/x,tag=", "tag="),
        ("/x,tag=a:b", "tag=a:b"),
        ("/x,mount=here", "mount=here"),
        ("/x,ids=root", "ids=root"),
        ("/x,uid=me", "uid=me"),
        ("/x,ids=mapped,uid=1", "squash"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_file_says_the_same() {
    let share = parse("/a,tag=t,ro,ids=mapped").unwrap();
    let text = toml::to_string(&share).unwrap();
    assert_eq!(toml::from_str::<ShareConfig>(&text).unwrap(), share);
    assert_eq!(toml::to_string(&ShareConfig::new("/a")).unwrap(), "path = \"/a\"\n");
}
