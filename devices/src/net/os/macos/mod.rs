//! vmnet.framework, reached by our own declarations of its C functions.
//!
//! Not confirmed on a Mac: type-checked and linked against the framework's names. Starting an interface takes root or
//! the entitlement `com.apple.vm.networking`.

#![expect(unsafe_code, reason = "vmnet, XPC and dispatch are C interfaces")]

mod block;
mod sys;

use std::ffi::{CStr, CString, c_int, c_void};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::ptr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use self::block::Block;
use super::VmnetFacts;
use crate::net::{
    DEFAULT_MTU, FrameHeader, MAX_FRAME_BYTES, MacAddress, NetBackend, Offloads, OpenError, Received, Sent,
    VmnetConfig, VmnetMode,
};

/// How long the framework may take to start or stop an interface. It may ask the user first.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait when the kernel is out of buffers: no event tells when it has some again.
const BUFFER_WAIT: Duration = Duration::from_millis(1);

/// A serial queue of our own.
struct Queue(sys::DispatchQueue);

impl Queue {
    fn new() -> Self {
        // SAFETY: the label is a C string, and no attributes mean a serial queue.
        Self(unsafe { sys::dispatch_queue_create(c"rvmm.vmnet".as_ptr(), ptr::null_mut()) })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue was created by us and is released once.
        unsafe { sys::dispatch_release(self.0) };
    }
}

/// What the start handler hears.
struct Started {
    status: u32,
    facts: VmnetFacts,
    largest: usize,
}

/// A vmnet interface.
struct VmnetNet {
    interface: sys::Interface,
    queue: Queue,
    /// A byte comes when there are packets.
    bell: UnixStream,
    /// Keeps what the event handler captured, which rings the bell; given back when the interface is stopped.
    events: Option<Block<StdUnixStream>>,
    registry: Option<Registry>,
    readable: bool,
    largest: usize,
    wait: Option<Instant>,
}

// SAFETY: the handle and the queue may be used from any thread, one at a time here: vmnet_read and vmnet_write say so.
unsafe impl Send for VmnetNet {}

/// A description of what is wanted.
struct Description(sys::XpcObject);

impl Description {
    fn new(config: &VmnetConfig) -> Result<Self, OpenError> {
        // SAFETY: an empty dictionary; keys and values are null and of no number.
        let dictionary = unsafe { sys::xpc_dictionary_create(ptr::null(), ptr::null(), 0) };
        let description = Self(dictionary);
        let mode = match config.mode {
            VmnetMode::Host => sys::HOST_MODE,
            VmnetMode::Shared => sys::SHARED_MODE,
            VmnetMode::Bridged => sys::BRIDGED_MODE,
        };
        // SAFETY: the dictionary lives, and the key is the framework's constant.
        unsafe { sys::xpc_dictionary_set_uint64(dictionary, sys::vmnet_operation_mode_key, mode) };
        if let Some(interface) = &config.interface {
            let name = CString::new(interface.as_str())
                .map_err(|_| OpenError::Vmnet(format!("{interface:?} is not the name of an interface")))?;
            // SAFETY: as above; the value is copied.
            unsafe {
                sys::xpc_dictionary_set_string(
                    dictionary,
                    sys::vmnet_shared_interface_name_key,
                    name.as_ptr(),
                );
            }
        }
        Ok(description)
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: created by us and released once.
        unsafe { sys::xpc_release(self.0) };
    }
}

/// What the framework tells of an interface.
fn facts(parameters: sys::XpcObject) -> (VmnetFacts, usize) {
    if parameters.is_null() {
        return (VmnetFacts { mac: None, mtu: DEFAULT_MTU }, MAX_FRAME_BYTES);
    }
    // SAFETY: the dictionary is the framework's and lives for the time of the handler; the keys are its constants.
    let (mac, mtu, largest) = unsafe {
        (
            sys::xpc_dictionary_get_string(parameters, sys::vmnet_mac_address_key),
            sys::xpc_dictionary_get_uint64(parameters, sys::vmnet_mtu_key),
            sys::xpc_dictionary_get_uint64(parameters, sys::vmnet_max_packet_size_key),
        )
    };
    let mac = if mac.is_null() {
        None
    } else {
        // SAFETY: a C string that belongs to the dictionary.
        unsafe { CStr::from_ptr(mac) }.to_str().ok().and_then(|text| text.parse::<MacAddress>().ok())
    };
    let mtu = u16::try_from(mtu).ok().filter(|mtu| *mtu >= 576).unwrap_or(DEFAULT_MTU);
    let largest = usize::try_from(largest).unwrap_or(MAX_FRAME_BYTES);
    (VmnetFacts { mac, mtu }, largest.clamp(usize::from(mtu) + 14, MAX_FRAME_BYTES))
}

