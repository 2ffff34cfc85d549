//! The allocator: mimalloc. The system's keeps what many threads free in arenas of their own; this one gives it back.

use std::time::Duration;

use libc::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds for which memory has to be free before the system gets it back. Snapshots and bursts free and want again
/// many megabytes every few seconds: with mimalloc's one second, an executor that took 55,000 writes a second spent 3 % of
/// its time on pages that the kernel had to clear anew.
const PURGE_DELAY_MS: c_long = 10_000;
/// `mi_option_purge_delay` of `mimalloc.h`.
const PURGE_DELAY: c_int = 15;

/// How often the main thread looks for memory that has been free for so long. Executors give theirs back as they go on allocating: when there
/// is nothing to do any more, nobody else would.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);

unsafe extern "C" {
    fn mi_option_set_default(option: c_int, value: c_long);
    fn mi_collect(force: bool);
}

/// Sets what this program wants otherwise than mimalloc does; `MIMALLOC_…` in the environment has the last word.
pub(crate) fn configure() {
    // SAFETY: writes a number of mimalloc's own, before any other thread is there.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) };
}

/// Gives back at once all that is free, of this thread and of those that have ended. For after something that takes much memory once, such as
/// reading the log back at a start: what is free in another thread, only that one can give back.
pub(crate) fn give_back() {
    // SAFETY: tidies mimalloc's own lists.
    unsafe { mi_collect(true) };
}

/// Gives back what has been free for long.
pub(crate) fn give_back_old() {
    // SAFETY: as above.
    unsafe { mi_collect(false) };
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
    }

    #[test]
    fn the_option_is_still_the_one_that_is_meant() {
        // SAFETY: reads a number.
        let value = || unsafe { mi_option_get(PURGE_DELAY) };
        // No other option has this default.
        assert!([1000, PURGE_DELAY_MS].contains(&value()), "{}", value());
        configure();
        assert_eq!(value(), PURGE_DELAY_MS);
    }
}
