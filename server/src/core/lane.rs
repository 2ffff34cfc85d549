//! The answers of one connection, in the order of its requests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::Waker;

/// Slots for answers that arrive in any order and leave in the order in which they were reserved (HTTP/1.1 pipelining,
/// RFC 9112 section 9.3.2). Lives on the connection's executor.
pub(crate) struct Lane<A> {
    inner: RefCell<Inner<A>>,
}

struct Inner<A> {
    /// Number of the first slot.
    first: u64,
    slots: VecDeque<Option<A>>,
    waker: Option<Waker>,
}

impl<A> Lane<A> {
    pub(crate) fn new() -> Self {
        Self { inner: RefCell::new(Inner { first: 0, slots: VecDeque::new(), waker: None }) }
    }

    /// Takes the next slot.
    pub(crate) fn reserve(&self) -> u64 {
        let mut inner = self.inner.borrow_mut();
        inner.slots.push_back(None);
        inner.first + inner.slots.len() as u64 - 1
    }

    /// Puts an answer into its slot, and wakes the connection if it is the one that it waits for.
    pub(crate) fn fill(&self, slot: u64, answer: A) {
        let mut inner = self.inner.borrow_mut();
        let at = slot.checked_sub(inner.first).map(|at| at as usize);
        let slot = at.and_then(|at| inner.slots.get_mut(at));
        let Some(slot) = slot else { panic!("an answer for a slot that was never reserved") };
        assert!(slot.is_none(), "two answers for one request");
        *slot = Some(answer);
        if at == Some(0)
            && let Some(waker) = inner.waker.take()
        {
            waker.wake();
        }
    }

    /// The oldest answer, if it is there.
    pub(crate) fn pop(&self) -> Option<A> {
        let mut inner = self.inner.borrow_mut();
        if !matches!(inner.slots.front(), Some(Some(_))) {
            return None;
        }
        inner.first += 1;
        inner.slots.pop_front().flatten()
    }

    /// Whether the oldest answer is there.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.inner.borrow().slots.front(), Some(Some(_)))
    }

    /// Requests without an answer, or with one that was not popped.
    pub(crate) fn outstanding(&self) -> usize {
        self.inner.borrow().slots.len()
    }

    /// Whom to wake when the oldest answer arrives.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut inner = self.inner.borrow_mut();
        if !inner.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_in_the_order_of_the_requests() {
        let lane = Lane::new();
        let slots: Vec<u64> = (0..3).map(|_| lane.reserve()).collect();
        lane.fill(slots[1], "b");
        assert_eq!(lane.pop(), None);
        lane.fill(slots[0], "a");
        assert_eq!((lane.pop(), lane.pop(), lane.pop()), (Some("a"), Some("b"), None));
        assert_eq!(lane.outstanding(), 1);
        lane.fill(slots[2], "c");
        assert_eq!(lane.pop(), Some("c"));
    }
}
