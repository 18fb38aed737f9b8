//! Attributes: getattr, setattr, statfs.

use std::sync::atomic::Ordering;

use rustix::fs::{self, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use crate::lock;
use crate::p9::Server;
use crate::p9::fid::{Role, State};
use crate::p9::identity::gives_rights;
use crate::p9::os::{FileTime, Handle, Stat};
use crate::p9::wire::spec::{V9FS_MAGIC, file_type, getattr, setattr};
use crate::p9::wire::{Errno, Reply, Result, SetAttr};

/// A device number as Linux's client takes it apart (`new_decode_dev`): 12 bits of major between 20 of minor.
fn encode_device((major, minor): (u32, u32)) -> u64 {
    u64::from(minor & 0xff | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12)
}

/// A time to set, if `valid` says so.
fn time_to_set(valid: u32, bit: u32, set_bit: u32, (seconds, nanoseconds): (u64, u64)) -> Result<Timespec> {
    if valid & bit == 0 {
        return Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT });
    }
    if valid & set_bit == 0 {
        return Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_NOW });
    }
    if nanoseconds >= 1_000_000_000 {
        return Err(Errno::EINVAL);
    }
    Ok(Timespec { tv_sec: seconds.cast_signed(), tv_nsec: nanoseconds as _ })
}

impl Server {
    /// Tgetattr: everything that is known, whatever was asked for.
    pub(in crate::p9) fn getattr(&self, fid: u32, reply: Reply) -> Result<Reply> {
        let state = self.fids.get(fid)?.state();
        let (stat, qid) = self.shown_stat(&state)?;
        let born = stat.btime.map_or(0, |_| getattr::BTIME);
        let time = |reply: Reply, time: FileTime| {
            reply.u64(time.seconds.cast_unsigned()).u64(time.nanoseconds.into())
        };
        let reply = reply
            .u64(getattr::BASIC | born)
            .qid(qid)
            .u32(stat.mode)
            .u32(stat.uid)
            .u32(stat.gid)
            .u64(stat.links)
            .u64(encode_device(stat.device))
            .u64(stat.size)
            .u64(stat.block_size)
            .u64(stat.blocks);
        let times = [stat.atime, stat.mtime, stat.ctime, stat.btime.unwrap_or_default()];
        // Behind the times: generation and data version, which are not valid.
        Ok(times.into_iter().fold(reply, time).u64(0).u64(0))
    }

    /// A file's attributes as the guest sees them, and its qid.
    fn shown_stat(&self, state: &State) -> Result<(Stat, crate::p9::wire::Qid)> {
        let (mut stat, handle) = if self.ids.needs_handle(state.node.file_type()) {
            let handle = self.reach(state)?;
            (handle.stat()?, Some(handle))
        } else {
            (self.host_stat(state)?, None)
        };
        let qid = self.qids.qid(&stat);
        self.ids.show(&mut stat, handle.as_deref());
        Ok((stat, qid))
    }

    /// Tsetattr: owner, mode, size, times, in this order, since each may touch those behind it.
    pub(in crate::p9) fn setattr(&self, fid: u32, attr: &SetAttr) -> Result<()> {
        self.check_writable()?;
        let state = self.fids.get(fid)?.state();
        let handle = self.reach(&state)?;
        let asked = |bit: u32| attr.valid & bit != 0;
        let times = Timestamps {
            last_access: time_to_set(attr.valid, setattr::ATIME, setattr::ATIME_SET, attr.atime)?,
            last_modification: time_to_set(attr.valid, setattr::MTIME, setattr::MTIME_SET, attr.mtime)?,
        };
        let mode = asked(setattr::MODE).then_some(attr.mode);
        let uid = asked(setattr::UID).then_some(attr.uid);
        let gid = asked(setattr::GID).then_some(attr.gid);
        if mode.is_some() || uid.is_some() || gid.is_some() {
            let _one_at_a_time = lock(&self.ownership);
            self.ids.change(&handle, mode, uid, gid)?;
            if mode.is_some_and(gives_rights) {
                self.set_ids.fetch_add(1, Ordering::Release);
            }
        }
        if asked(setattr::SIZE) {
            self.resize(&state, &handle, attr.size)?;
        }
        if asked(setattr::ATIME | setattr::MTIME) {
            handle.set_times(&times)?;
        }
        if attr.valid == setattr::CTIME {
            handle.chown(None, None)?; // changes nothing but the time of change
        }
        Ok(())
    }

    fn resize(&self, state: &State, handle: &Handle, size: u64) -> Result<()> {
        match state.node.file_type() {
            file_type::REGULAR => {}
            file_type::DIRECTORY => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        if let Role::File(file) = &state.role
            && fs::ftruncate(self.tree.descriptor(file)?.fd()?, size).is_ok()
        {
            return Ok(());
        }
        // Not open, or not for writing.
        let file = self.tree.with_room(|| Ok(handle.open_file(fs::OFlags::WRONLY)?))?;
        Ok(fs::ftruncate(file, size)?)
    }

    /// Tstatfs: the host's file system, by the name of 9P's.
    pub(in crate::p9) fn statfs(&self, fid: u32, reply: Reply) -> Result<Reply> {
        let state = self.fids.get(fid)?.state();
        let stat = if let Role::File(file) = &state.role {
            fs::fstatvfs(self.tree.descriptor(file)?.fd()?)?
        } else {
            let node = if state.node.is_directory() { state.node } else { state.node.parent() };
            fs::fstatvfs(self.tree.handle(&node)?.fd()?)?
        };
        // f_blocks counts in f_frsize.
        let unit =
            u32::try_from(if stat.f_frsize == 0 { stat.f_bsize } else { stat.f_frsize }).unwrap_or(4096);
        let name_length = u32::try_from(stat.f_namemax).unwrap_or(255);
        Ok(reply
            .u32(V9FS_MAGIC)
            .u32(unit)
            .u64(stat.f_blocks)
            .u64(stat.f_bfree)
            .u64(stat.f_bavail)
            .u64(stat.f_files)
            .u64(stat.f_ffree)
            .u64(stat.f_fsid)
            .u32(name_length))
    }
}
