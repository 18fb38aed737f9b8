use super::*;
use crate::synthetic::{ElfSpec, noise};

#[test]
fn a_slim_file_loads_like_the_whole_one() {
    let mut data = noise(70_000);
    data.resize(1 << 20, 0);
    let segments =
        vec![(0x100_0000, noise(9000), 9000), (0x110_0000, data, 2 << 20), (0x200_0000, vec![0; 99], 100)];
    for spec in [ElfSpec::linux64(), ElfSpec::linux32()] {
        let mut file = ElfSpec { segments: segments.clone(), ..spec }.build();
        file.extend(b"sections and relocations");
        let elf = ElfKernel::parse(&file).unwrap();
        let slim_file = slim(&file, &elf).unwrap();
        assert!(slim_file.len() < 90_000);
        let slim_elf = ElfKernel::parse(&slim_file).unwrap();
        assert_eq!((slim_elf.is_64bit, slim_elf.entry), (elf.is_64bit, elf.entry));
        assert_eq!(slim_elf.segments.len(), elf.segments.len());
        for (slim_segment, segment) in slim_elf.segments.iter().zip(&elf.segments) {
            assert_eq!(slim_segment.range(), segment.range());
            let bytes = &file[segment.offset..][..segment.file_size];
            let (kept, left) = bytes.split_at(slim_segment.file_size);
            assert!(slim_file[slim_segment.offset..][..slim_segment.file_size] == *kept);
            assert!(left.iter().all(|byte| *byte == 0));
        }
        assert_eq!(slim(&slim_file, &slim_elf), None, "there is no more to leave out");
    }
}
