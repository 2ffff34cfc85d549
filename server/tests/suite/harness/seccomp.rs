//! A kernel without `io_uring`, for one process and its children.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes `io_uring_setup` fail with `ENOSYS` in what `command` starts, as it does where the kernel was built without it.
pub(crate) fn deny_io_uring(command: &mut Command) {
    let filter = [
        // The number of the system call is the first word of `seccomp_data`.
        libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: 0 },
        // Any other number skips the refusal.
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_io_uring_setup as u32,
        },
        libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        },
        libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let install = move || {
        let mut filter = filter;
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the calls only read their arguments; `program` and the filter it points to outlive them. The last one must fail.
        let failed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
                || libc::syscall(libc::SYS_io_uring_setup, 0, 0) != -1
                || *libc::__errno_location() != libc::ENOSYS
        };
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec the closure makes only the system calls above: no allocation, no locks.
    unsafe { command.pre_exec(install) };
}
