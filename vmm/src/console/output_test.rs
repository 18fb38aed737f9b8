use std::sync::atomic::AtomicUsize;

use super::*;

#[derive(Default)]
struct Counter {
    ready: AtomicUsize,
    full: AtomicUsize,
}

impl OutputEvents for Counter {
    fn output_ready(&self) {
        self.ready.fetch_add(1, Ordering::SeqCst);
    }

    fn output_full(&self) {
        self.full.fetch_add(1, Ordering::SeqCst);
    }
}

fn queue() -> (Arc<OutputQueue>, Arc<Counter>, OutputSink) {
    let (queue, counter) = (Arc::new(OutputQueue::default()), Arc::new(Counter::default()));
    let sink = OutputSink::new(queue.clone(), counter.clone());
    (queue, counter, sink)
}

#[test]
fn the_loop_is_woken_unless_it_attends() {
    let (queue, counter, mut sink) = queue();
    let mut out = Vec::new();
    sink.write(b"a");
    assert_eq!(counter.ready.load(Ordering::SeqCst), 1);
    queue.take(&mut out, true);
    sink.write(b"b");
    assert_eq!(counter.ready.load(Ordering::SeqCst), 1);
    queue.take(&mut out, false);
    sink.write(b"c");
    assert_eq!(counter.ready.load(Ordering::SeqCst), 2);
    queue.take(&mut out, false);
    assert_eq!(out, b"abc");
}

#[test]
fn full_is_told_once_per_filling() {
    let (queue, counter, mut sink) = queue();
    let kilobyte = [b'x'; 1024];
    (0..HIGH_WATER / 1024 + 10).for_each(|_| sink.write(&kilobyte));
    assert_eq!(counter.full.load(Ordering::SeqCst), 1);
    queue.take(&mut Vec::new(), true);
    (0..HIGH_WATER / 1024).for_each(|_| sink.write(&kilobyte));
    assert_eq!(counter.full.load(Ordering::SeqCst), 2);
}

#[test]
fn the_first_byte_has_its_time() {
    let (queue, _, mut sink) = queue();
    assert_eq!(queue.first_byte(), None);
    sink.write(b"a");
    let first = queue.first_byte();
    assert!(first.is_some());
    queue.take(&mut Vec::new(), false);
    sink.write(b"b");
    assert_eq!(queue.first_byte(), first);
}
