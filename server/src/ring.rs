//! What glommio's executors need and glommio has no option for. For everything that runs on them: members, proxies, the load
//! generator. glommio 0.9 builds liburing from C; `build.rs` has the linker pass two of its calls through here
//! (`--wrap=…`).
//!
//! **`IORING_SETUP_COOP_TASKRUN`.** Without that flag (kernel 5.19 and newer) the kernel interrupts the core for every completion; with it, completions
//! are delivered when the executor enters the kernel anyway, which is worth a factor of 1.5 in requests per second.
//!
//! **Looking before sleeping.** glommio's own polling does not enter the kernel and would find nothing with that flag. So it is done here,
//! where glommio goes to sleep, and lets others have the CPU each time. [`Patience`] decides when it is worth it.
//!
//! **No endless sleep.** glommio asks whether its preempt timer has fired *before* it runs the first task of a round. If it
//! has (the thread was kept from the CPU for that long between arming the timer and looking at it), the round reports that
//! nothing ran and the executor parks, although tasks are runnable; the timers that made them so are spent, so nothing
//! need ever wake it again. Seen about once in 300 starts on a machine with four runnable threads per core, in the
//! first round, too, before any task could have left a waker with anyone. So no sleep is longer than [`LONGEST_SLEEP_NS`].
//!
//! **Memory for rings comes late.** The kernel wants whole runs of pages for them, and frees those of processes that have
//! ended in its own time: on a machine whose memory is full of cached files it has refused a ring and granted it a moment
//! later. So a ring is asked for [`RING_TRIES`] times.

use std::cell::RefCell;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};
use libc::{c_int, c_uint};

use patience::Patience;

// The load generator has this file in another folder of modules.
#[path = "ring/patience.rs"]
mod patience;

/// Entries of an executor's rings: operations that can be given to the kernel at once.
const RING_DEPTH: usize = 1024;

/// The preempt timer of an executor: well above the length of a turn, and of what a busy machine keeps a thread waiting.
pub(crate) const PREEMPT: Duration = Duration::from_millis(200);

/// How long an executor may sleep with work to do; an idle one wakes up so often.
const LONGEST_SLEEP_NS: i64 = 50_000_000;

/// How often a ring is asked for that the kernel has no memory for, [`RING_PAUSE`] apart: for a second in all.
const RING_TRIES: u32 = 20;
/// See [`RING_TRIES`].
const RING_PAUSE: Duration = Duration::from_millis(50);

/// `IORING_SETUP_IOPOLL`: such a ring polls for completions, task work does not apply.
const SETUP_IOPOLL: u32 = 1 << 0;
/// `IORING_SETUP_COOP_TASKRUN` of `linux/io_uring.h`.
const SETUP_COOP_TASKRUN: u32 = 1 << 8;

thread_local! {
    /// Of this thread's executor.
    static PATIENCE: RefCell<Patience> = const { RefCell::new(Patience::new(Duration::ZERO)) };
}

/// Runs `work` on an executor of its own, in a thread called `name` that looks for completions for up to `spin` before it sleeps. Returns once
/// the executor is there: `Err` says why it can not be. The thread ends with `work`, and has nothing to say if it never
/// began.
pub(crate) fn launch<T, F>(
    name: String,
    placement: Placement,
    spin: Duration,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<JoinHandle<Option<T>>, String>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (made, answer) = channel();
    let run = move || {
        PATIENCE.replace(Patience::new(spin));
        let builder = LocalExecutorBuilder::new(placement);
        let executor = builder.ring_depth(RING_DEPTH).preempt_timer(PREEMPT).make();
        let (executor, outcome) = match executor {
            Ok(executor) => (Some(executor), Ok(())),
            Err(error) => (None, Err(error.to_string())),
        };
        // Whoever starts the thread waits for this.
        let _ = made.send(outcome);
        executor.map(|executor| executor.run(work()))
    };
    let thread = thread::Builder::new().name(name).spawn(run).map_err(|error| error.to_string())?;
    answer.recv().unwrap_or_else(|_| Err("its thread has panicked".to_owned())).map(|()| thread)
}

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
        let done = patiently(RING_PAUSE, || unsafe { __real_io_uring_queue_init_params(entries, ring, params) });
        if done != -libc::EINVAL {
            return done;
        }
        // SAFETY: as above.
        unsafe { (*params).flags = asked };
    }
    // SAFETY: the arguments are the caller's.
    patiently(RING_PAUSE, || unsafe { __real_io_uring_queue_init_params(entries, ring, params) })
}

