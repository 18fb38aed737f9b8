use std::path::PathBuf;

use devices::serial::ByteSink;

use super::super::output::{OutputEvents, OutputSink};
use super::*;
use crate::config::SerialBackend;

struct Nobody;

impl OutputEvents for Nobody {
    fn output_ready(&self) {}
    fn output_full(&self) {}
}

struct Bench {
    console: Console,
    sink: OutputSink,
    poll: mio::Poll,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn bench(expect: Option<&str>) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let place = Place::open("serial", &SerialBackend::Socket(path.clone())).unwrap();
    let queue = Arc::new(OutputQueue::default());
    let sink = OutputSink::new(queue.clone(), Arc::new(Nobody));
    let expect = expect.map(|pattern| ExpectPattern::new(pattern).unwrap());
    let mut console = Console::new(place, queue, expect);
    let poll = mio::Poll::new().unwrap();
    console.register(poll.registry()).unwrap();
    Bench { console, sink, poll, path, _folder: folder }
}

#[test]
fn output_without_a_reader_is_seen_and_dropped() {
    let mut bench = bench(Some("login:"));
    bench.sink.write(b"Run /init as init process\nlog");
    let seen = bench.console.pump_output();
    assert_eq!(seen, Seen { milestones: vec![Milestone::Init], ..Seen::default() });
    assert_eq!(bench.console.wants_attention(), Attention::Soon);
    bench.sink.write(b"in:");
    assert!(bench.console.pump_output().expected);
    assert_eq!(bench.console.pump_output(), Seen::default());
    assert_eq!(bench.console.wants_attention(), Attention::OnEvents);
    assert_eq!(bench.console.counts(), (32, 32));
}

#[test]
fn input_waits_for_the_guest_and_is_bounded() {
    use std::io::Write;
    let mut bench = bench(None);
    let mut client = std::os::unix::net::UnixStream::connect(&bench.path).unwrap();
    client.set_nonblocking(true).unwrap();
    bench.console.pump_input(bench.poll.registry(), |_| 0);
    let mut sent = 0;
    for _ in 0..100 {
        sent += client.write(&[b'x'; 1024]).unwrap_or(0);
        bench.console.pump_input(bench.poll.registry(), |_| 0);
    }
    assert!(bench.console.incoming.len() <= MAX_INPUT);
    let mut taken = 0;
    for _ in 0..100_000 {
        bench.console.pump_input(bench.poll.registry(), |bytes| {
            let count = bytes.len().min(16);
            taken += count;
            count
        });
    }
    assert_eq!(taken, sent);
}

#[test]
fn a_slow_reader_of_a_socket_loses_output_only_beyond_the_backlog() {
    let mut bench = bench(None);
    let _client = std::os::unix::net::UnixStream::connect(&bench.path).unwrap();
    bench.console.pump_input(bench.poll.registry(), |_| 0);
    for _ in 0..1000 {
        bench.sink.write(&[b'x'; 4096]);
        bench.console.pump_output();
        assert!(bench.console.outgoing.len() <= MAX_BACKLOG + 4096);
    }
    assert!(bench.console.counts().1 > 0);
    assert!(bench.console.has_room() || bench.console.outgoing.len() >= HIGH_WATER / 4);
}
