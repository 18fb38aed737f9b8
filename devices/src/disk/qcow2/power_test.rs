//! A host that loses power keeps what was synced, and of the rest anything.

use std::ops::Range;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::testing::{check_structure_with_qemu, must_qemu_img, numbers};
use super::{Qcow2Image, Qcow2Request, create_with};
use crate::disk::buffers::{Source, Target};
use crate::disk::file::{Access, ImageFile};
use crate::disk::journal::{Change, after_power_loss};
use crate::disk::layer::Layer;
use crate::disk::{DiskConfig, DiskImage, FlushMode};

const BYTES: u64 = 1 << 20;

#[derive(Debug, Clone)]
enum Step {
    Write(Range<u64>, u8),
    Discard(Range<u64>),
    Zero(Range<u64>),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let range =
        (0..BYTES / 512, 1..200_u64).prop_map(|(at, sectors)| at * 512..((at + sectors) * 512).min(BYTES));
    prop_oneof![
        6 => (range.clone(), 1..=255_u8).prop_map(|(range, byte)| Step::Write(range, byte)),
        2 => range.clone().prop_map(Step::Discard),
        1 => range.prop_map(Step::Zero),
        3 => Just(Step::Flush),
    ]
}

/// What was flushed when the file's journal had a length.
struct Flushed {
    changes: usize,
    disk: Vec<u8>,
    /// What was changed after this flush and before the next, and into what.
    touched: Vec<(Range<u64>, u8)>,
}

/// Makes an image, with compressed data in it if that can be made; answers what it holds.
fn make(path: &Path, cluster: u64, is_compressed: bool) -> Vec<u8> {
    let content = path.with_file_name("content");
    let bytes: Vec<u8> =
        (0..BYTES).map(|at| if at / 70_000 % 2 == 0 { (at / 512 % 251) as u8 } else { 0 }).collect();
    std::fs::write(&content, &bytes).unwrap();
    let cluster_size = format!("cluster_size={cluster}");
    let options = ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &cluster_size];
    if is_compressed && must_qemu_img(&options, &[&content, path]) {
        return bytes;
    }
    create_with(path, "1M".parse().unwrap(), FlushMode::Drive, Some(cluster)).unwrap();
    vec![0; BYTES as usize]
}

/// Does `steps`; answers the file before them, what was done to it, and what was flushed.
fn carry_out(path: &Path, steps: &[Step], disk: Vec<u8>) -> (Vec<u8>, Vec<Change>, Vec<Flushed>) {
    let before = std::fs::read(path).unwrap();
    let request =
        Qcow2Request { path, access: Access::Write, flush: FlushMode::Drive, size: None, backing: false };
    let file = ImageFile::open(path, Access::Write, FlushMode::Drive).unwrap();
    let journal = file.journal.clone();
    journal.start();
    let image = Qcow2Image::of_file(file, &request).unwrap();
    let mut flushed = vec![Flushed { changes: 0, disk, touched: Vec::new() }];
    for step in steps {
        let touches = |flushed: &mut Vec<Flushed>, range: &Range<u64>, byte| {
            flushed.last_mut().unwrap().touched.push((range.clone(), byte));
        };
        match step {
            Step::Write(range, byte) => {
                touches(&mut flushed, range, *byte);
                let bytes = vec![*byte; (range.end - range.start) as usize];
                image.write(Source::of_bytes(&bytes), range.start).unwrap();
            }
            Step::Discard(range) => {
                touches(&mut flushed, range, 0);
                image.discard(range.clone()).unwrap();
            }
            Step::Zero(range) => {
                touches(&mut flushed, range, 0);
                image.zero(range.clone(), false).unwrap();
            }
            Step::Flush => {
                image.flush().unwrap();
                let mut disk = vec![0; BYTES as usize];
                image.read(Target::of_bytes(&mut disk), 0).unwrap();
                flushed.push(Flushed { changes: journal.len(), disk, touched: Vec::new() });
            }
        }
    }
    (before, journal.changes(), flushed)
}

#[test]
fn a_loss_of_power_leaves_a_sound_image_with_all_that_was_flushed() {
    let folder = tempfile::tempdir().unwrap();
    // The same each time: each state that is left is looked at by another program.
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]);
    let mut runner =
        TestRunner::new_with_rng(Config { cases: 24, failure_persistence: None, ..Config::default() }, rng);
    let cases = (
        prop::collection::vec(step(), 1..40),
        prop::sample::select(vec![512_u64, 4096, 65536]),
        any::<bool>(),
        any::<bool>(),
        any::<u64>(),
    );
    runner
        .run(&cases, |(steps, cluster, is_compressed, has_snapshot, seed)| {
            let path = folder.path().join("disk");
            let _ = std::fs::remove_file(&path);
            let disk = make(&path, cluster, is_compressed);
            if has_snapshot {
                must_qemu_img(&["snapshot", "-c", "before"], &[&path]);
            }
            let (before, changes, flushed) = carry_out(&path, &steps, disk);
            let mut next = numbers(seed | 1);
            for _ in 0..12 {
                let at = next() as usize % (changes.len() + 1);
                // Seldom, often, as a coin falls; all, as when only the program ends.
                let odds = [1, 4, 7, 8][next() as usize % 4];
                let left = after_power_loss(before.clone(), &changes[..at], || next() % 8 < odds);
                std::fs::write(&path, left).unwrap();
                check(&path, at, &flushed);
            }
            Ok(())
        })
        .unwrap();
}

/// The file after a loss of power when its journal had `at` changes.
fn check(path: &Path, at: usize, flushed: &[Flushed]) {
    check_structure_with_qemu(path);
    let config: DiskConfig = format!("{},format=qcow2", path.display()).parse().unwrap();
    let image = DiskImage::open(&config).unwrap();
    let last = flushed.iter().rfind(|flushed| flushed.changes <= at).unwrap();
    let expect = |from: usize| {
        let mut disk = vec![0; BYTES as usize];
        image.read_at(&mut disk, 0).unwrap();
        for start in (from..BYTES as usize).step_by(512) {
            let (now, then) = (&disk[start..start + 512], &last.disk[start..start + 512]);
            let mut touched = last.touched.iter().filter(|(range, _)| range.contains(&(start as u64)));
            let is_new = touched.any(|(_, byte)| now == [*byte; 512]);
            assert!(now == then || is_new, "{start:#x}: {} now, {} then", now[0], then[0]);
        }
    };
    expect(0);
    // It can be gone on with, and what is new gets no place that is taken.
    image.discard(0, BYTES / 4).unwrap();
    image.write_at(&[0xfe; BYTES as usize / 2], 0).unwrap();
    expect(BYTES as usize / 2);
}
