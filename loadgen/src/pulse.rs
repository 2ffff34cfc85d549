//! A pulse from outside, so that no thread sleeps with work to do: glommio 0.9 may park although tasks are runnable when
//! its preempt timer fires before a round's first task (`server/src/core/pulse.rs` tells the whole story).

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// The wakers of the threads' pulse tasks.
#[derive(Debug)]
pub(crate) struct Pulses(Vec<Mutex<Option<Waker>>>);

impl Pulses {
    pub(crate) fn new(threads: u32) -> Self {
        Self((0..threads).map(|_| Mutex::new(None)).collect())
    }

    /// Wakes every thread. From a thread that is none of them.
    pub(crate) fn beat(&self) {
        for waker in &self.0 {
            if let Some(waker) = &*waker.lock().unwrap_or_else(PoisonError::into_inner) {
                waker.wake_by_ref();
            }
        }
    }

    /// Takes the pulse of thread `part`, for ever.
    pub(crate) async fn take(&self, part: u32) {
        poll_fn(|cx| {
            let mut waker = self.0[part as usize].lock().unwrap_or_else(PoisonError::into_inner);
            *waker = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    }
}
