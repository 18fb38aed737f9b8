use crate::disk::qcow2::testing::{changed, must_qemu_img, open_bytes, open_bytes_with, sound};

#[test]
fn an_l2_table_outside_the_file_is_refused() {
    for entry in [0x8000_0000_0100_0000u64, 0x80ff_ffff_ffff_fe00, 0x0000_0000_0000_0200] {
        let error = open_bytes(&changed(0x30000, &entry.to_be_bytes())).unwrap_err();
        assert!(error.contains("its L2 table at"), "{entry:#x}: {error}");
    }
}

#[test]
fn a_refcount_block_outside_the_file_is_refused() {
    let error = open_bytes(&changed(0x10008, &0x200_0000_u64.to_be_bytes())).unwrap_err();
    assert!(error.contains("its refcount block at 0x2000000 is not within"), "{error}");
}

#[test]
fn tables_at_one_place_are_refused() {
    for (at, place, message) in [
        (0x10008, 0x2_0000, "its refcount block and its refcount block are both said to be at 0x20000"),
        (0x10008, 0x3_0000, "its L1 table and its refcount block are both said to be at 0x30000"),
        (
            0x30000,
            0x8000_0000_0001_0000,
            "its L2 table and its refcount table are both said to be at 0x10000",
        ),
        (48, 0x3_0000, "its L1 table and its refcount table are both said to be at 0x30000"),
    ] {
        let error = open_bytes(&changed(at, &u64::to_be_bytes(place))).unwrap_err();
        assert!(error.contains(message), "{at:#x}: {error}");
    }
}

/// Without its first block of counts imago looked for a place for one for ever, found by fuzzing; with counts that are 0 it
/// writes the next table over the one that is there.
#[test]
fn what_counts_as_free_and_is_not_is_not_written_over() {
    for (at, field, message) in [
        (0x10000, &[0; 8][..], "its header at 0x0 counts as free"),
        (0x20000, &[0; 2], "its header at 0x0 counts as free"),
        (0x20002, &[0; 2], "its refcount table at 0x10000 counts as free"),
        (0x20004, &[0; 2], "its refcount block at 0x20000 counts as free"),
        (0x20006, &[0; 2], "its L1 table at 0x30000 counts as free"),
        // Counts of 2 bytes were made, one of 8 or of 1 bit is read.
        (96, &[0, 0, 0, 6], "its refcount table at 0x10000 counts as free"),
        (96, &[0, 0, 0, 0], "its header at 0x0 counts as free"),
    ] {
        let bytes = changed(at, field);
        let error = open_bytes(&bytes).unwrap_err();
        assert!(error.contains(message) && error.contains("qemu-img check"), "{at:#x}: {error}");

        // Reading does no harm, and may be what is left to do.
        open_bytes_with(&bytes, ",ro").unwrap().read_at(&mut [0; 512], 0).unwrap();
    }
}

#[test]
fn an_l2_table_that_counts_as_free_is_refused() {
    let mut bytes = sound();
    bytes.resize(0x50000, 0);
    bytes[0x30000..0x30008].copy_from_slice(&0x8000_0000_0004_0000_u64.to_be_bytes());
    let error = open_bytes(&bytes).unwrap_err();
    assert!(error.contains("its L2 table at 0x40000 counts as free"), "{error}");

    bytes[0x20009] = 1;
    open_bytes(&bytes).unwrap().write_at(&[1; 512], 0).unwrap();
}

/// QEMU's images have counts of any width, and more than one block of them.
#[test]
fn counts_of_any_width_are_read_as_qemu_writes_them() {
    for (order, cluster) in [(0, 512), (1, 4096), (2, 512), (3, 65536), (4, 512), (5, 4096), (6, 512)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let options = format!("refcount_bits={},cluster_size={cluster},preallocation=metadata", 1 << order);
        if !must_qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options], &[&path, "20M".as_ref()]) {
            return;
        }
        let image = open_bytes(&std::fs::read(&path).unwrap());
        let image = image.unwrap_or_else(|error| panic!("{options}: {error}"));
        image.write_at(&[1; 512], 4 << 20).unwrap();
    }
}
