//! A pulse from outside, so that no executor sleeps with work to do. For everything that runs on glommio's executors: members,
//! proxies, and the load generator.
//!
//! glommio 0.9 asks whether its preempt timer has fired *before* it runs the first task of a round. If it has (the thread was
//! kept from the CPU for that long between arming the timer and looking at it), the round reports that nothing ran and
//! the executor parks, although tasks are runnable; the timers that made them so are spent, so nothing need ever wake it
//! again. Seen about once in 300 starts on a machine with four runnable threads per core. A wake-up from another
//! thread ends such a sleep, so the main thread sends one to each executor, a few times a second.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The preempt timer of an executor: well above the length of a turn, and of what a busy machine keeps a thread waiting.
pub(crate) const PREEMPT: Duration = Duration::from_millis(200);

/// The wakers of the executors' pulse tasks.
#[derive(Debug)]
pub(crate) struct Pulses {
    wakers: Vec<Mutex<Option<Waker>>>,
}

impl Pulses {
    pub(crate) fn new(executors: usize) -> Self {
        Self { wakers: (0..executors).map(|_| Mutex::new(None)).collect() }
    }

    /// Wakes every executor that sleeps. From a thread that is none of them.
    pub(crate) fn beat(&self) {
        for waker in &self.wakers {
            if let Ok(waker) = waker.lock()
                && let Some(waker) = &*waker
            {
                waker.wake_by_ref();
            }
        }
    }

    /// Takes the pulse of an executor, for ever. Spawned there before anything else.
    pub(crate) async fn take(&self, executor: usize) {
        poll_fn(|cx| {
            if let Ok(mut waker) = self.wakers[executor].lock() {
                // Kept, not taken, when it is used: a wake-up must get through while the task is still to be run.
                waker.get_or_insert_with(|| cx.waker().clone());
            }
            Poll::<()>::Pending
        })
        .await;
    }
}