extern "C" fn started(block: *mut c_void, status: u32, parameters: sys::XpcObject) {
    let (facts, largest) = facts(parameters);
    // SAFETY: the framework passes the block it was given, or its copy: both hold the pointer to what was captured,
    // which `start` keeps until the handler was called.
    let sender: &mpsc::SyncSender<Started> = unsafe { Block::captured(block) };
    // Nobody waits any more: it took too long.
    let _ = sender.try_send(Started { status, facts, largest });
}

extern "C" fn packets_available(block: *mut c_void, _events: u32, _event: sys::XpcObject) {
    // SAFETY: as in `started`; the interface keeps what was captured until it was stopped.
    let mut bell: &StdUnixStream = unsafe { Block::captured(block) };
    // A full bell has rung already.
    let _ = bell.write(&[1]);
}

extern "C" fn stopped(block: *mut c_void, status: u32) {
    // SAFETY: as in `started`; `Drop` keeps what was captured until the handler was called.
    let sender: &mpsc::SyncSender<u32> = unsafe { Block::captured(block) };
    // Nobody waits any more: it took too long.
    let _ = sender.try_send(status);
}

/// What a status means and what to do about it.
fn meaning(status: u32) -> String {
    let text = match status {
        sys::FAILURE => {
            "general failure; without root or the entitlement com.apple.vm.networking it fails so"
        }
        sys::MEM_FAILURE => "out of memory",
        sys::INVALID_ARGUMENT => {
            "an invalid argument; for mode=bridged, name an interface that can be bridged"
        }
        sys::SETUP_INCOMPLETE => "the interface is not set up",
        sys::INVALID_ACCESS => "permission denied; run as root or sign with com.apple.vm.networking",
        sys::PACKET_TOO_BIG => "a frame is too large",
        sys::BUFFER_EXHAUSTED => "the kernel is out of buffers",
        sys::TOO_MANY_PACKETS => "too many frames at once",
        sys::SHARING_SERVICE_BUSY => "Internet Sharing or another program holds the network; stop it",
        sys::NOT_AUTHORIZED => "not authorized; run as root or sign with com.apple.vm.networking",
        _ => "an unknown status",
    };
    format!("{text} (status {status})")
}

/// Starts an interface.
pub(super) fn start(config: &VmnetConfig) -> Result<(Box<dyn NetBackend>, VmnetFacts), OpenError> {
    let description = Description::new(config)?;
    let queue = Queue::new();
    let bell = bell().map_err(|error| OpenError::Vmnet(error.to_string()))?;
    let (sender, receiver) = mpsc::sync_channel::<Started>(1);
    let block = Block::new(started as *const c_void, sender);
    // SAFETY: description and queue live; the block is one, and what it captured lives until the handler was called
    // or, should that take too long, for ever.
    let interface = unsafe { sys::vmnet_start_interface(description.0, queue.0, block.as_ptr()) };
    if interface.is_null() {
        // The handler is not called then.
        return Err(OpenError::Vmnet(
            "the interface cannot be started; is the description right?".to_owned(),
        ));
    }
    let Ok(told) = receiver.recv_timeout(PATIENCE) else {
        block.leak();
        return Err(OpenError::Vmnet(format!("no answer in {} s", PATIENCE.as_secs())));
    };
    if told.status != sys::SUCCESS {
        return Err(OpenError::Vmnet(meaning(told.status)));
    }
    let net = VmnetNet::new(interface, queue, bell, told.largest);
    net.listen()?;
    Ok((Box::new(net), told.facts))
}

/// Both ends of a bell: who waits has the first.
fn bell() -> io::Result<(StdUnixStream, StdUnixStream)> {
    let (bell, ring) = StdUnixStream::pair()?;
    bell.set_nonblocking(true)?;
    ring.set_nonblocking(true)?;
    Ok((bell, ring))
}

