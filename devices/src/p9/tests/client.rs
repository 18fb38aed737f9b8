//! A client's side of the protocol, written apart from the server's.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::p9::{ByteReply, Errno, Server};

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// Fields of a request, one behind the other.
#[derive(Clone, Default)]
pub(super) struct Body(pub(super) Vec<u8>);

impl Body {
    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn str(mut self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.0.extend((value.len() as u16).to_le_bytes());
        self.0.extend(value);
        self
    }

    /// The whole message.
    pub(super) fn frame(&self, kind: u8, tag: u16) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend((self.0.len() as u32 + 7).to_le_bytes());
        frame.push(kind);
        frame.extend(tag.to_le_bytes());
        frame.extend(&self.0);
        frame
    }
}

/// The fields of a reply, from the front.
pub(super) struct Fields(Vec<u8>, usize);

impl Fields {
    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let taken = self.0[self.1..self.1 + count].to_vec();
        self.1 += count;
        taken
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes(2).try_into().unwrap())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes(8).try_into().unwrap())
    }

    pub(super) fn str(&mut self) -> Vec<u8> {
        let length = self.u16();
        self.bytes(length.into())
    }

    pub(super) fn qid(&mut self) -> Qid {
        Qid { kind: self.u8(), version: self.u32(), path: self.u64() }
    }

    fn at_end(&self) -> bool {
        self.1 == self.0.len()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Qid {
    pub(super) kind: u8,
    pub(super) version: u32,
    pub(super) path: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attr {
    pub(super) valid: u64,
    pub(super) qid: Qid,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u64,
    pub(super) rdev: u64,
    pub(super) size: u64,
    pub(super) blksize: u64,
    pub(super) blocks: u64,
    /// Access, modification, change, birth: seconds and nanoseconds.
    pub(super) times: [(u64, u64); 4],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) qid: Qid,
    pub(super) next: u64,
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Set {
    pub(super) valid: u32,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) atime: (u64, u64),
    pub(super) mtime: (u64, u64),
}

pub(super) struct Client {
    pub(super) server: Server,
    next_fid: AtomicU32,
}

impl Client {
    pub(super) fn new(server: Server) -> Self {
        Self { server, next_fid: AtomicU32::new(1000) }
    }

    pub(super) fn new_fid(&self) -> u32 {
        self.next_fid.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a frame as it is; the reply as it is.
    pub(super) fn raw(&self, frame: &[u8], capacity: usize) -> Vec<u8> {
        let mut reply = ByteReply::new(capacity);
        let length = self.server.handle(&mut &*frame, &mut reply);
        reply.into_bytes(length)
    }

    /// A request and its reply's fields, or the error.
    pub(super) fn call(&self, kind: u8, body: Body) -> Result<Fields> {
        let tag = 7;
        let reply = self.raw(&body.frame(kind, tag), 1 << 20);
        assert_eq!(reply.len() as u32, u32::from_le_bytes(reply[..4].try_into().unwrap()), "size");
        assert_eq!(u16::from_le_bytes([reply[5], reply[6]]), tag);
        if reply[4] == 7 {
            assert_eq!(reply.len(), 11);
            return Err(Errno(u32::from_le_bytes(reply[7..].try_into().unwrap())));
        }
        assert_eq!(reply[4], kind + 1, "type");
        Ok(Fields(reply, 7))
    }

    /// A request whose reply has no fields.
    fn done(&self, kind: u8, body: Body) -> Result<()> {
        let fields = self.call(kind, body)?;
        assert!(fields.at_end());
        Ok(())
    }

    pub(super) fn version(&self, msize: u32) -> Result<(u32, Vec<u8>)> {
        let mut reply = self.call(100, Body::default().u32(msize).str("9P2000.L"))?;
        Ok((reply.u32(), reply.str()))
    }

    pub(super) fn attach_as(&self, fid: u32, uid: u32) -> Result<Qid> {
        let body = Body::default().u32(fid).u32(!0).str("user").str("").u32(uid);
        Ok(self.call(104, body)?.qid())
    }

    pub(super) fn walk(&self, fid: u32, new_fid: u32, names: &[impl AsRef<[u8]>]) -> Result<Vec<Qid>> {
        let body = Body::default().u32(fid).u32(new_fid).u16(names.len() as u16);
        let body = names.iter().fold(body, |body, name| body.str(name));
        let mut reply = self.call(110, body)?;
        let count = reply.u16();
        let qids = (0..count).map(|_| reply.qid()).collect();
        assert!(reply.at_end());
        Ok(qids)
    }

    /// A new fid for a path relative to `from`; "" is a clone.
    pub(super) fn walk_to(&self, from: u32, path: impl AsRef<[u8]>) -> Result<u32> {
        let fid = self.new_fid();
        let names: Vec<&[u8]> =
            path.as_ref().split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let qids = self.walk(from, fid, &names)?;
        if qids.len() == names.len() { Ok(fid) } else { Err(Errno::ENOENT) }
    }

    pub(super) fn clunk(&self, fid: u32) -> Result<()> {
        self.done(120, Body::default().u32(fid))
    }

    pub(super) fn remove(&self, fid: u32) -> Result<()> {
        self.done(122, Body::default().u32(fid))
    }

    pub(super) fn open(&self, fid: u32, flags: u32) -> Result<Qid> {
        let mut reply = self.call(12, Body::default().u32(fid).u32(flags))?;
        let qid = reply.qid();
        assert_eq!(reply.u32(), 0, "iounit");
        Ok(qid)
    }

    pub(super) fn create(&self, dir: u32, name: impl AsRef<[u8]>, flags: u32, mode: u32) -> Result<Qid> {
        let body = Body::default().u32(dir).str(name).u32(flags).u32(mode).u32(!0);
        Ok(self.call(14, body)?.qid())
    }

    /// A new fid for a new file in the directory `dir`.
    pub(super) fn create_in(&self, dir: u32, name: impl AsRef<[u8]>, flags: u32, mode: u32) -> Result<u32> {
        let fid = self.walk_to(dir, "")?;
        match self.create(fid, name, flags, mode) {
            Ok(_) => Ok(fid),
            Err(error) => {
                self.clunk(fid).unwrap();
                Err(error)
            }
        }
    }

    pub(super) fn read(&self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>> {
        let mut reply = self.call(116, Body::default().u32(fid).u64(offset).u32(count))?;
        let count = reply.u32();
        let bytes = reply.bytes(count as usize);
        assert!(reply.at_end());
        Ok(bytes)
    }

    pub(super) fn write(&self, fid: u32, offset: u64, data: impl AsRef<[u8]>) -> Result<u32> {
        let data = data.as_ref();
        let mut body = Body::default().u32(fid).u64(offset).u32(data.len() as u32);
        body.0.extend(data);
        Ok(self.call(118, body)?.u32())
    }

    pub(super) fn fsync(&self, fid: u32, data_only: u32) -> Result<()> {
        self.done(50, Body::default().u32(fid).u32(data_only))
    }

    pub(super) fn getattr(&self, fid: u32) -> Result<Attr> {
        let mut r = self.call(24, Body::default().u32(fid).u64(0x7ff))?;
        let attr = Attr {
            valid: r.u64(),
            qid: r.qid(),
            mode: r.u32(),
            uid: r.u32(),
            gid: r.u32(),
            nlink: r.u64(),
            rdev: r.u64(),
            size: r.u64(),
            blksize: r.u64(),
            blocks: r.u64(),
            times: std::array::from_fn(|_| (r.u64(), r.u64())),
        };
        assert_eq!((r.u64(), r.u64()), (0, 0), "generation and data version");
        assert!(r.at_end());
        Ok(attr)
    }

    pub(super) fn setattr(&self, fid: u32, set: Set) -> Result<()> {
        let body =
            Body::default().u32(fid).u32(set.valid).u32(set.mode).u32(set.uid).u32(set.gid).u64(set.size);
        let body = body.u64(set.atime.0).u64(set.atime.1).u64(set.mtime.0).u64(set.mtime.1);
        self.done(26, body)
    }

    pub(super) fn readdir(&self, fid: u32, offset: u64, count: u32) -> Result<Vec<Entry>> {
        let mut r = self.call(40, Body::default().u32(fid).u64(offset).u32(count))?;
        assert!(r.u32() <= count);
        let mut entries = Vec::new();
        while !r.at_end() {
            entries.push(Entry { qid: r.qid(), next: r.u64(), kind: r.u8(), name: r.str() });
        }
        Ok(entries)
    }

    /// Names of all entries of an open directory, sorted, "." and ".." left out.
    pub(super) fn list(&self, fid: u32, count: u32) -> Result<Vec<Vec<u8>>> {
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let entries = self.readdir(fid, offset, count)?;
            let Some(last) = entries.last() else { break };
            offset = last.next;
            names.extend(entries.into_iter().map(|entry| entry.name));
        }
        names.retain(|name| !matches!(&name[..], b"." | b".."));
        names.sort();
        Ok(names)
    }

    pub(super) fn mkdir(&self, dir: u32, name: impl AsRef<[u8]>, mode: u32) -> Result<Qid> {
        Ok(self.call(72, Body::default().u32(dir).str(name).u32(mode).u32(!0))?.qid())
    }

    pub(super) fn symlink(&self, dir: u32, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Result<Qid> {
        Ok(self.call(16, Body::default().u32(dir).str(name).str(target).u32(!0))?.qid())
    }

    pub(super) fn readlink(&self, fid: u32) -> Result<Vec<u8>> {
        Ok(self.call(22, Body::default().u32(fid))?.str())
    }

    pub(super) fn mknod(&self, dir: u32, name: &str, mode: u32, device: (u32, u32)) -> Result<Qid> {
        let body = Body::default().u32(dir).str(name).u32(mode).u32(device.0).u32(device.1).u32(!0);
        Ok(self.call(18, body)?.qid())
    }

    pub(super) fn link(&self, dir: u32, fid: u32, name: &str) -> Result<()> {
        self.done(70, Body::default().u32(dir).u32(fid).str(name))
    }

    pub(super) fn rename(&self, fid: u32, dir: u32, name: &str) -> Result<()> {
        self.done(20, Body::default().u32(fid).u32(dir).str(name))
    }

    pub(super) fn renameat(
        &self,
        dir: u32,
        name: impl AsRef<[u8]>,
        new_dir: u32,
        new_name: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.done(74, Body::default().u32(dir).str(name).u32(new_dir).str(new_name))
    }

    /// `flags`: 0x200 for a directory.
    pub(super) fn unlink(&self, dir: u32, name: impl AsRef<[u8]>, flags: u32) -> Result<()> {
        self.done(76, Body::default().u32(dir).str(name).u32(flags))
    }

    /// An attribute's value; all names for "".
    pub(super) fn xattr(&self, fid: u32, name: &str) -> Result<Vec<u8>> {
        let new_fid = self.new_fid();
        let size = self.call(30, Body::default().u32(fid).u32(new_fid).str(name))?.u64();
        let value = self.read(new_fid, 0, size as u32)?;
        assert_eq!(value.len() as u64, size);
        self.clunk(new_fid)?;
        Ok(value)
    }

    pub(super) fn xattr_create(&self, fid: u32, name: &str, size: u64, flags: u32) -> Result<()> {
        self.done(32, Body::default().u32(fid).str(name).u64(size).u32(flags))
    }

    /// Sets an attribute as Linux's client does: on a clone of the fid.
    pub(super) fn set_xattr(&self, fid: u32, name: &str, value: &[u8], flags: u32) -> Result<()> {
        let clone = self.walk_to(fid, "")?;
        let created = self.xattr_create(clone, name, value.len() as u64, flags);
        let written =
            created.and_then(|()| if value.is_empty() { Ok(0) } else { self.write(clone, 0, value) });
        let closed = self.clunk(clone);
        written.and(closed)
    }

    /// Type (0 read, 1 write, 2 unlock), range, process; the status.
    pub(super) fn lock(&self, fid: u32, kind: u8, start: u64, length: u64, process: u32) -> Result<u8> {
        let body = Body::default().u32(fid).u8(kind).u32(1).u64(start).u64(length).u32(process).str("guest");
        Ok(self.call(52, body)?.u8())
    }

    /// What is in the way: type, start, length, process.
    pub(super) fn getlock(
        &self,
        fid: u32,
        kind: u8,
        start: u64,
        length: u64,
        process: u32,
    ) -> Result<(u8, u64, u64, u32)> {
        let body = Body::default().u32(fid).u8(kind).u64(start).u64(length).u32(process).str("guest");
        let mut r = self.call(54, body)?;
        Ok((r.u8(), r.u64(), r.u64(), r.u32()))
    }
}
