use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::*;
use crate::net::{FrameHeader, MAX_FRAME_BYTES, NetBackend, Received, Sent};

/// A back end and the loop of a device's worker.
struct Worker<B> {
    net: B,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
}

impl<B: NetBackend> Worker<B> {
    fn new(mut net: B) -> Self {
        let poll = Poll::new().unwrap();
        net.register(poll.registry(), Token(5)).unwrap();
        Self { net, poll, events: Events::with_capacity(8), buffer: vec![0; MAX_FRAME_BYTES] }
    }

    fn turn(&mut self) -> Option<Vec<u8>> {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(2))).unwrap();
        for event in &self.events {
            self.net.ready(event);
        }
        self.net.advance(Instant::now());
        let Received { bytes, .. } = self.net.receive(&mut self.buffer)?;
        Some(self.buffer[..bytes].to_vec())
    }

    #[track_caller]
    fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(result) = done(self) {
                return result;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "it did not come about");
        }
    }

    fn send(&mut self, frame: &[u8]) -> Sent {
        self.net.send(frame, &FrameHeader::default())
    }
}

fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes(), frame].concat()
}

fn stream(path: &Path) -> (Worker<StreamNet>, UnixListener, UnixStream) {
    let listener = UnixListener::bind(path).unwrap();
    let worker = Worker::new(StreamNet::new(path).unwrap());
    let (peer, _) = listener.accept().unwrap();
    (worker, listener, peer)
}

#[test]
fn frames_cross_a_stream_however_it_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (mut worker, _listener, mut peer) = stream(&folder.path().join("s"));
    let frames: Vec<Vec<u8>> =
        [60, 1514, 1, MAX_FRAME_BYTES, 100].map(|length| vec![length as u8; length]).into();
    let mut bytes: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
    bytes.splice(0..0, framed(&[]));
    let mut received = Vec::new();
    for piece in bytes.chunks(777) {
        peer.write_all(piece).unwrap();
        received.extend(worker.turn());
    }
    worker.until(|worker| {
        received.extend(worker.turn());
        (received.len() >= frames.len()).then_some(())
    });
    assert!(received == frames);
}

#[test]
fn frames_leave_by_a_stream_and_wait_when_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let (mut worker, _listener, mut peer) = stream(&folder.path().join("s"));
    let frame: Vec<u8> = (0..1500u32).map(|byte| byte as u8).collect();
    let mut count = 0;
    while worker.send(&frame) == Sent::Done {
        count += 1;
        assert!(count < 100_000, "a stream that is never full");
    }
    let mut bytes = vec![0; framed(&frame).len()];
    for index in 0..count {
        if index == count - 1 {
            // The rest of the last one goes when there is room.
            worker.turn();
        }
        peer.read_exact(&mut bytes).unwrap();
        assert!(bytes == framed(&frame), "frame {index}");
    }
    assert_eq!(worker.send(&frame), Sent::Done);
}

#[test]
fn a_lost_peer_unplugs_the_cable_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (mut worker, listener, mut peer) = stream(&path);
    // It ends in the middle of a frame.
    peer.write_all(&framed(&[1; 100])[..50]).unwrap();
    drop((peer, listener));
    worker.until(|worker| {
        worker.turn();
        (!worker.net.link_up()).then_some(())
    });
    assert_eq!(worker.send(&[0; 60]), Sent::Done, "frames are lost, not kept");
    assert!(worker.net.deadline().is_some());
    std::fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    worker.until(|worker| {
        worker.turn();
        worker.net.link_up().then_some(())
    });
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(&framed(&[7; 64])).unwrap();
    assert_eq!(worker.until(Worker::turn), vec![7; 64]);
}

#[test]
fn a_peer_that_announces_too_much_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (mut worker, _listener, mut peer) = stream(&folder.path().join("s"));
    peer.write_all(&[0xff; 100]).unwrap();
    worker.until(|worker| {
        assert_eq!(worker.turn(), None);
        (!worker.net.link_up()).then_some(())
    });
}

#[test]
fn nobody_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(StreamNet::new(&folder.path().join("none")).is_err());
    assert!(DatagramNet::new(&folder.path().join("none")).is_err());
}

#[test]
fn frames_cross_datagrams_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d");
    let peer = UnixDatagram::bind(&path).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut worker = Worker::new(DatagramNet::new(&path).unwrap());
    let mut buffer = vec![0; 70_000];
    let (length, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"VFKT");
    let own = from.as_pathname().unwrap().to_owned();
    assert_eq!(worker.send(&[9; 1514]), Sent::Done);
    assert_eq!(peer.recv(&mut buffer).unwrap(), 1514);
    for length in [60, MAX_FRAME_BYTES] {
        peer.send_to(&vec![3; length], &own).unwrap();
        assert_eq!(worker.until(Worker::turn), vec![3; length]);
    }
    // Nobody reads: it is full, and says so.
    let mut count = 0;
    while worker.send(&[0; 1500]) == Sent::Done {
        count += 1;
        assert!(count < 100_000, "a socket that is never full");
    }
    for _ in 0..count {
        assert_eq!(peer.recv(&mut buffer).unwrap(), 1500);
    }
    assert_eq!(worker.send(&[0; 1500]), Sent::Done);
    // And the peer comes back.
    drop(peer);
    let _ = worker.send(&[0; 60]);
    assert!(!worker.net.link_up());
    std::fs::remove_file(&path).unwrap();
    let _peer = UnixDatagram::bind(&path).unwrap();
    worker.until(|worker| {
        worker.turn();
        worker.net.link_up().then_some(())
    });
    drop(worker);
    assert!(!own.exists());
}
