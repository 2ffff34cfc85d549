//! What the kernel lets this process do: CPUs, descriptors, locked memory, `io_uring`.

use std::io;

use super::super::{Exit, go_reason};
use crate::logging::{LogLine, Severity};

/// Descriptors that clients may not take: the log, snapshots, peers and whatever the libraries open.
///
/// Source: etcd 2.3.
const RESERVED_FDS: u64 = 150;

/// What glommio asks for before it starts an executor.
const LOCKED_BYTES_MIN: u64 = 512 * 1024;

/// The CPUs that this process may use, growing.
pub(crate) fn cpus() -> Vec<usize> {
    // SAFETY: an all-zero `cpu_set_t` is a valid empty set, the size is its own, and `CPU_ISSET` only reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            // Only on machines with more CPUs than the set can name; every process may use the first.
            return vec![0];
        }
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

/// Raises the soft limit of open files to the hard one, as Go programs do, and says how many of them clients may have.
pub(crate) fn descriptors() -> Result<u64, Exit> {
    let limit = raise(libc::RLIMIT_NOFILE).map_err(|error| {
        Exit::critical("etcdmain", format!("cannot get the file descriptor limit: {}", go_reason(&error)))
    })?;
    for_clients(limit)
}

fn for_clients(limit: u64) -> Result<u64, Exit> {
    if limit > RESERVED_FDS {
        return Ok(limit - RESERVED_FDS);
    }
    let text = format!(
        "file descriptor limit[{limit}] of etcd process is too low, and should be set higher than {RESERVED_FDS} to ensure \
         internal usage"
    );
    Err(Exit::critical("etcdmain", text))
}

/// Raises the soft limit of locked memory to the hard one and checks that it suffices; the result is a warning when the
/// executors will have to do without registered buffers.
pub(crate) fn locked_memory(executors: usize) -> Result<Option<LogLine>, Exit> {
    let limit = raise(libc::RLIMIT_MEMLOCK)
        .map_err(|error| Exit::critical("etcdmain", format!("cannot get the memlock limit: {}", go_reason(&error))))?;
    enough_locked_memory(limit, executors)
}

fn enough_locked_memory(limit: u64, executors: usize) -> Result<Option<LogLine>, Exit> {
    let wanted = LOCKED_BYTES_MIN.saturating_mul(executors as u64);
    let (limit_kib, wanted_kib) = (limit / 1024, wanted / 1024);
    let advice = format!("set LimitMEMLOCK in the systemd unit, or `ulimit -l {wanted_kib}` in the shell");
    if limit < LOCKED_BYTES_MIN {
        let text = format!("the memlock limit is {limit_kib} KiB, which is too low for io_uring: {advice}");
        return Err(Exit::critical("etcdmain", text));
    }
    let text = || format!("the memlock limit of {limit_kib} KiB is low for {executors} executors: {advice}");
    Ok((limit < wanted).then(|| LogLine::new(Severity::Warning, "etcdmain", text())))
}

fn raise(resource: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for the call.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the pointer is valid for the call. A refusal leaves the soft limit, which then is what counts.
    let accepted = unsafe { libc::setrlimit(resource, &raw const raised) } == 0;
    Ok(if accepted { raised.rlim_cur } else { limit.rlim_cur })
}

/// Tries to set up a ring, and lets go of it.
pub(crate) fn io_uring() -> Result<(), Exit> {
    /// Entries of the ring that is tried: any small number.
    const ENTRIES: u32 = 4;
    /// The size of `struct io_uring_params`, in words: part of the kernel's interface, so it cannot change.
    const PARAM_WORDS: usize = 30;
    let mut params = [0_u32; PARAM_WORDS];
    // SAFETY: the kernel reads and writes one `struct io_uring_params`, which is as long as the array.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, params.as_mut_ptr()) };
    if ring < 0 {
        return Err(no_ring(&io::Error::last_os_error()));
    }
    // SAFETY: the descriptor was opened just now and is known to nobody else.
    unsafe { libc::close(ring as i32) };
    Ok(())
}

fn no_ring(error: &io::Error) -> Exit {
    let advice = match error.raw_os_error() {
        Some(libc::ENOSYS) => "uetcd needs Linux 5.8 or newer, and a container's seccomp profile must allow io_uring",
        Some(libc::EPERM | libc::EACCES) => {
            "set sysctl kernel.io_uring_disabled=0, and allow io_uring in the container's seccomp profile"
        }
        Some(libc::ENOMEM) => "raise the memlock limit (LimitMEMLOCK in the systemd unit)",
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (LimitNOFILE in the systemd unit)",
        _ => "see dmesg",
    };
    Exit::critical("etcdmain", format!("cannot use io_uring ({}): {advice}", go_reason(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(exit: &Exit) -> &str {
        &exit.log[0].text
    }

    #[test]
    fn this_machine_has_cpus_and_a_ring() {
        assert!(!cpus().is_empty());
        // Not everywhere that tests run: then the reason must be one that is explained.
        if let Err(exit) = io_uring() {
            assert!(text(&exit).starts_with("cannot use io_uring ("), "{exit:?}");
        }
    }

    #[test]
    fn clients_get_what_is_not_reserved() {
        assert_eq!(for_clients(1024), Ok(874));
        assert_eq!(for_clients(151), Ok(1));
        let want = "file descriptor limit[100] of etcd process is too low, and should be set higher than 150 to ensure \
                    internal usage";
        assert_eq!(text(&for_clients(100).expect_err("too few")), want);
    }

    #[test]
    fn too_little_locked_memory_is_refused_and_little_is_a_warning() {
        assert_eq!(enough_locked_memory(u64::MAX, 64), Ok(None));
        assert_eq!(enough_locked_memory(8 << 20, 16), Ok(None));
        let warning = enough_locked_memory(8 << 20, 17).expect("starts").expect("warns");
        assert!(warning.text.contains("`ulimit -l 8704`"), "{}", warning.text);
        let exit = enough_locked_memory(64 << 10, 2).expect_err("too little");
        let want = "the memlock limit is 64 KiB, which is too low for io_uring: set LimitMEMLOCK in the systemd unit, or \
                    `ulimit -l 1024` in the shell";
        assert_eq!(text(&exit), want);
    }

    #[test]
    fn every_reason_for_no_ring_comes_with_advice() {
        for (code, want) in [
            (libc::ENOSYS, "cannot use io_uring (function not implemented): uetcd needs Linux 5.8 or newer"),
            (libc::EPERM, "cannot use io_uring (operation not permitted): set sysctl kernel.io_uring_disabled=0"),
            (libc::ENOMEM, "cannot use io_uring (cannot allocate memory): raise the memlock limit"),
        ] {
            let exit = no_ring(&io::Error::from_raw_os_error(code));
            assert!(text(&exit).starts_with(want), "{exit:?}");
        }
    }
}
