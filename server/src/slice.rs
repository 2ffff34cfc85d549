//! How long a thread may keep its CPU while others want it.
//!
//! The scheduler of Linux 6.12 and newer lets a thread ask for slices of its own length, and lets whoever wakes up with a shorter one
//! interrupt a longer one. A thread's share of the CPU stays what it is, and no privilege is needed for the way back. (Nice values would
//! need one.)
//!
//! **A busy executor must not hold up its own disk.** Where a disk has no write-through cache of its own, a kernel thread completes
//! every durable write, on the CPU that takes the disk's interrupts. If an executor that has always something to do has that CPU, the
//! kernel thread waits for the end of a slice: a write of the log took 3 ms instead of 0.4. With long slices it interrupts at once.
//!
//! **Who restores a state or catches up** is busy for as long as that takes, and nobody waits for it in particular. Other members may share its
//! CPUs, as may their clients: so its slices are longer still than those of a member that serves.

use std::io;
use std::mem::size_of;

/// Several of the usual slices: 3 ms on few CPUs.
const LONG_NS: u64 = 20_000_000;
/// The longest slice that Linux grants.
const LONGEST_NS: u64 = 100_000_000;

/// What slices a thread asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Slice {
    /// As every thread.
    Usual,
    /// Interrupted by kernel threads and by every usual thread that wakes up.
    Long,
    /// Interrupted by those with long ones, too. What an executor starts with, because it starts with restoring its state.
    #[default]
    Longest,
}

/// Asks for such slices for the calling thread, and for those that it starts from now on. An older kernel grants the usual ones, as does one
/// that refuses.
pub(crate) fn ask_for(slice: Slice) {
    let _ = try_ask_for(slice);
}

fn try_ask_for(slice: Slice) -> io::Result<()> {
    let mut attributes = attributes()?;
    attributes.sched_runtime = match slice {
        Slice::Usual => 0,
        Slice::Long => LONG_NS,
        Slice::Longest => LONGEST_NS,
    };
    // SAFETY: the kernel reads as many bytes as `size` says, and those are there.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How the calling thread is scheduled.
fn attributes() -> io::Result<libc::sched_attr> {
    const SIZE: u32 = size_of::<libc::sched_attr>() as u32;
    // SAFETY: plain numbers, for all of which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most `SIZE` bytes, and those are there.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_asked_for_and_given_back() {
        let granted = || attributes().expect("the kernel tells").sched_runtime;
        let usual = granted();
        try_ask_for(Slice::Longest).expect("no privilege is needed");
        let long = granted();
        assert!(long == LONGEST_NS || long == usual, "an older kernel has one length for all: {long}");
        try_ask_for(Slice::Usual).expect("nor for the way back");
        assert_eq!(granted(), usual);
    }
}
