//! A disk that is full when a test wants it to be.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::mounts::own_mounts;

/// A small file system that only this thread, and what it starts, can see; it vanishes with them.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many bytes at a path that does not exist yet.
    pub(crate) fn mount(at: &Path, bytes: u64) -> Self {
        fs::create_dir(at).expect("a directory can be made");
        let (target, kind) = (CString::new(at.as_os_str().as_bytes()).expect("no NUL"), c"tmpfs");
        let options = CString::new(format!("size={bytes}")).expect("no NUL");
        own_mounts();
        // SAFETY: all pointers are to NUL-terminated strings that outlive the call.
        let failed =
            unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) != 0 };
        assert!(!failed, "cannot mount a tmpfs ({}): run the tests as root", std::io::Error::last_os_error());
        Self(at.to_owned())
    }

    /// Where data may be kept on it.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Takes all free space.
    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.0.join("filler")).expect("a file can be made");
        let block = vec![0; 64 << 10];
        while filler.write_all(&block).is_ok() {}
    }

    /// Gives back what was taken.
    pub(crate) fn free(&self) {
        fs::remove_file(self.0.join("filler")).expect("the filler goes");
    }
}
