//! As many descriptors as the system allows.

/// Raises the limit of open descriptors to the highest that needs no permission: every connection is one.
pub(crate) fn raise_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above. What cannot be raised shows when a connection cannot be opened.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}
