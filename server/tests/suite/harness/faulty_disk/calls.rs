//! What the kernel asks of the file system.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::tree::{Content, File, Node, Tree};
use super::{Call, State};

/// The kernel may not remember anything: a power cut changes what is there behind its back.
const FRESH: Duration = Duration::ZERO;
const BLOCK: u32 = 4096;

pub(super) struct Calls(pub(super) Arc<Mutex<State>>);

impl Calls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no call panics")
    }
}

fn attributes(tree: &mut Tree, number: u64) -> Option<FileAttr> {
    let node = tree.node(number)?;
    let (kind, size) = match &node.content {
        Content::Directory(_) => (FileType::Directory, 0),
        Content::File(file) => (FileType::RegularFile, file.len() as u64),
    };
    Some(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: node.permissions,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    })
}

/// A new node with these permissions, and what is known of it.
fn make(tree: &mut Tree, parent: INodeNo, name: &OsStr, mode: u32, content: Content) -> Result<FileAttr, Errno> {
    if tree.directory(parent.0).ok_or(Errno::ENOENT)?.contains_key(name) {
        return Err(Errno::EEXIST);
    }
    let node = Node { permissions: (mode & 0o7777) as u16, content };
    tree.add(parent.0, name, node).and_then(|number| attributes(tree, number)).ok_or(Errno::ENOENT)
}

fn answer(reply: ReplyEmpty, done: Option<()>) {
    match done {
        Some(()) => reply.ok(),
        None => reply.error(Errno::ENOENT),
    }
}

impl Filesystem for Calls {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let tree = &mut self.state().tree;
        let number = tree.directory(parent.0).and_then(|names| names.get(name).copied());
        match number.and_then(|number| attributes(tree, number)) {
            Some(found) => reply.entry(&FRESH, &found, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&mut self.state().tree, number.0) {
            Some(found) => reply.attr(&FRESH, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let tree = &mut self.state().tree;
        if let (Some(mode), Some(node)) = (mode, tree.node(number.0)) {
            node.permissions = (mode & 0o7777) as u16;
        }
        if let (Some(size), Some(file)) = (size, tree.file(number.0)) {
            file.resize(size as usize);
        }
        match attributes(tree, number.0) {
            Some(found) => reply.attr(&FRESH, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        match make(&mut self.state().tree, parent, name, mode & !umask, Content::Directory(BTreeMap::new())) {
            Ok(found) => reply.entry(&FRESH, &found, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        match make(&mut self.state().tree, parent, name, mode & !umask, Content::File(File::default())) {
            Ok(found) => reply.created(&FRESH, &found, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.state().tree.remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let tree = &mut self.state().tree;
        let number = tree.directory(parent.0).and_then(|names| names.get(name).copied());
        if number.and_then(|number| tree.directory(number)).is_some_and(|names| !names.is_empty()) {
            return reply.error(Errno::ENOTEMPTY);
        }
        answer(reply, tree.remove(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        from: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        answer(reply, self.state().tree.rename((from.0, name), (to.0, new)));
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        length: u32,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.state();
        state.note_read(number.0, flags.0 & libc::O_DIRECT != 0);
        match state.tree.file(number.0) {
            Some(file) => reply.data(file.read(at as usize, length as usize)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        let fails = state.fails(Call::Write, number.0);
        let Some(file) = state.tree.file(number.0) else { return reply.error(Errno::ENOENT) };
        if fails {
            // The first half of it got there.
            file.write(at as usize, &data[..data.len() / 2]);
            return reply.error(Errno::EIO);
        }
        file.write(at as usize, data);
        reply.written(data.len() as u32);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.state();
        let fails = state.fails(Call::Sync, number.0);
        let Some(file) = state.tree.file(number.0) else { return reply.error(Errno::ENOENT) };
        if fails {
            file.fail_sync();
            return reply.error(Errno::EIO);
        }
        file.sync();
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.state().tree.sync_names(number.0);
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mut state = self.state();
        let Some(file) = state.tree.file(number.0) else { return reply.error(Errno::ENOENT) };
        let end = (at + length) as usize;
        if mode == 0 && file.len() < end {
            file.resize(end);
        }
        reply.ok();
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, from: u64, mut reply: ReplyDirectory) {
        let tree = &mut self.state().tree;
        let Some(names) = tree.directory(number.0).cloned() else { return reply.error(Errno::ENOENT) };
        for (nth, (name, number)) in names.into_iter().enumerate().skip(from as usize) {
            let kind = if tree.file(number).is_some() { FileType::RegularFile } else { FileType::Directory };
            if reply.add(INodeNo(number), nth as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        const BLOCKS: u64 = 1 << 20;
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK, 255, BLOCK);
    }
}
