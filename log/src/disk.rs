//! Reading back: the seam between recovery and the files.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::sector::BLOCK;

/// What recovery reads from: the real disk ([`OsDisk`]) or a simulated one.
pub trait Disk {
    /// Names in a directory, in any order. A directory that does not exist is an error of kind `NotFound`.
    fn names(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Up to `limit` bytes of a file from `offset` on, a multiple of the block size; fewer where the file ends.
    fn read_at(&self, file: &Path, offset: u64, limit: u64) -> io::Result<FileBytes>;

    /// As [`Disk::read_at`], into memory that an earlier read has filled, where that is of use.
    fn read_again(&self, memory: FileBytes, file: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
        drop(memory);
        self.read_at(file, offset, limit)
    }

    /// The first `limit` bytes of a file, or all of it if it is shorter.
    fn read(&self, file: &Path, limit: u64) -> io::Result<FileBytes> {
        self.read_at(file, 0, limit)
    }

    /// Reads whole files and hands each to `visit` with its place in `files`, in any order and from any thread.
    fn visit(&self, files: &[PathBuf], visit: &(dyn Fn(usize, io::Result<&[u8]>) + Sync)) {
        for (place, file) in files.iter().enumerate() {
            match self.read(file, u64::MAX) {
                Ok(bytes) => visit(place, Ok(&bytes)),
                Err(error) => visit(place, Err(error)),
            }
        }
    }
}

/// The bytes of a file, in memory that a direct read could fill.
#[derive(Debug, Default)]
pub struct FileBytes {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl FileBytes {
    /// Room for `length` bytes at an address that is a multiple of the block size. What it held before is kept where it
    /// is large enough: memory that was touched already is read into several times faster than fresh memory.
    fn make_room(&mut self, length: usize) {
        if self.memory.len() < length + BLOCK {
            self.memory = vec![0; length + BLOCK];
            self.start = self.memory.as_ptr().align_offset(BLOCK);
            assert!(self.start < BLOCK);
        }
        self.length = length;
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(memory: Vec<u8>) -> Self {
        Self { start: 0, length: memory.len(), memory }
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

/// The machine's disk, read directly: after a failed fsync the page cache can hold what the device does not. Where direct
/// reads are refused (tmpfs), it reads through the cache.
///
/// Blocks its thread: for use before the executors serve.
#[derive(Clone, Copy, Debug)]
pub struct OsDisk {
    threads: usize,
}

impl OsDisk {
    /// Reads with up to `threads` threads, at least one.
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.max(1) }
    }

    /// How many files are read at a time.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

impl Default for OsDisk {
    /// Two threads for each CPU that the process may use, so that one reads while another checks what it has read; 4 to
    /// 16, for each holds one file in memory.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(4, |cpus| (2 * cpus.get()).clamp(4, 16)))
    }
}

impl Disk for OsDisk {
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        dir.read_dir()?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read_at(&self, file: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
        self.read_again(FileBytes::default(), file, offset, limit)
    }

    fn read_again(&self, mut memory: FileBytes, file: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
        read_into(&mut memory, file, offset, limit)?;
        Ok(memory)
    }

    fn visit(&self, files: &[PathBuf], visit: &(dyn Fn(usize, io::Result<&[u8]>) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut bytes = FileBytes::default();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files.get(place) else { break };
                let read = read_into(&mut bytes, file, 0, u64::MAX);
                visit(place, read.map(|()| &*bytes));
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.threads.min(files.len()) {
                scope.spawn(work);
            }
        });
    }
}

fn read_into(bytes: &mut FileBytes, file: &Path, offset: u64, limit: u64) -> io::Result<()> {
    assert!(offset.is_multiple_of(BLOCK as u64), "a direct read from offset {offset}");
    let (open, direct) = open(file)?;
    let length = open.metadata()?.len().saturating_sub(offset).min(limit) as usize;
    bytes.make_room(length.next_multiple_of(BLOCK));
    let read = fill(&open, direct, offset, bytes)?;
    bytes.length = read.min(length);
    Ok(())
}

fn open(file: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(file) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok((File::open(file)?, false)),
        Err(error) => Err(error),
    }
}

/// Reads from `offset` until `bytes` is full or the file ends.
fn fill(file: &File, direct: bool, offset: u64, bytes: &mut FileBytes) -> io::Result<usize> {
    let target = &mut bytes.memory[bytes.start..bytes.start + bytes.length];
    let mut done = 0;
    while done < target.len() {
        match file.read_at(&mut target[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // A direct read that stops between blocks has met the end of the file; going on from there is not aligned.
        if direct && done % BLOCK != 0 {
            break;
        }
    }
    Ok(done)
}
