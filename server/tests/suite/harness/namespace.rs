//! A process, or a thread, with a network of its own.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Makes what `command` starts live in the network namespace that is mounted at `path`.
pub(crate) fn run_inside(command: &mut Command, path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: between fork and exec the closure makes only the system calls of `enter`: no allocation, no locks.
    unsafe { command.pre_exec(move || enter(&path)) };
}

/// Moves the calling thread into the network namespace that is mounted at `path`.
pub(crate) fn enter(path: &CString) -> io::Result<()> {
    // SAFETY: the calls only read the path, which is NUL-terminated; the descriptor is our own.
    let failed = unsafe {
        let namespace = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        namespace < 0 || libc::setns(namespace, libc::CLONE_NEWNET) != 0 || libc::close(namespace) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}
