//! How long a thread may keep its CPU while others want it.
//!
//! Who restores a state or catches up is busy for as long as that takes, and nobody waits for it in particular. Other members may share its
//! CPUs, as may their clients: they must not wait for the end of a full slice of it each time they wake up. The scheduler
//! of Linux 6.12 and newer lets a thread ask for slices of its own length, and lets whoever wakes up with a shorter one interrupt a
//! longer one. A thread's share of the CPU stays what it is, and no privilege is needed for the way back. (Nice values would need one.)

use std::io;
use std::mem::size_of;

/// The longest slice that Linux grants.
const LONGEST_NS: u64 = 100_000_000;

/// What slices a thread asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Slice {
    /// As every thread.
    Usual,
    /// Long ones, which others interrupt. What an executor starts with, because it starts with restoring its state.
    #[default]
    Interruptible,
}

/// Asks for such slices for the calling thread, and for those that it starts from now on. An older kernel grants the usual ones, as does one
/// that refuses.
pub(crate) fn ask_for(slice: Slice) {
    if let Err(error) = try_ask_for(slice) {
        tracing::debug!(target: "uetcd", "no {slice:?} slices of the CPU: {error}");
    }
}

fn try_ask_for(slice: Slice) -> io::Result<()> {
    let mut attributes = attributes()?;
    attributes.sched_runtime = match slice {
        Slice::Usual => 0,
        Slice::Interruptible => LONGEST_NS,
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
        try_ask_for(Slice::Interruptible).expect("no privilege is needed");
        let long = granted();
        assert!(long == LONGEST_NS || long == usual, "an older kernel has one length for all: {long}");
        try_ask_for(Slice::Usual).expect("nor for the way back");
        assert_eq!(granted(), usual);
    }
}
