//! A pulse from outside, so that no executor sleeps with work to do.
//!
//! glommio 0.9 asks whether its preempt timer has fired *before* it runs the first task of a round. If it has (the thread was
//! kept from the CPU for that long between arming the timer and looking at it), the round reports that nothing ran and
//! the executor parks, although tasks are runnable; the timers that made them so are spent, so nothing need ever wake it
//! again. Seen about once in 300 starts on a machine with four runnable threads per core. A wake-up from another
//! thread ends such a sleep, so the main thread sends one to each executor, a few times a second.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use super::Node;

/// The wakers of the executors' pulse tasks.
pub(super) struct Pulses {
    wakers: Vec<Mutex<Option<Waker>>>,
}

impl Pulses {
    pub(super) fn new(executors: usize) -> Self {
        Self { wakers: (0..executors).map(|_| Mutex::new(None)).collect() }
    }

    /// Wakes every executor that sleeps. From a thread that is none of them.
    pub(super) fn beat(&self) {
        for waker in &self.wakers {
            if let Ok(waker) = waker.lock()
                && let Some(waker) = &*waker
            {
                waker.wake_by_ref();
            }
        }
    }
}

impl Node {
    /// Takes the pulse of an executor, for ever. Spawned there before anything else.
    pub(crate) async fn pulse(self: Arc<Self>, executor: usize) {
        poll_fn(|cx| {
            if let Ok(mut waker) = self.pulses.wakers[executor].lock() {
                // Kept, not taken, when it is used: a wake-up must get through while the task is still to be run.
                waker.get_or_insert_with(|| cx.waker().clone());
            }
            Poll::<()>::Pending
        })
        .await;
    }
}