/// Asks again while the kernel has no memory for it.
fn patiently(pause: Duration, ask: impl Fn() -> c_int) -> c_int {
    for _ in 1..RING_TRIES {
        let done = ask();
        if done != -libc::ENOMEM {
            return done;
        }
        thread::sleep(pause);
    }
    ask()
}

/// `struct __kernel_timespec`.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

/// For looking without waiting.
static NO_TIME: KernelTimespec = KernelTimespec { seconds: 0, nanoseconds: 0 };

unsafe extern "C" {
    fn __real_io_uring_wait_cqes(
        ring: *mut libc::c_void,
        entry: *mut *mut libc::c_void,
        count: c_uint,
        limit: *const KernelTimespec,
        signals: *const libc::sigset_t,
    ) -> c_int;
}

/// Stands in for liburing's function of this name: looks for a while if that is worth it, and then waits. A wait without a limit gets one, and is
/// interrupted then, as signals interrupt it: glommio looks around and goes on. (With `IORING_FEAT_EXT_ARG`, kernel 5.11, this needs no entry of
/// the ring.)
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
    let begun = Instant::now();
    // SAFETY: the arguments are the caller's, but for a limit that outlives the call.
    let wait = |limit: *const KernelTimespec| unsafe { __real_io_uring_wait_cqes(ring, entry, count, limit, signals) };
    let done = look(begun, || wait(&raw const NO_TIME)).unwrap_or_else(|| {
        let longest = KernelTimespec { seconds: 0, nanoseconds: LONGEST_SLEEP_NS };
        wait(if limit.is_null() { &raw const longest } else { limit })
    });
    PATIENCE.with_borrow_mut(|patience| patience.waited(begun.elapsed()));
    if done == -libc::ETIME { -libc::EINTR } else { done }
}

/// Looks again and again for as long as this thread has the patience; `None`: nothing has come.
fn look(begun: Instant, once: impl Fn() -> c_int) -> Option<c_int> {
    let patience = PATIENCE.with_borrow(Patience::now)?;
    while begun.elapsed() < patience {
        let done = once();
        if done != -libc::ETIME {
            return Some(done);
        }
        // Who else wants this CPU may be what is waited for: the kernel's thread that completes the disk's writes, say.
        thread::yield_now();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(times: u32) -> (c_int, u32) {
        let asked = std::cell::Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            if asked.get() > times { 0 } else { -libc::ENOMEM }
        };
        (patiently(Duration::ZERO, ask), asked.get())
    }

    #[test]
    fn a_ring_is_asked_for_again_while_there_is_no_memory() {
        assert_eq!(refused(0), (0, 1));
        assert_eq!(refused(RING_TRIES - 1), (0, RING_TRIES));
        assert_eq!(refused(RING_TRIES), (-libc::ENOMEM, RING_TRIES));
        assert_eq!(patiently(Duration::MAX, || -libc::EINVAL), -libc::EINVAL, "nothing that waiting would help");
    }

    #[test]
    fn an_executor_that_can_not_be_is_known_at_once() {
        let launched =
            launch("there".to_owned(), Placement::Unbound, Duration::ZERO, || async { 7 }).expect("it starts");
        assert_eq!(launched.join().expect("no panic"), Some(7));
        let nowhere = Placement::Fixed(usize::MAX);
        launch("nowhere".to_owned(), nowhere, Duration::ZERO, || async {}).expect_err("there is no such CPU");
    }

    #[test]
    fn an_executor_looks_while_what_it_waits_for_comes_soon() {
        let limit = Duration::from_secs(5);
        let work = |spin| async move {
            let mut patience = Vec::new();
            for _ in 0..20 {
                glommio::timer::sleep(Duration::from_micros(50)).await;
                patience.push(PATIENCE.with_borrow(Patience::now));
            }
            assert!(patience.iter().all(|patience| patience.is_none_or(|time| time == spin)));
            (patience[0], patience[19])
        };
        for (spin, last) in [(limit, Some(limit)), (Duration::ZERO, None)] {
            let launched = launch("looks".to_owned(), Placement::Unbound, spin, move || work(spin)).expect("it starts");
            assert_eq!(launched.join().expect("no panic"), Some((None, last)));
        }
    }

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
