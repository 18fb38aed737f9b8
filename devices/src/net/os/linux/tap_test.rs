use std::time::Duration;

use mio::{Events, Poll};

use super::*;
use crate::net::{LargeSegment, PartialChecksum, SegmentKind};

/// In a network of this thread's own, where root may make interfaces; else there is nothing to test.
fn own_network() -> bool {
    // SAFETY: only this thread's network changes, and the thread ends with the test.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.is_ok()
        && std::path::Path::new("/dev/net/tun").exists()
}

fn set_up(name: &str) {
    let run = |arguments: &[&str]| std::process::Command::new("ip").args(arguments).status();
    // Children are in the network of the thread that starts them.
    let _ = run(&["link", "set", name, "up"]);
}

#[test]
fn the_host_speaks_on_a_tap_interface() {
    if !own_network() {
        return;
    }
    let mut net = TapNet::new("rvmmtest0").unwrap();
    net.set_offloads(Offloads::all());
    let mut poll = Poll::new().unwrap();
    net.register(poll.registry(), Token(3)).unwrap();
    let mut frame = vec![0; MAX_FRAME_BYTES];
    assert_eq!(net.receive(&mut frame), None, "the interface is down");
    let header = FrameHeader {
        checksum: Some(PartialChecksum { start: 34, offset: 16 }),
        segment: Some(LargeSegment { kind: SegmentKind::TcpV4, size: 1460, header_bytes: 54 }),
    };
    assert_eq!(net.send(&[0; 60_000], &header), Sent::Done, "lost while it is down");
    set_up("rvmmtest0");
    // A host that comes up looks for routers and neighbours.
    let mut events = Events::with_capacity(4);
    for _ in 0..100 {
        poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
        for event in &events {
            net.ready(event);
        }
        if let Some(received) = net.receive(&mut frame) {
            assert!(received.bytes >= 14);
            return;
        }
    }
    // Without the ip tool nobody can bring it up.
    assert!(std::process::Command::new("ip").arg("-V").status().is_err(), "no frame came");
}

#[test]
fn interfaces_nobody_may_have_are_errors() {
    assert!(TapNet::new("a name that is too long").is_err());
    assert!(TapNet::new("lo").is_err());
}
