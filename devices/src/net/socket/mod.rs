//! Back ends that are other programs, behind unix sockets.

mod backoff;
mod datagram;
mod stream;

#[cfg(test)]
#[path = "socket_test.rs"]
mod socket_test;

pub use self::datagram::DatagramNet;
pub use self::stream::StreamNet;