impl VmnetNet {
    fn new(
        interface: sys::Interface,
        queue: Queue,
        (bell, ring): (StdUnixStream, StdUnixStream),
        largest: usize,
    ) -> Self {
        let events = Some(Block::new(packets_available as *const c_void, ring));
        let bell = UnixStream::from_std(bell);
        Self { interface, queue, bell, events, registry: None, readable: true, largest, wait: None }
    }

    fn listen(&self) -> Result<(), OpenError> {
        let Some(block) = &self.events else { return Ok(()) };
        // SAFETY: the interface is started; queue, block and what it captured live until it was stopped.
        let status = unsafe {
            sys::vmnet_interface_set_event_callback(
                self.interface,
                sys::PACKETS_AVAILABLE,
                self.queue.0,
                block.as_ptr(),
            )
        };
        if status == sys::SUCCESS { Ok(()) } else { Err(OpenError::Vmnet(meaning(status))) }
    }

    /// Silences the bell before looking, so that a packet that comes meanwhile rings again.
    fn answer_bell(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.bell.read(&mut bytes), Ok(1..)) {}
    }
}

impl Drop for VmnetNet {
    fn drop(&mut self) {
        let (sender, receiver) = mpsc::sync_channel::<u32>(1);
        let block = Block::new(stopped as *const c_void, sender);
        // SAFETY: the interface is started and stopped once; the block's contents live until its handler was called.
        let status = unsafe { sys::vmnet_stop_interface(self.interface, self.queue.0, block.as_ptr()) };
        if status == sys::SUCCESS && receiver.recv_timeout(PATIENCE).is_err() {
            // Handlers may still be called: what they use stays.
            block.leak();
            if let Some(events) = self.events.take() {
                events.leak();
            }
        }
    }
}

impl NetBackend for VmnetNet {
    fn offloads(&self) -> Offloads {
        Offloads::empty()
    }

    fn set_offloads(&mut self, _: Offloads) {}

    fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        registry.register(&mut self.bell, first, Interest::READABLE)?;
        self.registry = Some(registry.try_clone()?);
        self.readable = true;
        Ok(())
    }

    fn deregister(&mut self) {
        if let Some(registry) = self.registry.take() {
            // It fails only for one that is not registered.
            let _ = registry.deregister(&mut self.bell);
        }
    }

    fn ready(&mut self, _: &Event) {
        self.answer_bell();
        self.readable = true;
    }

    fn send(&mut self, frame: &[u8], _: &FrameHeader) -> Sent {
        if frame.len() > self.largest {
            return Sent::Done;
        }
        let mut piece = libc::iovec { iov_base: frame.as_ptr() as *mut c_void, iov_len: frame.len() };
        let mut packet =
            sys::PacketDescription { size: frame.len(), pieces: &mut piece, piece_count: 1, flags: 0 };
        let mut count: c_int = 1;
        // SAFETY: one packet of one piece, which the framework only reads.
        let status = unsafe { sys::vmnet_write(self.interface, &mut packet, &mut count) };
        if status == sys::BUFFER_EXHAUSTED {
            self.wait = Some(Instant::now() + BUFFER_WAIT);
            return Sent::Busy;
        }
        // Lost, as on any network.
        Sent::Done
    }

    fn advance(&mut self, now: Instant) {
        self.wait = self.wait.filter(|until| *until > now);
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        if !self.readable {
            return None;
        }
        let room = frame.get_mut(..self.largest)?;
        let mut piece = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        let mut packet =
            sys::PacketDescription { size: room.len(), pieces: &mut piece, piece_count: 1, flags: 0 };
        let mut count: c_int = 1;
        // SAFETY: room for one packet in one piece, of the length given.
        let status = unsafe { sys::vmnet_read(self.interface, &mut packet, &mut count) };
        if status != sys::SUCCESS || count < 1 || packet.size == 0 {
            self.readable = false;
            return None;
        }
        Some(Received { bytes: packet.size.min(self.largest), header: FrameHeader::default() })
    }

    fn deadline(&self) -> Option<Instant> {
        self.wait
    }

    fn reset(&mut self) {}
}
