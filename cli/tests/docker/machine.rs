//! The machine that runs the guest: rvmm, or QEMU for comparison.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::host;
use crate::place::{Place, Vmm, free_port};

/// What the guest prints when dockerd serves.
const READY: &str = "rvmm-guest: docker ready";

/// Boot to a ready dockerd, at most: an interpreter on a busy host takes minutes.
const READY_LIMIT: Duration = Duration::from_secs(400);

/// Power button to the end of the process, at most. Stubborn containers get ten seconds.
const OFF_LIMIT: Duration = Duration::from_secs(120);

/// A running guest.
pub(crate) struct Machine {
    pub(crate) place: Arc<Place>,
    child: Child,
    console: Console,
    forwarder: Option<Forwarder>,
}

impl Machine {
    /// Boots the guest with its disk, network and shared folder, and waits until dockerd is ready.
    pub(crate) fn boot(place: &Arc<Place>) -> Self {
        let append = env::var("RVMM_TEST_APPEND").unwrap_or_default();
        let words = format!("console=ttyS0 quiet {append}");
        let cpus = env::var("RVMM_TEST_CPUS").unwrap_or_else(|_| "1".to_owned());
        let _ = fs::remove_file(place.socket());
        let (mut command, forwarder) = match &place.vmm {
            Vmm::Rvmm(program) => {
                let mut command = Command::new(program);
                command.args(["boot", "--memory", "1G", "--cpus", &cpus, "--cmdline", &words]);
                command.arg("--kernel").arg(&place.kernel).arg("--initrd").arg(&place.initrd);
                command.arg("--disk").arg(place.disk());
                command.args(["--net", "user", "--forward"]);
                command.arg(format!("unix:{}=tcp:2375", place.socket().display()));
                command.args(["--forward", &format!("tcp:127.0.0.1:{}=80", place.web_port)]);
                command.args([
                    "--share",
                    &format!("{},tag=share,mount=/share", place.share().display()),
                    "--rng",
                ]);
                command.args(env::var("RVMM_TEST_FLAGS").unwrap_or_default().split_whitespace());
                (command, None)
            }
            Vmm::Qemu => {
                let port = free_port();
                let mut command = Command::new("qemu-system-x86_64");
                command.args("-accel tcg -M q35 -m 1G -nodefaults -no-user-config -display none".split(' '));
                // rvmm tells the guest of its shares by itself.
                let words = format!("{words} rvmm.share=share:/share");
                command.args(["-smp", &cpus, "-serial", "stdio", "-append", &words]);
                command.arg("-kernel").arg(&place.kernel).arg("-initrd").arg(&place.initrd);
                let disk = place.disk();
                command
                    .arg("-drive")
                    .arg(format!("if=none,id=disk,format=raw,discard=unmap,file={}", disk.display()));
                command.args([
                    "-device",
                    "virtio-blk-pci,drive=disk",
                    "-device",
                    "virtio-net-pci,netdev=net",
                ]);
                let web = place.web_port;
                command.args([
                    "-netdev",
                    &format!(
                        "user,id=net,hostfwd=tcp:127.0.0.1:{port}-:2375,hostfwd=tcp:127.0.0.1:{web}-:80"
                    ),
                ]);
                let share = place.share();
                let share = format!("local,mount_tag=share,security_model=none,path={}", share.display());
                command.args(["-virtfs", &share, "-device", "virtio-rng-pci"]);
                let monitor = format!("unix:{},server=on,wait=off", place.monitor().display());
                command.args(["-monitor", &monitor]);
                (command, Some(Forwarder::start(&place.socket(), port)))
            }
        };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let console = Console::default();
        console.take(child.stdout.take().unwrap());
        console.take(child.stderr.take().unwrap());
        let mut machine = Self { place: Arc::clone(place), child, console, forwarder };
        machine.wait_ready(1);
        machine
    }

    fn wait_ready(&mut self, times: usize) {
        let started = Instant::now();
        while self.console.text().matches(READY).count() < times {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() {
                thread::sleep(Duration::from_millis(300)); // until its last words are read
            }
            let late = started.elapsed() > READY_LIMIT;
            assert!(ended.is_none() && !late, "not ready ({ended:?}); the console:\n{}", self.console.text());
            thread::sleep(Duration::from_millis(50));
        }
        println!("{:7.1} s to a ready dockerd", started.elapsed().as_secs_f64());
    }

    /// All the guest has said on its console.
    pub(crate) fn console(&self) -> String {
        self.console.text()
    }

    /// Has the guest reboot itself, and waits until dockerd is ready again.
    pub(crate) fn reboot(&mut self) {
        let before = self.console.text().matches(READY).count();
        // To busybox's init SIGTERM means reboot.
        let docker = self.docker(&[
            "run",
            "--rm",
            "--privileged",
            "--pid=host",
            "busybox:debian",
            "kill",
            "-TERM",
            "1",
        ]);
        // The answer may or may not come before dockerd ends.
        drop(docker.run());
        self.wait_ready(before + 1);
    }

    /// Ends the machine as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Presses the power button, waits for the end, and returns what the console said.
    pub(crate) fn press_power_button(mut self) -> String {
        match self.place.vmm {
            Vmm::Rvmm(_) => kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap(),
            Vmm::Qemu => {
                let mut monitor = UnixStream::connect(self.place.monitor()).unwrap();
                monitor.write_all(b"system_powerdown\n").unwrap();
                thread::sleep(Duration::from_millis(300)); // it drops commands of peers that have left
            }
        }
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status:?}; the console:\n{}", self.console.text());
                println!("{:7.1} s to power off", started.elapsed().as_secs_f64());
                return self.console.text();
            }
            assert!(started.elapsed() < OFF_LIMIT, "no power off; the console:\n{}", self.console.text());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(forwarder) = &self.forwarder {
            forwarder.stop();
        }
    }
}

/// What came out of the machine so far.
#[derive(Clone, Default)]
struct Console(Arc<Mutex<Vec<u8>>>);

impl Console {
    fn take(&self, mut stream: impl Read + Send + 'static) {
        let seen = Arc::clone(&self.0);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).extend(&buffer[..count]);
            }
        });
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// A unix socket that leads to a TCP port, which QEMU's user network does not do by itself.
struct Forwarder {
    stopped: Arc<AtomicBool>,
    socket: std::path::PathBuf,
}

impl Forwarder {
    fn start(socket: &std::path::Path, port: u16) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    host::join(client, server);
                }
            }
        });
        Self { stopped, socket: socket.to_owned() }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(UnixStream::connect(&self.socket));
    }
}
