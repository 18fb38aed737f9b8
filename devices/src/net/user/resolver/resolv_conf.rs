//! The host's name servers: /etc/resolv.conf (resolv.conf(5)), read again when it has changed.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::PORT;

/// Servers used; the C library uses three as well.
const MAX_SERVERS: usize = 3;
/// The largest file read in bytes.
const MAX_BYTES: u64 = 64 << 10;
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where name servers are known from.
pub(super) enum Servers {
    /// From the configuration.
    Fixed(Vec<SocketAddr>),
    /// From a file.
    File(ResolvConf),
}

/// A file and what it said.
pub(super) struct ResolvConf {
    path: PathBuf,
    looked: Option<Instant>,
    /// Time of the last change and length.
    version: Option<(SystemTime, u64)>,
    servers: Vec<SocketAddr>,
}

impl Servers {
    /// The servers to ask, in order. None when the host has none.
    pub(super) fn now(&mut self, now: Instant) -> &[SocketAddr] {
        match self {
            Self::Fixed(servers) => servers,
            Self::File(file) => {
                file.look(now);
                &file.servers
            }
        }
    }
}

impl ResolvConf {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), looked: None, version: None, servers: Vec::new() }
    }

    fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        let version =
            fs::metadata(&self.path).and_then(|metadata| Ok((metadata.modified()?, metadata.len()))).ok();
        if version.is_none() || version != self.version {
            self.version = version;
            let mut bytes = Vec::new();
            let read =
                fs::File::open(&self.path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
            self.servers = match read {
                Ok(_) => parse(&String::from_utf8_lossy(&bytes)),
                Err(_) => Vec::new(),
            };
        }
    }
}

/// The name servers of a resolv.conf.
pub(super) fn parse(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        let word = words.next()?;
        let (address, zone) =
            word.split_once('%').map_or((word, None), |(address, zone)| (address, Some(zone)));
        match (address.parse().ok()?, zone) {
            (IpAddr::V6(address), Some(zone)) => {
                // Only numbers: names of interfaces are the system's to translate.
                let scope = zone.parse().ok()?;
                Some(SocketAddr::V6(SocketAddrV6::new(address, PORT, 0, scope)))
            }
            (address, _) => Some(SocketAddr::new(address, PORT)),
        }
    });
    servers.take(MAX_SERVERS).collect()
}
