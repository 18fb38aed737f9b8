use std::time::Instant;

use super::*;

fn mac() -> MacAddress {
    MacAddress::local(7)
}

/// What opening the device of `text` says.
fn opened(text: &str) -> Result<OpenNet, String> {
    let config: NetConfig = text.parse().unwrap();
    open(&config, mac(), Arc::new(())).map_err(|error| error.to_string())
}

#[test]
fn the_default_needs_nothing() {
    let net = opened("user").unwrap();
    assert_eq!((net.mac, net.mtu, net.backend.offloads()), (mac(), DEFAULT_MTU, Offloads::all()));
    let net = opened("user,mac=52:54:00:00:00:01,mtu=9000").unwrap();
    assert_eq!((net.mac.to_string().as_str(), net.mtu), ("52:54:00:00:00:01", 9000));
}

#[test]
fn forwards_say_where_they_are() {
    let mut config = NetConfig::default();
    let BackendConfig::User(user) = &mut config.backend else { panic!("not the default") };
    user.forward.push("tcp:0=80".parse().unwrap());
    let net = open(&config, mac(), Arc::new(())).unwrap();
    let ForwardFrom::Tcp(address) = net.forwards[0].from else { panic!("not TCP") };
    assert_ne!(address.port(), 0);
    let BackendConfig::User(user) = &mut config.backend else { panic!("not the default") };
    user.forward = net.forwards.clone();
    let error = open(&config, mac(), Arc::new(())).err().unwrap().to_string();
    let said =
        format!("--forward tcp:{address}: the address is in use; stop what listens there or choose another");
    assert_eq!(error, said);
}

#[test]
fn what_is_missing_is_said() {
    let error = opened("socket,stream=/nonexistent/socket").err().unwrap();
    assert!(error.starts_with("/nonexistent/socket: cannot connect to the network's other end: "), "{error}");
    assert!(opened("socket,datagram=/nonexistent/socket").is_err());
    let error = opened("user,pcap=/nonexistent/file.pcap").err().unwrap();
    assert!(error.starts_with("/nonexistent/file.pcap: the packet capture cannot be written: "), "{error}");
}

#[test]
fn a_capture_has_all_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.pcap");
    let mut net = opened(&format!("user,pcap={}", path.display())).unwrap().backend;
    let mut request =
        [&[0xff; 6][..], &mac().bytes(), &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac().bytes()].concat();
    request.extend([10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
    assert_eq!(net.send(&request, &FrameHeader::default()), Sent::Done);
    let mut answer = vec![0; MAX_FRAME_BYTES];
    let received = net.receive(&mut answer).unwrap();
    net.advance(Instant::now());
    let file = std::fs::read(&path).unwrap();
    // Header, and each frame behind 16 bytes.
    let word = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 1));
    assert_eq!(word(24 + 8), 42);
    assert_eq!(file[40..82], request);
    assert_eq!(file[98..], answer[..received.bytes]);
}
