use super::*;
use crate::synthetic::{ElfSpec, notes};

#[test]
fn both_classes_are_read() {
    for (spec, is_64bit) in [(ElfSpec::linux64(), true), (ElfSpec::linux32(), false)] {
        let file = spec.build();
        let elf = ElfKernel::parse(&file).unwrap();
        assert_eq!((elf.is_64bit, elf.entry, elf.pvh_entry), (is_64bit, 0x100_0040, None));
        assert_eq!(elf.segments.len(), 2);
        for (segment, (physical, bytes, memory)) in elf.segments.iter().zip(&spec.segments) {
            assert_eq!((segment.gpa, segment.memory_size), (*physical, *memory));
            assert_eq!(&file[segment.offset..segment.offset + segment.file_size], bytes);
        }
        assert_eq!(elf.span(), GpaRange::between(0x100_0000, 0x101_8000));
    }
}

#[test]
fn the_pvh_entry_is_found_behind_other_notes() {
    for spec in [ElfSpec::linux64(), ElfSpec::linux32()] {
        let file = ElfSpec { pvh_entry: Some(0x100_0080), ..spec }.build();
        assert_eq!(ElfKernel::parse(&file).unwrap().pvh_entry, Some(0x100_0080));
    }
}

#[test]
fn notes_cut_short_hold_no_entry() {
    let notes = notes(0x100_0080);
    for size in 0..notes.len() {
        assert_eq!(pvh_entry(&notes[..size], 4), None, "{size}");
    }
    assert_eq!(pvh_entry(&notes, 4), Some(0x100_0080));
}

#[test]
fn notes_with_sizes_beyond_reason_hold_no_entry() {
    let mut notes = notes(0);
    notes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(pvh_entry(&notes, 4), None);
    notes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(pvh_entry(&notes, 8), None);
}

#[test]
fn every_cut_is_truncation() {
    let file = ElfSpec { pvh_entry: Some(1), ..ElfSpec::linux64() }.build();
    for size in (0..200).chain([file.len() - 1]) {
        let result = ElfKernel::parse(&file[..size]);
        assert!(matches!(result, Err(ElfError::Truncated { .. })), "{size}: {result:?}");
    }
}

#[test]
fn foreign_files_are_told_apart() {
    let parse = |spec: ElfSpec| ElfKernel::parse(&spec.build());
    assert_eq!(parse(ElfSpec { machine: 183, ..ElfSpec::linux64() }), Err(ElfError::Arm64));
    let wrong = |spec| matches!(parse(spec), Err(ElfError::Wrong(_)));
    assert!(wrong(ElfSpec { machine: 243, ..ElfSpec::linux64() }));
    assert!(wrong(ElfSpec { kind: 1, ..ElfSpec::linux64() }));
    assert!(wrong(ElfSpec { segments: vec![], ..ElfSpec::linux64() }));
    let mut big_endian = ElfSpec::linux64().build();
    big_endian[5] = 2;
    assert!(matches!(ElfKernel::parse(&big_endian), Err(ElfError::Wrong(_))));
}

#[test]
fn contradictory_segments_are_refused() {
    let wrong = |segments| {
        let file = ElfSpec { segments, ..ElfSpec::linux64() }.build();
        matches!(ElfKernel::parse(&file), Err(ElfError::Wrong(_)))
    };
    assert!(wrong(vec![(0x1000, vec![1; 16], 15)]), "more bytes in the file than in memory");
    assert!(wrong(vec![(u64::MAX - 4, vec![1; 16], 16)]), "past the address space");
    assert!(wrong(vec![(0x1000, vec![1; 16], 16), (0x100f, vec![1; 16], 16)]), "overlap");
    assert!(wrong((0..100).map(|i| (0x1000 * i, vec![1], 1)).collect()), "too many");
    assert!(!wrong(vec![(0x1000, vec![1; 16], 16), (0x1010, vec![1; 16], 16)]), "neighbours");
}

#[test]
fn a_program_header_table_beyond_the_file_is_truncation() {
    let mut file = ElfSpec::linux64().build();
    file[32..40].copy_from_slice(&(u64::MAX - 8).to_le_bytes());
    assert!(matches!(ElfKernel::parse(&file), Err(ElfError::Truncated { .. })));
}
