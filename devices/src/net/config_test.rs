use proptest::prelude::*;
use serde::Deserialize;
use serde::de::value::MapDeserializer;

use super::*;

fn error(text: &str) -> String {
    text.parse::<NetConfig>().expect_err(text).to_string()
}

#[test]
fn a_device_is_said_in_a_line() {
    let config: NetConfig = "user".parse().unwrap();
    assert_eq!(config, NetConfig::default());
    let config: NetConfig =
        "user,subnet=192.168.7.0/24,ipv6=off,host=off,dns=9.9.9.9,dns=::1,mac=52:54:00:12:34:56,mtu=9000,pcap=a.pcap"
            .parse()
            .unwrap();
    let BackendConfig::User(user) = config.backend else { panic!("not the user back end") };
    assert_eq!(user.subnet.to_string(), "192.168.7.0/24");
    assert_eq!((user.ipv6, user.host, user.dns.len()), (false, false, 2));
    assert_eq!(config.mac.unwrap().to_string(), "52:54:00:12:34:56");
    assert_eq!((config.mtu, config.pcap), (Some(9000), Some("a.pcap".into())));

    let backend = |text: &str| text.parse::<NetConfig>().unwrap().backend;
    assert_eq!(backend("socket,stream=/a"), BackendConfig::Socket(SocketConfig::Stream("/a".into())));
    assert_eq!(backend("socket,datagram=/b"), BackendConfig::Socket(SocketConfig::Datagram("/b".into())));
    assert_eq!(backend("tap,name=tap0"), BackendConfig::Tap(TapConfig { name: "tap0".into() }));
    let vmnet = VmnetConfig { mode: VmnetMode::Bridged, interface: Some("en0".into()) };
    assert_eq!(backend("vmnet,mode=bridged,interface=en0"), BackendConfig::Vmnet(vmnet));
}

#[test]
fn what_is_wrong_is_said() {
    for (text, said) in [
        ("nat", "\"nat\" is not a network back end; it is user, socket, tap or vmnet"),
        ("user,ipv6", "\"ipv6\" in \"user,ipv6\" is not KEY=VALUE"),
        (
            "user,name=tap0",
            "user has no \"name\"; it takes subnet, ipv6, prefix, host, outside, dns, mac, mtu, pcap",
        ),
        ("user,ipv6=yes", "ipv6=\"yes\": is on or off"),
        ("user,subnet=10.0.2.0", "subnet=\"10.0.2.0\": is not a network; write for example 10.0.2.0/24"),
        ("user,subnet=10.0.2.1/24", "subnet=\"10.0.2.1/24\": has bits behind its prefix"),
        ("user,subnet=127.0.0.0/8", "subnet=\"127.0.0.0/8\": is not a network for hosts"),
        (
            "user,subnet=10.0.2.0/28",
            "subnet=\"10.0.2.0/28\": has a prefix length that is not from 8 to 27: host, name server and guest need room",
        ),
        ("user,prefix=fd00::1", "prefix=\"fd00::1\": is not a /64 network; write fd00:1:2:3::"),
        ("user,mtu=576", "mtu=\"576\": is not a number from 1280 to 65535"),
        ("user,pcap=", "pcap=\"\": names no file"),
        (
            "user,mac=01:00:5e:00:00:01",
            "mac: \"01:00:5e:00:00:01\" is not a MAC address of a station; write six bytes such as 52:54:00:12:34:56, the first of them even",
        ),
        ("socket", "socket needs stream=PATH or datagram=PATH"),
        ("tap", "tap needs name=INTERFACE"),
        (
            "tap,name=sixteen-bytes-xx",
            "name=\"sixteen-bytes-xx\": is not the name of an interface: 1 to 15 bytes",
        ),
        ("vmnet,mode=bridged", "mode=bridged needs interface=NAME"),
    ] {
        assert_eq!(error(text), said, "{text}");
    }
}

/// What a file says, as serde hands it over.
fn read(fields: &[(&'static str, &'static str)]) -> Result<BackendConfig, serde::de::value::Error> {
    BackendConfig::deserialize(MapDeserializer::new(fields.iter().copied()))
}

#[test]
fn a_file_says_the_same() {
    let BackendConfig::User(user) = read(&[("kind", "user"), ("subnet", "10.9.0.0/16")]).unwrap() else {
        panic!("not the user back end")
    };
    assert_eq!(user.subnet.to_string(), "10.9.0.0/16");
    assert!(user.ipv6);
    assert_eq!(read(&[("kind", "socket"), ("stream", "/a")]).unwrap(), BackendConfig::Socket(stream("/a")));
    assert_eq!(
        read(&[("kind", "vmnet"), ("mode", "shared")]).unwrap(),
        "vmnet".parse::<NetConfig>().unwrap().backend
    );
    for wrong in [
        &[("kind", "user"), ("subnets", "10.9.0.0/16")][..],
        &[("kind", "tap")],
        &[("kind", "tap"), ("name", "tap0"), ("host", "off")],
        &[("kind", "socket"), ("path", "/a")],
        &[("kind", "nat")],
        &[("subnet", "10.9.0.0/16")],
    ] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
}

