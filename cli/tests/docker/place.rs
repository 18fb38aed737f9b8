//! Where everything is: guest, image, client, disk, shared folder, sockets.

use std::env;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Logical size of the guest's disk.
const DISK_BYTES: u64 = 4 << 30;

/// Files and ports of one run.
pub(crate) struct Place {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    /// An image that `docker load` takes.
    pub(crate) image: PathBuf,
    /// The docker client.
    pub(crate) docker: PathBuf,
    /// Which program runs the guest.
    pub(crate) vmm: Vmm,
    /// TCP port of 127.0.0.1 that is the guest's port 80.
    pub(crate) web_port: u16,
    folder: TempDir,
}

/// The program that runs the guest.
#[derive(Clone, Debug)]
pub(crate) enum Vmm {
    Rvmm(PathBuf),
    Qemu,
}

impl Place {
    /// All that is needed, or nothing where it was never made.
    pub(crate) fn find() -> Option<Self> {
        let told = env::var_os("RVMM_GUESTS").map(PathBuf::from);
        let guests = told.clone().unwrap_or_else(|| workspace().join("cache/guests"));
        let guest = guests.join("docker");
        let image = guests.parent().unwrap().join("images/busybox.tar");
        let docker = client(guests.parent().unwrap());
        let (Some(docker), true, true) = (docker, guest.join("bzImage").exists(), image.exists()) else {
            let missing = format!(
                "no docker client, no {} or no {}; see `make docker-guest`",
                guest.display(),
                image.display()
            );
            assert!(told.is_none(), "{missing}");
            println!("skipped: {missing}");
            return None;
        };

        let folder = tempfile::tempdir().unwrap();
        for name in ["share", "config"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        File::create(folder.path().join("disk.img")).unwrap().set_len(DISK_BYTES).unwrap();
        let vmm = vmm();
        let packed = guest.join("rootfs.cpio.xz");
        let initrd = match vmm {
            Vmm::Qemu => unpacked(&packed, folder.path()).unwrap_or(packed),
            Vmm::Rvmm(_) => packed,
        };
        let web_port = free_port();
        Some(Self { kernel: guest.join("bzImage"), initrd, image, docker, vmm, web_port, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The guest's disk, a raw image.
    pub(crate) fn disk(&self) -> PathBuf {
        self.path("disk.img")
    }

    /// The folder shared with the guest, there /share.
    pub(crate) fn share(&self) -> PathBuf {
        self.path("share")
    }

    /// The unix socket that is dockerd's port.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    /// The client's configuration: none, so that the user's own plays no part.
    pub(crate) fn config(&self) -> PathBuf {
        self.path("config")
    }

    /// QEMU's monitor.
    pub(crate) fn monitor(&self) -> PathBuf {
        self.path("monitor.sock")
    }

    /// An empty folder of the host.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }
}

/// A TCP port of 127.0.0.1 that nothing uses now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn vmm() -> Vmm {
    match env::var("RVMM_TEST_VMM").as_deref() {
        Ok("qemu") => return Vmm::Qemu,
        Ok("rvmm") | Err(_) => {}
        Ok(other) => panic!("RVMM_TEST_VMM={other}: rvmm or qemu"),
    }
    let program = env::var_os("RVMM").map_or_else(
        || {
            let target =
                env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
            target.join("release/rvmm")
        },
        PathBuf::from,
    );
    assert!(program.exists(), "no program at {}; build it with --release", program.display());
    Vmm::Rvmm(program)
}

/// The docker client: the host's, or the one unpacked in `cache`.
fn client(cache: &Path) -> Option<PathBuf> {
    let named = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&named)
        .map(|folder| folder.join("docker"))
        .chain(
            ["docker-cli", "docker.io"]
                .map(|package| cache.join("tools").join(package).join("usr/bin/docker")),
        )
        .find(|path| path.is_file())
}

/// The initramfs, unpacked here: QEMU's guest would spend most of its boot on that.
fn unpacked(packed: &Path, folder: &Path) -> Option<PathBuf> {
    let path = folder.join("rootfs.cpio");
    let file = File::create(&path).ok()?;
    let done = Command::new("xz").arg("-dc").arg(packed).stdin(Stdio::null()).stdout(file).status().ok()?;
    done.success().then_some(path)
}
