//! How long a thread may keep its CPU while others want it.
//!
//! The scheduler of Linux 6.12 and newer lets a thread ask for slices of its own length, and lets whoever wakes up with a shorter one
//! interrupt a longer one. A thread's share of the CPU stays what it is, and no privilege is needed for the way back. (Nice values would
//! need one.)
//!
//! **A busy executor must not hold up its own disk.** Where a disk has no write-through cache of its own, a kernel thread completes
//! every durable write, on the CPU that takes the disk's interrupts. If an executor that has always something to do has that CPU, the
//! kernel thread waits for the end of a slice: a write of the log took 3 ms instead of 0.4. With long slices it interrupts at once. But whoever shares
//! a CPU with other busy programs gets it back the later the longer its slices are, so an executor asks for them only while it
//! hardly waits for its CPU ([`Slices`]).
//!
//! **Who restores a state or catches up** is busy for as long as that takes, and nobody waits for it in particular. Other members may share its
//! CPUs, as may their clients: so its slices are longer still than those of a member that serves.

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

/// Several of the usual slices: 3 ms on few CPUs.
const LONG_NS: u64 = 20_000_000;
/// The longest slice that Linux grants.
const LONGEST_NS: u64 = 100_000_000;

/// What slices a thread asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slice {
    /// As every thread.
    Usual,
    /// Interrupted by kernel threads and by every usual thread that wakes up.
    Long,
    /// Interrupted by those with long ones, too.
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

/// The share of its time that a thread may wait for its CPU and still count as its only user: kernel threads that complete thousands of writes a
/// second need less, another busy program takes half.
const WAITS_LITTLE: f64 = 0.25;

/// How long is looked at what a thread waits: a hundred switches of a busy CPU.
const ROUND: Duration = Duration::from_millis(100);

/// The slices of an executor's thread, by what it does and who shares its CPU.
#[derive(Debug)]
pub(crate) struct Slices {
    asked: Slice,
    wait: Wait,
}

impl Slices {
    /// Of the calling thread, which begins with these.
    pub(crate) fn of_this_thread(first: Slice) -> Self {
        ask_for(first);
        Self { asked: first, wait: Wait::of_this_thread() }
    }

    /// Every now and then, on that thread: asks for others if it should have others. `lags`: it restores its state or catches up.
    pub(crate) fn look(&mut self, lags: bool) {
        if lags == (self.asked == Slice::Longest) && self.wait.looked.elapsed() < ROUND {
            return;
        }
        let alone = self.wait.share() < WAITS_LITTLE;
        let wanted = match (lags, alone) {
            (true, _) => Slice::Longest,
            (false, true) => Slice::Long,
            (false, false) => Slice::Usual,
        };
        if std::mem::replace(&mut self.asked, wanted) != wanted {
            ask_for(wanted);
        }
    }
}

/// How much a thread waits for its CPU, as the kernel counts it.
#[derive(Debug)]
struct Wait {
    /// Of this thread; none if the kernel does not count.
    counts: Option<File>,
    waited: Duration,
    looked: Instant,
}

impl Wait {
    /// Of the calling thread, from now on.
    fn of_this_thread() -> Self {
        let counts = File::open("/proc/thread-self/schedstat").ok();
        let mut wait = Self { counts, waited: Duration::ZERO, looked: Instant::now() };
        wait.share();
        wait
    }

    /// The share of the time since the last look in which the thread was ready to run and did not; one if nobody knows.
    fn share(&mut self) -> f64 {
        let Some(waited) = self.counts.as_ref().and_then(waited_in) else { return 1.0 };
        let now = Instant::now();
        let (waits, time) = (waited.saturating_sub(self.waited), now - self.looked);
        (self.waited, self.looked) = (waited, now);
        waits.as_secs_f64() / time.as_secs_f64().max(f64::EPSILON)
    }
}

/// The second number: nanoseconds in which the thread waited in a run queue (`Documentation/scheduler/sched-stats.rst` of Linux).
fn waited_in(counts: &File) -> Option<Duration> {
    let mut text = [0; 64];
    let length = counts.read_at(&mut text, 0).ok()?;
    let number = std::str::from_utf8(&text[..length]).ok()?.split_ascii_whitespace().nth(1)?;
    number.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

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

    #[test]
    fn waiting_for_the_cpu_is_seen() {
        let mut wait = Wait::of_this_thread();
        std::thread::sleep(Duration::from_millis(20));
        assert!((0.0..=1.0).contains(&wait.share()));
        // Twice as many that want it as there are CPUs.
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let busy = || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            let cpus = std::thread::available_parallelism().expect("there are some").get();
            let others: Vec<_> = (0..2 * cpus).map(|_| scope.spawn(busy)).collect();
            let begun = Instant::now();
            while wait.share() < 0.1 && begun.elapsed() < Duration::from_secs(20) {
                let round = Instant::now();
                while round.elapsed() < ROUND {
                    std::hint::spin_loop();
                }
            }
            stop.store(true, Ordering::Relaxed);
            assert!(begun.elapsed() < Duration::from_secs(20) && others.len() == 2 * cpus);
        });
    }
}
