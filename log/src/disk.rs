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

    /// The first `limit` bytes of a file, or all of it if it is shorter.
    fn read(&self, file: &Path, limit: u64) -> io::Result<FileBytes>;

    /// Reads whole files and hands each to `visit` with its place in `files`, in any order and from any thread.
    fn visit(&self, files: &[PathBuf], visit: &(dyn Fn(usize, io::Result<FileBytes>) + Sync)) {
        for (place, file) in files.iter().enumerate() {
            visit(place, self.read(file, u64::MAX));
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
    /// Zeroes at an address that is a multiple of the block size.
    fn aligned(length: usize) -> Self {
        let memory = vec![0; length + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        assert!(start < BLOCK);
        Self { memory, start, length }
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
}

impl Default for OsDisk {
    /// As many threads as the process may use CPUs, at most 8: each holds one file in memory.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, |cpus| cpus.get().min(8)))
    }
}

impl Disk for OsDisk {
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        dir.read_dir()?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, file: &Path, limit: u64) -> io::Result<FileBytes> {
        let (open, direct) = open(file)?;
        let length = open.metadata()?.len().min(limit) as usize;
        let mut bytes = FileBytes::aligned(length.next_multiple_of(BLOCK));
        let read = fill(&open, direct, &mut bytes)?;
        bytes.length = read.min(length);
        Ok(bytes)
    }

    fn visit(&self, files: &[PathBuf], visit: &(dyn Fn(usize, io::Result<FileBytes>) + Sync)) {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..self.threads.min(files.len()) {
                scope.spawn(|| {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        let Some(file) = files.get(place) else { break };
                        visit(place, self.read(file, u64::MAX));
                    }
                });
            }
        });
    }
}

fn open(file: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(file) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok((File::open(file)?, false)),
        Err(error) => Err(error),
    }
}

/// Reads from the file's begin until `bytes` is full or the file ends.
fn fill(file: &File, direct: bool, bytes: &mut FileBytes) -> io::Result<usize> {
    let target = &mut bytes.memory[bytes.start..bytes.start + bytes.length];
    let mut done = 0;
    while done < target.len() {
        match file.read_at(&mut target[done..], done as u64) {
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
