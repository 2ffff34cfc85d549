//! What glommio's executors need and glommio has no option for. For everything that runs on them: members, proxies, the load
//! generator. glommio 0.9 builds liburing from C; `build.rs` has the linker pass two of its calls through here
//! (`--wrap=…`).
//!
//! **`IORING_SETUP_COOP_TASKRUN`.** Without that flag (kernel 5.19 and newer) the kernel interrupts the core for every completion; with it, completions
//! are delivered when the executor enters the kernel anyway, which is worth a factor of 1.5 in requests per second.
//!
//! **No endless sleep.** glommio asks whether its preempt timer has fired *before* it runs the first task of a round. If it
//! has (the thread was kept from the CPU for that long between arming the timer and looking at it), the round reports that
//! nothing ran and the executor parks, although tasks are runnable; the timers that made them so are spent, so nothing
//! need ever wake it again. Seen about once in 300 starts on a machine with four runnable threads per core, in the
//! first round, too, before any task could have left a waker with anyone. So no sleep is longer than [`LONGEST_SLEEP_NS`].

use std::time::Duration;

use libc::{c_int, c_uint};

/// The preempt timer of an executor: well above the length of a turn, and of what a busy machine keeps a thread waiting.
pub(crate) const PREEMPT: Duration = Duration::from_millis(200);

/// How long an executor may sleep with work to do; an idle one wakes up so often.
const LONGEST_SLEEP_NS: i64 = 50_000_000;

/// `IORING_SETUP_IOPOLL`: such a ring polls for completions, task work does not apply.
const SETUP_IOPOLL: u32 = 1 << 0;
/// `IORING_SETUP_COOP_TASKRUN` of `linux/io_uring.h`.
const SETUP_COOP_TASKRUN: u32 = 1 << 8;

/// The head of `struct io_uring_params`; the rest is passed through untouched.
#[repr(C)]
struct ParamsHead {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
}

unsafe extern "C" {
    fn __real_io_uring_queue_init_params(entries: c_uint, ring: *mut libc::c_void, params: *mut ParamsHead) -> c_int;
}

/// Stands in for liburing's function of this name: adds the flag, and falls back where the kernel refuses it.
///
/// # Safety
///
/// As liburing's: `ring` and `params` point to structures of its layout.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_io_uring_queue_init_params(
    entries: c_uint,
    ring: *mut libc::c_void,
    params: *mut ParamsHead,
) -> c_int {
    // SAFETY: the caller passes liburing's own structure, of which `ParamsHead` is the beginning.
    let asked = unsafe { (*params).flags };
    if asked & SETUP_IOPOLL == 0 {
        // SAFETY: as above.
        unsafe { (*params).flags = asked | SETUP_COOP_TASKRUN };
        // SAFETY: the arguments are the caller's.
        let done = unsafe { __real_io_uring_queue_init_params(entries, ring, params) };
        if done != -libc::EINVAL {
            return done;
        }
        // SAFETY: as above.
        unsafe { (*params).flags = asked };
    }
    // SAFETY: the arguments are the caller's.
    unsafe { __real_io_uring_queue_init_params(entries, ring, params) }
}

/// `struct __kernel_timespec`.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn __real_io_uring_wait_cqes(
        ring: *mut libc::c_void,
        entry: *mut *mut libc::c_void,
        count: c_uint,
        limit: *const KernelTimespec,
        signals: *const libc::sigset_t,
    ) -> c_int;
}

/// Stands in for liburing's function of this name: a wait without a limit gets one, and is interrupted then, as signals
/// interrupt it: glommio looks around and goes on. (With `IORING_FEAT_EXT_ARG`, kernel 5.11, this needs no entry of the ring.)
///
/// # Safety
///
/// As liburing's: the pointers are to structures of its layout, or null where it takes that.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_io_uring_wait_cqes(
    ring: *mut libc::c_void,
    entry: *mut *mut libc::c_void,
    count: c_uint,
    limit: *const KernelTimespec,
    signals: *const libc::sigset_t,
) -> c_int {
    let longest = KernelTimespec { seconds: 0, nanoseconds: LONGEST_SLEEP_NS };
    let limit = if limit.is_null() { &raw const longest } else { limit };
    // SAFETY: the arguments are the caller's, but for a limit that outlives the call.
    let done = unsafe { __real_io_uring_wait_cqes(ring, entry, count, limit, signals) };
    if done == -libc::ETIME { -libc::EINTR } else { done }
}

#[cfg(test)]
mod tests {
    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;

    /// With a preempt timer this short, executors fall asleep with work to do now and then.
    #[test]
    fn an_executor_that_is_preempted_before_its_first_task_goes_on() {
        for micros in [300, 1000] {
            let executor = LocalExecutorBuilder::new(Placement::Unbound)
                .preempt_timer(Duration::from_micros(micros))
                .spawn(|| async {
                    let mut turns = 0;
                    for _ in 0..1000 {
                        futures_lite::future::yield_now().await;
                        turns += 1;
                    }
                    turns
                })
                .expect("an executor");
            assert_eq!(executor.join().expect("no panic"), 1000);
        }
    }
}
