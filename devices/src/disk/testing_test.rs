//! A disk in memory that tests can hold up, count and break.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::buffers::{Source, Target};
use super::image::DiskImage;
use super::layer::Layer;

/// What has come through to the disk, and whether it goes on.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Requests go no further.
    pub(crate) held: bool,
    /// Requests fail with this error.
    pub(crate) error: Option<i32>,
    /// Requests inside now.
    pub(crate) inside: usize,
    /// The most requests inside at a time.
    pub(crate) most_inside: usize,
    pub(crate) flushes: usize,
    pub(crate) discards: Vec<Range<u64>>,
    pub(crate) zeros: Vec<(Range<u64>, bool)>,
}

#[derive(Debug)]
pub(crate) struct Control {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Control {
    pub(crate) fn look<T>(&self, what: impl FnOnce(&mut Seen) -> T) -> T {
        let answer = what(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
        answer
    }

    /// Waits until `holds`, ten seconds at most; whether it does.
    pub(crate) fn wait(&self, mut holds: impl FnMut(&Seen) -> bool) -> bool {
        let seen = self.seen.lock().unwrap();
        let limit = Duration::from_secs(10);
        !self.changed.wait_timeout_while(seen, limit, |seen| !holds(seen)).unwrap().1.timed_out()
    }

    /// A request passes through.
    fn pass(&self) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        seen.inside += 1;
        seen.most_inside = seen.most_inside.max(seen.inside);
        self.changed.notify_all();
        // A test that failed meanwhile ends all the same.
        seen = self.changed.wait_timeout_while(seen, Duration::from_secs(20), |seen| seen.held).unwrap().0;
        seen.inside -= 1;
        self.changed.notify_all();
        match seen.error {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Memory {
    bytes: Mutex<Vec<u8>>,
    control: Arc<Control>,
}

/// A disk of `bytes` zeros, and its control.
pub(crate) fn disk(bytes: usize, read_only: bool) -> (DiskImage, Arc<Control>) {
    let control = Arc::new(Control { seen: Mutex::default(), changed: Condvar::new() });
    let memory = Memory { bytes: Mutex::new(vec![0; bytes]), control: Arc::clone(&control) };
    (DiskImage::over(Box::new(memory), read_only), control)
}

impl Layer for Memory {
    fn bytes(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn discard_bytes(&self) -> u64 {
        4096
    }

    fn read(&self, mut target: Target<'_>, offset: u64) -> io::Result<()> {
        self.control.pass()?;
        let bytes = self.bytes.lock().unwrap();
        target.copy_from(&bytes[offset as usize..offset as usize + target.len()]);
        Ok(())
    }

    fn write(&self, source: Source<'_>, offset: u64) -> io::Result<()> {
        self.control.pass()?;
        let mut bytes = self.bytes.lock().unwrap();
        source.copy_to(&mut bytes[offset as usize..offset as usize + source.len()]);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.control.pass()?;
        self.control.look(|seen| seen.flushes += 1);
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        self.control.pass()?;
        self.control.look(|seen| seen.discards.push(range));
        Ok(())
    }

    fn zero(&self, range: Range<u64>, unmap: bool) -> io::Result<()> {
        self.control.pass()?;
        self.bytes.lock().unwrap()[range.start as usize..range.end as usize].fill(0);
        self.control.look(|seen| seen.zeros.push((range, unmap)));
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok(Some(offset..self.bytes()))
    }
}
