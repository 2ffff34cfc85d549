//! Mounts that nobody else sees.

/// From now on what this thread mounts is seen by it and by what it starts alone, and vanishes with them, however they end.
pub(crate) fn own_mounts() {
    // SAFETY: all pointers are to NUL-terminated strings that outlive the calls, or null where mount(2) allows it.
    let failed = unsafe {
        libc::unshare(libc::CLONE_NEWNS) != 0
            || libc::mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) != 0
    };
    assert!(!failed, "cannot mount anything ({}): run the tests as root", std::io::Error::last_os_error());
}
