//! A tap interface (Linux's Documentation/networking/tuntap.rst), with virtio's packet header before each frame.

#![expect(unsafe_code, reason = "a tap interface is set up by ioctls that rustix does not have")]

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::net::{FrameHeader, MAX_FRAME_BYTES, NetBackend, Offloads, Received, Sent, VIRTIO_HEADER_BYTES};

#[cfg(test)]
#[path = "tap_test.rs"]
mod tap_test;

/// A tap interface of the host.
pub(in crate::net) struct TapNet {
    file: File,
    registry: Option<Registry>,
    readable: bool,
}

impl TapNet {
    /// Opens the interface `name`, which is made when it does not exist.
    pub(in crate::net) fn new(name: &str) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
        // SAFETY: an ifreq of zeroes is one with an empty name.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let (_, room) = request.ifr_name.split_last_mut().ok_or(io::ErrorKind::InvalidInput)?;
        if name.len() > room.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in room.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
        // SAFETY: the descriptor is open, and TUNSETIFF reads and writes an ifreq.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) })?;
        let header_bytes = VIRTIO_HEADER_BYTES as libc::c_int;
        // SAFETY: TUNSETVNETHDRSZ reads an int.
        check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &header_bytes) })?;
        let mut net = Self { file, registry: None, readable: true };
        net.offload(Offloads::empty())?;
        Ok(net)
    }

    /// Tells the kernel what it may give us.
    fn offload(&mut self, offloads: Offloads) -> io::Result<()> {
        let pairs = [
            (Offloads::GUEST_CSUM, libc::TUN_F_CSUM),
            (Offloads::GUEST_CSUM | Offloads::GUEST_TSO4, libc::TUN_F_TSO4),
            (Offloads::GUEST_CSUM | Offloads::GUEST_TSO6, libc::TUN_F_TSO6),
        ];
        let flags = pairs
            .iter()
            .filter(|(needed, _)| offloads.contains(*needed))
            .fold(0, |all, (_, flag)| all | flag);
        // SAFETY: TUNSETOFFLOAD takes its flags by value.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) })
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl NetBackend for TapNet {
    fn offloads(&self) -> Offloads {
        Offloads::all()
    }

    fn set_offloads(&mut self, offloads: Offloads) {
        if let Err(error) = self.offload(offloads) {
            log::warn!("tap: the kernel does not do as the guest asks ({offloads:?}): {error}");
        }
    }

    fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&self.file.as_raw_fd()), first, interest)?;
        self.registry = Some(registry.try_clone()?);
        self.readable = true;
        Ok(())
    }

    fn deregister(&mut self) {
        if let Some(registry) = self.registry.take() {
            // It fails only for one that is not registered.
            let _ = registry.deregister(&mut SourceFd(&self.file.as_raw_fd()));
        }
    }

    fn ready(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_error();
    }

    fn send(&mut self, frame: &[u8], header: &FrameHeader) -> Sent {
        let header = header.to_virtio();
        match self.file.write_vectored(&[IoSlice::new(&header), IoSlice::new(frame)]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Busy,
            // A frame the kernel does not like is lost, and so are all while the interface is down.
            _ => Sent::Done,
        }
    }

    fn advance(&mut self, _: Instant) {}

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        let mut header = [0; VIRTIO_HEADER_BYTES];
        while self.readable {
            let room = frame.get_mut(..MAX_FRAME_BYTES)?;
            match self.file.read_vectored(&mut [IoSliceMut::new(&mut header), IoSliceMut::new(room)]) {
                Ok(length) => {
                    let Some(bytes) = length.checked_sub(VIRTIO_HEADER_BYTES) else { continue };
                    if let Ok(header) = FrameHeader::from_virtio(&header, bytes) {
                        return Some(Received { bytes, header });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Down, or nothing there: an event comes when there is.
                Err(_) => self.readable = false,
            }
        }
        None
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn reset(&mut self) {}
}
