//! A file read in steps: little memory however large it is, and a pause wherever the reader wants one.

use std::io;
use std::path::Path;

use crate::disk::{Disk, FileBytes};
use crate::sector::BLOCK;

/// A place in a file, and what was read beyond it.
pub(crate) struct FileSteps<'a> {
    disk: &'a dyn Disk,
    file: &'a Path,
    step: u64,
    /// Told how many bytes were read, after each step.
    pace: &'a mut dyn FnMut(u64),
    /// The memory of the last step.
    read: FileBytes,
    bytes: Vec<u8>,
    passed: usize,
    /// Where `bytes` ends in the file.
    next: u64,
    ended: bool,
}

impl<'a> FileSteps<'a> {
    /// Begins at the file's begin. `step` is in bytes, a multiple of the block size.
    pub(crate) fn new(disk: &'a dyn Disk, file: &'a Path, step: u64, pace: &'a mut dyn FnMut(u64)) -> Self {
        assert!(step > 0 && step.is_multiple_of(BLOCK as u64));
        let (read, bytes) = (FileBytes::default(), Vec::new());
        Self { disk, file, step, pace, read, bytes, passed: 0, next: 0, ended: false }
    }

    pub(crate) fn file(&self) -> &'a Path {
        self.file
    }

    /// The place, in bytes from the file's begin.
    pub(crate) fn at(&self) -> u64 {
        self.next - (self.bytes.len() - self.passed) as u64
    }

    /// What follows: `wanted` bytes at least, or all up to the file's end.
    pub(crate) fn ahead(&mut self, wanted: usize) -> io::Result<&[u8]> {
        while self.bytes.len() - self.passed < wanted && !self.ended {
            self.bytes.drain(..self.passed);
            self.passed = 0;
            let memory = std::mem::take(&mut self.read);
            self.read = self.disk.read_again(memory, self.file, self.next, self.step)?;
            let read = self.read.len() as u64;
            self.next += read;
            self.ended = read < self.step;
            self.bytes.extend_from_slice(&self.read);
            (self.pace)(read);
        }
        Ok(&self.bytes[self.passed..])
    }

    /// Moves the place on, over bytes that were looked at.
    pub(crate) fn pass(&mut self, length: usize) {
        self.passed += length;
        assert!(self.passed <= self.bytes.len());
    }
}
