//! The allocator: mimalloc. The system's keeps what many threads free in arenas of their own; this one gives it back.

use libc::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds for which memory has to be free before the system gets it back. Snapshots and bursts free and want again
/// many megabytes every few seconds: with mimalloc's one second, an executor that took 55,000 writes a second spent 3 % of
/// its time on pages that the kernel had to clear anew.
const PURGE_DELAY_MS: c_long = 10_000;
/// `mi_option_purge_delay` of `mimalloc.h`.
const PURGE_DELAY: c_int = 15;

unsafe extern "C" {
    fn mi_option_set_default(option: c_int, value: c_long);
}

/// Sets what this program wants otherwise than mimalloc does; `MIMALLOC_…` in the environment has the last word.
pub(crate) fn configure() {
    // SAFETY: writes a number of mimalloc's own, before any other thread is there.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) };
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
