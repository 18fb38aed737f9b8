use std::fs::{self, File};
use std::path::PathBuf;

use crate::disk::buffers::{Source, Target};
use crate::disk::file::ImageFile;
use crate::disk::{DiskConfig, DiskImage, FlushMode};

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

#[test]
fn reading_a_disk_does_not_write_to_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    fs::write(&path, [7; 4096]).unwrap();
    // Before the last change: a system that notes the time of reads would do it now.
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_times(fs::FileTimes::new().set_accessed(long_ago)).unwrap();

    let image = DiskImage::open(&DiskConfig::new(&path)).unwrap();
    let mut bytes = [0; 512];
    image.read_at(&mut bytes, 0).unwrap();

    assert_eq!(bytes, [7; 512]);
    assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), long_ago);
}

/// A process that holds a lock of the older kind, which names its owner.
#[test]
fn the_holder_is_named_where_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    fs::write(&path, [0; 4096]).unwrap();
    let script = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f,fcntl.LOCK_EX); print('held',flush=True); sys.stdin.read()";
    let mut holder = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 4];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();

    let message = DiskImage::open(&DiskConfig::new(&path)).unwrap_err().to_string();

    drop(holder.stdin.take());
    let pid = holder.id();
    holder.wait().unwrap();
    assert!(message.contains(&format!("is in use by process {pid}: end that first")), "{message}");
}

/// A file system of 1 MiB, where the tests may mount one.
#[test]
fn a_full_disk_is_an_error_and_loses_nothing_that_was_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=1m none {0} && exec {1} --exact disk::os::host::linux_test::full_disk_child --ignored --nocapture",
        folder.path().display(),
        std::env::current_exe().unwrap().display()
    );
    let child = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .env("RVMM_TEST_FULL_DISK", folder.path())
        .output();
    match child {
        Ok(output) if output.status.success() => {}
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("ermi") => {
            eprintln!(
                "skipped: no right to mount a file system: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(output) => {
            panic!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => eprintln!("skipped: no unshare: {error}"),
    }
}

/// Run by the test above, in its file system.
#[test]
#[ignore = "run by a_full_disk_is_an_error_and_loses_nothing_that_was_flushed"]
fn full_disk_child() {
    let folder = PathBuf::from(std::env::var_os("RVMM_TEST_FULL_DISK").unwrap());
    for format in ["raw", "qcow2"] {
        let path = folder.join(format);
        let config = format!("{},format={format},size=4M,flush=os", path.display());
        let image = DiskImage::open(&config.parse().unwrap()).unwrap();
        image.write_at(&[1; 65536], 0).unwrap();
        image.flush().unwrap();

        let mut failure = None;
        for piece in 1..64 {
            if let Err(error) = image.write_at(&[2; 65536], piece * 65536) {
                failure = Some(error);
                break;
            }
        }

        let failure = failure.expect("4 MiB do not fit");
        assert_eq!(failure.raw_os_error(), Some(libc::ENOSPC), "{format}: {failure}");
        let mut start = vec![0; 65536];
        image.read_at(&mut start, 0).unwrap();
        assert!(start.iter().all(|byte| *byte == 1), "{format}");
        // Space comes back, and work goes on.
        image.discard(65536, (4 << 20) - 65536).unwrap();
        image.write_at(&[3; 65536], 65536).unwrap();
        image.flush().unwrap();
        drop(image);
        let image = DiskImage::open(&config.parse().unwrap()).unwrap();
        image.read_at(&mut start, 0).unwrap();
        assert!(start.iter().all(|byte| *byte == 1), "{format}");
        image.read_at(&mut start, 65536).unwrap();
        assert!(start.iter().all(|byte| *byte == 3), "{format}");
        drop(image);
        fs::remove_file(&path).unwrap();
    }
}
