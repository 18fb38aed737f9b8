//! The docker client, with a time limit.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::checks::Outcome;
use crate::machine::Machine;

/// What a command of the client may take, at most.
const LIMIT: Duration = Duration::from_secs(180);

/// A command of the client, to be run.
pub(crate) struct Docker {
    command: Command,
    words: String,
    input: Vec<u8>,
}

/// How a command ended.
pub(crate) struct Answer {
    words: String,
    /// Exit code; none if it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Machine {
    /// `docker` with these words, over the unix socket.
    pub(crate) fn docker(&self, words: &[&str]) -> Docker {
        let mut command = Command::new(&self.place.docker);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.place.config())
            .env("DOCKER_CONFIG", self.place.config())
            .env("DOCKER_HOST", format!("unix://{}", self.place.socket().display()))
            .env("DOCKER_BUILDKIT", "0") // the other builder is a plug-in of the client
            .args(words);
        Docker { command, words: words.join(" "), input: Vec::new() }
    }

    /// Runs `docker` with these words; it must succeed. What it printed, without blanks around.
    pub(crate) fn ok(&self, words: &[&str]) -> Result<String, String> {
        self.docker(words).run()?.success().map(|text| text.trim().to_owned())
    }

    /// Runs `program` in a new container of the image.
    pub(crate) fn run(&self, program: &[&str]) -> Result<Answer, String> {
        self.docker(&[&["run", "--rm", "busybox:debian"], program].concat()).run()
    }

    /// Runs a shell script in a new container started with `flags`; it must succeed. What it printed.
    pub(crate) fn script(&self, flags: &[&str], script: &str) -> Result<String, String> {
        self.ok(&[&["run", "--rm"], flags, &["busybox:debian", "sh", "-ec", script]].concat())
    }
}

impl Docker {
    /// Gives it this on standard input.
    pub(crate) fn input(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_vec();
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<Answer, String> {
        let words = self.words;
        let stdin = if self.input.is_empty() { Stdio::null() } else { Stdio::piped() };
        let mut child = self
            .command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("docker {words}: {error}"))?;
        let writer = child.stdin.take().map(|mut stdin| {
            let input = self.input;
            // It may end before it has read all.
            thread::spawn(move || drop(stdin.write_all(&input)))
        });
        let stdout = reader(child.stdout.take());
        let stderr = reader(child.stderr.take());
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                break Some(status);
            }
            if started.elapsed() > LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            thread::sleep(Duration::from_millis(10));
        };
        let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        drop(writer.map(thread::JoinHandle::join));
        let Some(status) = status else {
            let said = String::from_utf8_lossy(&stderr).into_owned();
            return Err(format!("docker {words}: no end after {LIMIT:?}: {said}"));
        };
        Ok(Answer { words, code: status.code(), stdout, stderr })
    }
}

fn reader(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

impl Answer {
    /// What it printed, if its exit code is 0.
    pub(crate) fn success(self) -> Result<String, String> {
        let code = self.code;
        self.check(code == Some(0), "should have succeeded")?;
        Ok(String::from_utf8_lossy(&self.stdout).into_owned())
    }

    /// An error unless it succeeded and printed just these bytes.
    pub(crate) fn printed(&self, wanted: &[u8]) -> Outcome {
        let found = &self.stdout;
        let common = found.iter().zip(wanted).take_while(|(one, other)| one == other).count();
        let said = String::from_utf8_lossy(&self.stderr).into_owned();
        if found.as_slice() == wanted && self.code == Some(0) {
            return Ok(());
        }
        Err(format!(
            "docker {}: {} bytes came, not {}; the first {common} are right; exit code {:?}, standard error {said:?}",
            self.words,
            found.len(),
            wanted.len(),
            self.code
        ))
    }

    /// An error that says `expectation` and all there is to know, unless `holds`.
    pub(crate) fn check(&self, holds: bool, expectation: &str) -> Outcome {
        if holds {
            return Ok(());
        }
        let tail =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(600)..]).into_owned();
        Err(format!(
            "docker {}: {expectation}; exit code {:?}, standard output {:?}, standard error {:?}",
            self.words,
            self.code,
            tail(&self.stdout),
            tail(&self.stderr)
        ))
    }
}
