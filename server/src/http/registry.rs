//! The connections of one executor, so that time limits and the end of the process reach those that sleep.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// How long a request may take to arrive, and an answer to be taken, before the bytes it has moved are credited.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes per second that a slow but honest peer must move beyond [`PATIENCE`].
pub(crate) const SLOWEST_BYTES_PER_SECOND: u64 = 32 * 1024;

/// What others may want of a connection.
#[derive(Default)]
pub(crate) struct Entry {
    /// Until when what is under way must be done.
    deadline: Cell<Option<Instant>>,
    expired: Cell<bool>,
    /// Nothing is read from it, so it has to look by itself whether its client is still there.
    deaf: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Entry {
    /// Something that began at `since` and has moved `bytes` must be done in time. Cleared with [`Entry::at_ease`].
    pub(crate) fn hurry(&self, since: Instant, bytes: u64) {
        let credit = Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST_BYTES_PER_SECOND);
        self.deadline.set(Some(since + PATIENCE + credit));
    }

    /// Whether input wakes the connection; if not, every sweep does.
    pub(crate) fn listen(&self, listens: bool) {
        self.deaf.set(!listens);
    }

    /// Nothing is under way.
    pub(crate) fn at_ease(&self) {
        self.deadline.set(None);
    }

    /// The time is over: the connection is to be closed.
    pub(crate) fn is_expired(&self) -> bool {
        self.expired.get()
    }

    /// Whom to wake.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut current = self.waker.borrow_mut();
        if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
            *current = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// All connections of an executor.
#[derive(Default)]
pub(crate) struct Registry {
    entries: RefCell<Vec<Option<Rc<Entry>>>>,
    free: RefCell<Vec<usize>>,
    /// The process stops, and nothing more is waited for that clients have to send.
    hears_no_more: Cell<bool>,
}

/// A connection's place; it leaves when this is dropped.
pub(crate) struct Registered {
    registry: Rc<Registry>,
    at: usize,
    pub(crate) entry: Rc<Entry>,
}

impl Registered {
    /// See [`Registry::hear_no_more`].
    pub(crate) fn hears_no_more(&self) -> bool {
        self.registry.hears_no_more.get()
    }
}

impl Registry {
    pub(crate) fn enter(self: &Rc<Self>) -> Registered {
        let entry = Rc::new(Entry::default());
        let mut entries = self.entries.borrow_mut();
        let at = self.free.borrow_mut().pop().unwrap_or_else(|| {
            entries.push(None);
            entries.len() - 1
        });
        entries[at] = Some(Rc::clone(&entry));
        Registered { registry: Rc::clone(self), at, entry }
    }

    /// Connections open now.
    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len() - self.free.borrow().len()
    }

    /// Ends those whose time is over, and lets those look around that nothing else wakes.
    pub(crate) fn sweep(&self, now: Instant) {
        for entry in self.entries.borrow().iter().flatten() {
            if entry.deadline.get().is_some_and(|deadline| deadline <= now) {
                entry.expired.set(true);
                entry.wake();
            } else if entry.deaf.get() {
                entry.wake();
            }
        }
    }

    /// From now on the rest of a request is not waited for: what has not come whole is dropped.
    pub(crate) fn hear_no_more(&self) {
        self.hears_no_more.set(true);
    }

    /// Lets every connection look around: the process is about to stop.
    pub(crate) fn wake_all(&self) {
        for entry in self.entries.borrow().iter().flatten() {
            entry.wake();
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.entries.borrow_mut()[self.at] = None;
        self.registry.free.borrow_mut().push(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_are_ended_and_those_at_ease_are_not() {
        let registry = Rc::new(Registry::default());
        let (slow, idle) = (registry.enter(), registry.enter());
        let start = Instant::now();
        slow.entry.hurry(start, 0);
        registry.sweep(start + Duration::from_secs(29));
        assert!(!slow.entry.is_expired());
        slow.entry.hurry(start, 10 * SLOWEST_BYTES_PER_SECOND);
        registry.sweep(start + PATIENCE + Duration::from_secs(9));
        assert!(!slow.entry.is_expired(), "ten seconds' worth of bytes have arrived");
        registry.sweep(start + PATIENCE + Duration::from_secs(10));
        assert!(slow.entry.is_expired() && !idle.entry.is_expired());
    }

    #[test]
    fn places_are_used_again() {
        let registry = Rc::new(Registry::default());
        let first = registry.enter();
        drop(registry.enter());
        let _second = registry.enter();
        assert_eq!((registry.len(), registry.entries.borrow().len()), (2, 2));
        drop(first);
        assert_eq!(registry.len(), 1);
    }
}