fn stream(path: &str) -> SocketConfig {
    SocketConfig::Stream(path.into())
}

#[test]
fn forwards_are_read() {
    for (text, same) in [
        ("tcp:127.0.0.1:8080=80", "tcp:127.0.0.1:8080=tcp:80"),
        ("tcp:8080=tcp:80", "tcp:127.0.0.1:8080=tcp:80"),
        ("tcp:[::1]:8080=10.0.2.20:80", "tcp:[::1]:8080=tcp:10.0.2.20:80"),
        ("udp:0.0.0.0:53=53", "udp:0.0.0.0:53=udp:53"),
        ("unix:/run/docker.sock=tcp:2375", "unix:/run/docker.sock=tcp:2375"),
        ("unix:/odd=name=2375", "unix:/odd=name=tcp:2375"),
    ] {
        let forward: Forward = text.parse().unwrap();
        assert_eq!(forward.to_string(), same);
        assert_eq!(same.parse::<Forward>().unwrap(), forward);
    }
}

#[test]
fn wrong_forwards_are_refused() {
    type Kind = fn(&ForwardError) -> bool;
    let cases: [(&str, Kind); 9] = [
        ("8080", |error| matches!(error, ForwardError::Form(_))),
        ("8080=80", |error| matches!(error, ForwardError::Form(_))),
        ("sctp:1=2", |error| matches!(error, ForwardError::Form(_))),
        ("tcp:host:80=80", |error| matches!(error, ForwardError::Host(_))),
        ("tcp:80=0", |error| matches!(error, ForwardError::Guest(_))),
        ("tcp:80=65536", |error| matches!(error, ForwardError::Guest(_))),
        ("udp:80=tcp:80", |error| matches!(error, ForwardError::Mixed(_, "udp", "tcp"))),
        ("unix:/a=udp:80", |error| matches!(error, ForwardError::Mixed(_, "tcp", "udp"))),
        ("unix:=80", |error| matches!(error, ForwardError::Path(_))),
    ];
    for (text, kind) in cases {
        let error = text.parse::<Forward>().expect_err(text);
        assert!(kind(&error), "{text}: {error:?}");
        assert!(error.to_string().contains(['"']), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in ".{0,60}") {
        let _ = text.parse::<NetConfig>();
        let _ = text.parse::<Forward>();
        let _ = text.parse::<MacAddress>();
    }

    #[test]
    fn mac_addresses_keep_their_text(bytes in any::<[u8; 6]>()) {
        match MacAddress::new(bytes) {
            Some(address) => prop_assert_eq!(address.to_string().parse::<MacAddress>().unwrap(), address),
            None => prop_assert!(bytes[0] & 1 == 1 || bytes == [0; 6]),
        }
    }

    #[test]
    fn packet_headers_keep_their_bytes(bytes in any::<[u8; VIRTIO_HEADER_BYTES]>(), length in 0usize..70_000) {
        if let Ok(header) = FrameHeader::from_virtio(&bytes, length) {
            let again = header.to_virtio();
            prop_assert_eq!(FrameHeader::from_virtio(&again, length).unwrap(), header);
            if let Some(checksum) = header.checksum {
                prop_assert!(usize::from(checksum.start) + usize::from(checksum.offset) + 2 <= length);
            }
        }
    }
}

#[test]
fn packet_headers_that_ask_for_too_much_are_refused() {
    let segment = LargeSegment { kind: SegmentKind::TcpV4, size: 1460, header_bytes: 54 };
    let checksum = PartialChecksum { start: 34, offset: 16 };
    let good = FrameHeader { checksum: Some(checksum), segment: Some(segment) }.to_virtio();
    assert_eq!(good, [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 1, 0]);
    assert!(FrameHeader::from_virtio(&good, 52).is_ok());
    assert!(FrameHeader::from_virtio(&good, 51).is_err(), "a checksum behind the frame");
    for (at, value) in [(0, 0), (1, 3), (1, 5)] {
        let mut bad = good;
        bad[at] = value;
        assert!(FrameHeader::from_virtio(&bad, 1000).is_err(), "byte {at} is {value}");
    }
    let mut bad = good;
    (bad[4], bad[5]) = (0, 0);
    assert!(FrameHeader::from_virtio(&bad, 1000).is_err(), "segments of no size");
}
