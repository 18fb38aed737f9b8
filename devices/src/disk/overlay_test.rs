use crate::disk::DiskImage;

#[test]
fn two_machines_can_share_an_image_with_an_overlay_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    std::fs::write(&path, vec![1; 64 << 10]).unwrap();
    let open = || DiskImage::open(&format!("{},overlay=tmp", path.display()).parse().unwrap()).unwrap();
    let (one, two) = (open(), open());

    one.write_at(&[2; 100], 5000).unwrap();
    two.write_zeroes(0, 32 << 10, true).unwrap();
    one.flush().unwrap();

    let mut bytes = [0; 102];
    one.read_at(&mut bytes, 4999).unwrap();
    assert_eq!((bytes[0], bytes[1], bytes[100], bytes[101]), (1, 2, 2, 1));
    two.read_at(&mut bytes, 4999).unwrap();
    assert_eq!(bytes, [0; 102]);
    drop((one, two));
    assert_eq!(std::fs::read(&path).unwrap(), vec![1; 64 << 10]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_discard_of_what_was_written_reads_as_zeros_or_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    std::fs::write(&path, vec![1; 64 << 10]).unwrap();
    let image = DiskImage::open(&format!("{},overlay=tmp", path.display()).parse().unwrap()).unwrap();
    image.write_at(&[2; 8192], 4096).unwrap();

    image.discard(0, 64 << 10).unwrap();

    let mut bytes = vec![9; 64 << 10];
    image.read_at(&mut bytes, 0).unwrap();
    assert!(bytes[..4096].iter().all(|byte| *byte == 1));
    assert!(bytes[4096..12288].iter().all(|byte| *byte == 0));
    assert!(bytes[12288..].iter().all(|byte| *byte == 1));
}
