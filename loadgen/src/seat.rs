//! What a thread's housekeeping knows of one connection or watcher.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Where one task waits.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    waker: RefCell<Option<Waker>>,
    /// Since when something is waited for that must come.
    waits_since: Cell<Option<Instant>>,
    is_late: Cell<bool>,
    /// Has room for a request, and is told when one is due.
    pub(crate) is_idle: Cell<bool>,
    /// Stands in the schedule's queue.
    pub(crate) is_queued: Cell<bool>,
}

impl Seat {
    /// Who is to be woken.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Has the task look around.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Since when something is overdue, if anything is waited for.
    pub(crate) fn wait_since(&self, since: Option<Instant>) {
        self.waits_since.set(since);
    }

    /// Something is waited for from now on, if it is not already.
    pub(crate) fn wait_from(&self, now: Instant) {
        self.waits_since.set(self.waits_since.get().or(Some(now)));
    }

    /// Too late by now.
    pub(crate) fn is_late(&self) -> bool {
        self.is_late.get()
    }
}

/// All seats of a thread.
#[derive(Debug, Default)]
pub(crate) struct Seats(RefCell<Vec<Rc<Seat>>>);

impl Seats {
    /// One more.
    pub(crate) fn add(&self) -> Rc<Seat> {
        let seat = Rc::new(Seat::default());
        self.0.borrow_mut().push(Rc::clone(&seat));
        seat
    }

    /// Tells everybody who has waited longer than `limit`.
    pub(crate) fn look_for_late(&self, now: Instant, limit: Duration) {
        for seat in &*self.0.borrow() {
            if seat.waits_since.get().is_some_and(|since| now.saturating_duration_since(since) > limit) {
                seat.is_late.set(true);
                seat.wake();
            }
        }
    }

    /// Has everybody look around.
    pub(crate) fn wake_all(&self) {
        self.0.borrow().iter().for_each(|seat| seat.wake());
    }
}
