//! Ways from the host into the guest.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where the host listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardFrom {
    /// A TCP address of the host; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A UDP address of the host; port 0 takes a free one.
    Udp(SocketAddr),
    /// A unix stream socket, made with mode 0600 and removed at the end.
    Unix(PathBuf),
}

/// One forward: what comes in at `from` goes to `to` in the guest, by TCP for streams and by UDP for datagrams.
///
/// As text: `tcp:[ADDRESS:]PORT=[tcp:][GUEST:]PORT`, `udp:[ADDRESS:]PORT=[udp:][GUEST:]PORT`,
/// `unix:PATH=[tcp:][GUEST:]PORT`. Without an address the host listens on 127.0.0.1, without `GUEST` it goes to the
/// address that DHCP gives the guest.
///
/// ```
/// # use devices::net::Forward;
/// let docker: Forward = "unix:/run/docker.sock=tcp:2375".parse()?;
/// assert_eq!(docker.port, 2375);
/// assert_eq!("tcp:8080=80".parse::<Forward>()?.to_string(), "tcp:127.0.0.1:8080=tcp:80");
/// # Ok::<(), devices::net::ForwardError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Forward {
    /// Where the host listens.
    pub from: ForwardFrom,
    /// The guest's address; `None` is the one DHCP gives it.
    pub guest: Option<Ipv4Addr>,
    /// The guest's port.
    pub port: u16,
}

/// What is wrong with a forward's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// Not of the form.
    #[error(
        "{0:?} is not a forward; write for example tcp:127.0.0.1:8080=80, udp:5353=53 or unix:/run/docker.sock=tcp:2375"
    )]
    Form(String),
    /// The host's side is wrong.
    #[error("{0:?} is not an address to listen on; write PORT, ADDRESS:PORT or [ADDRESS]:PORT")]
    Host(String),
    /// The guest's side is wrong.
    #[error("{0:?} is not a port of the guest; write PORT or ADDRESS:PORT, the port from 1 to 65535")]
    Guest(String),
    /// Streams go to TCP, datagrams to UDP.
    #[error("{0:?} forwards {1} to {2}; streams go to tcp, datagrams to udp")]
    Mixed(String, &'static str, &'static str),
    /// The path is empty.
    #[error("{0:?} names no path; write for example unix:/run/docker.sock=tcp:2375")]
    Path(String),
}

/// The transport a forward uses in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl ForwardFrom {
    pub(super) fn transport(&self) -> Transport {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Transport::Tcp,
            Self::Udp(_) => Transport::Udp,
        }
    }
}

fn host_address(text: &str) -> Result<SocketAddr, ForwardError> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| ForwardError::Host(text.to_owned()))
}

fn guest_address(text: &str) -> Result<(Option<Ipv4Addr>, u16), ForwardError> {
    let (guest, port) = match text.parse::<u16>() {
        Ok(port) => (None, port),
        Err(_) => {
            let address: SocketAddrV4 = text.parse().map_err(|_| ForwardError::Guest(text.to_owned()))?;
            (Some(*address.ip()), address.port())
        }
    };
    if port == 0 { Err(ForwardError::Guest(text.to_owned())) } else { Ok((guest, port)) }
}

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ForwardError::Form(text.to_owned());
        // A path may contain "=": the guest's side never does.
        let (from, to) = text.rsplit_once('=').ok_or_else(form)?;
        let (scheme, rest) = from.split_once(':').ok_or_else(form)?;
        let from = match scheme {
            "tcp" => ForwardFrom::Tcp(host_address(rest)?),
            "udp" => ForwardFrom::Udp(host_address(rest)?),
            "unix" if rest.is_empty() => return Err(ForwardError::Path(text.to_owned())),
            "unix" => ForwardFrom::Unix(PathBuf::from(rest)),
            _ => return Err(form()),
        };
        let (named, to) = match to.split_once(':') {
            Some(("tcp", to)) => (Some(Transport::Tcp), to),
            Some(("udp", to)) => (Some(Transport::Udp), to),
            _ => (None, to),
        };
        let transport = from.transport();
        match named {
            Some(named) if named != transport => {
                return Err(ForwardError::Mixed(text.to_owned(), transport.name(), named.name()));
            }
            _ => {}
        }
        let (guest, port) = guest_address(to)?;
        Ok(Self { from, guest, port })
    }
}

impl fmt::Display for ForwardFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:", self.from, self.from.transport().name())?;
        if let Some(guest) = self.guest {
            write!(f, "{guest}:")?;
        }
        write!(f, "{}", self.port)
    }
}

impl TryFrom<String> for Forward {
    type Error = ForwardError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Forward> for String {
    fn from(forward: Forward) -> Self {
        forward.to_string()
    }
}
