use std::fs::File;

use crate::disk::FlushMode;
use crate::disk::buffers::{Source, Target};
use crate::disk::file::ImageFile;

#[test]
fn zeros_are_written_where_there_are_no_holes() {
    // memfd has holes but no zeroed ranges that keep their space.
    let memory = rustix::fs::memfd_create("zeros", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let file = ImageFile::unlocked(File::from(memory), "memory".into(), false, FlushMode::None);
    file.write(Source::repeating(&[9; 100], 20_000), 0).unwrap();

    file.zero(100..9000, false).unwrap();
    file.zero(10_000..19_000, true).unwrap();

    let mut all = vec![1; 20_000];
    file.read(Target::of_bytes(&mut all), 0).unwrap();
    for (at, byte) in all.iter().enumerate() {
        let zero = (100..9000).contains(&at) || (10_000..19_000).contains(&at);
        assert_eq!(*byte == 0, zero, "{at}");
    }
}
