//! What a durable write takes the disk itself: 4 KiB with `O_DIRECT`, then `fdatasync`, into a file that is there already.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::stop::Stop;

const BLOCK: usize = 4096;
/// Preallocated and written once, like a log's segment: writes change no metadata.
const FILE_BLOCKS: u64 = 4096;

/// A block that `O_DIRECT` takes.
struct Aligned(NonNull<u8>);

const LAYOUT: Layout = match Layout::from_size_align(BLOCK, BLOCK) {
    Ok(layout) => layout,
    Err(_) => panic!("a block is a power of two"),
};

impl Aligned {
    fn new() -> Self {
        // SAFETY: the layout is not of size zero.
        let block = unsafe { alloc_zeroed(LAYOUT) };
        Self(NonNull::new(block).unwrap_or_else(|| std::alloc::handle_alloc_error(LAYOUT)))
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `BLOCK` bytes, initialised, and borrowed as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), BLOCK) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout.
        unsafe { dealloc(self.0.as_ptr(), LAYOUT) };
    }
}

/// The file that is written.
pub(crate) struct Disk {
    file: File,
    block: Aligned,
    next: u64,
}

impl Disk {
    /// Makes the file in `dir`.
    pub(crate) fn in_dir(dir: &Path) -> Result<Self, String> {
        Self::create(&dir.join("disk"))
            .map_err(|error| format!("{}: {error}; a disk with O_DIRECT is needed, see --dir", dir.display()))
    }

    fn create(path: &Path) -> io::Result<Self> {
        let mut whole = File::create(path)?;
        for _ in 0..FILE_BLOCKS {
            whole.write_all(&[1; BLOCK])?;
        }
        whole.sync_all()?;
        let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)?;
        Ok(Self { file, block: Aligned::new(), next: 0 })
    }

    /// Writes for `time`, one block after the other; returns the microseconds of each write.
    pub(crate) fn measure(&mut self, time: Duration, stop: &Stop) -> Result<Vec<f64>, String> {
        let until = Instant::now() + time;
        let mut waits = Vec::new();
        while waits.is_empty() || Instant::now() < until {
            stop.check()?;
            let begun = Instant::now();
            self.write().map_err(|error| format!("the disk: {error}"))?;
            waits.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(waits)
    }

    fn write(&mut self) -> io::Result<()> {
        let at = self.next % FILE_BLOCKS * BLOCK as u64;
        self.next += 1;
        let stamp = self.next.to_le_bytes();
        let bytes = self.block.bytes();
        bytes[..stamp.len()].copy_from_slice(&stamp);
        self.file.write_all_at(bytes, at)?;
        self.file.sync_data()
    }
}
