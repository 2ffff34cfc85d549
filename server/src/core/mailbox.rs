//! Queues of owned messages between executors.
//!
//! A turn gathers what it has to say per executor and pushes it as one batch, with at most one wake-up. The queue is
//! bounded; a batch that does not fit stays with the sender, which tries again on its next turn.

use std::task::Waker;

use atomic_waker::AtomicWaker;
use crossbeam::queue::ArrayQueue;

/// Batches that may wait for one executor. Each holds at most a turn's messages of one sender, so with the limit on
/// requests in flight per connection this bounds the memory, too.
const BATCHES_MAX: usize = 1024;

/// One executor's inbox for the others.
pub(crate) struct Mailbox<M> {
    batches: ArrayQueue<Vec<M>>,
    waker: AtomicWaker,
}

impl<M> Mailbox<M> {
    pub(crate) fn new() -> Self {
        Self { batches: ArrayQueue::new(BATCHES_MAX), waker: AtomicWaker::new() }
    }

    /// Hands over a batch and wakes the owner; gives it back if the queue is full.
    pub(crate) fn push(&self, batch: Vec<M>) -> Result<(), Vec<M>> {
        self.batches.push(batch)?;
        self.waker.wake();
        Ok(())
    }

    /// The oldest batch, if any.
    pub(crate) fn pop(&self) -> Option<Vec<M>> {
        self.batches.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Batches waiting.
    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Wakes the owner although there is no message: something else that it looks at has changed.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Registers the owner's waker; it must look at the queue once more afterwards.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

/// What one executor has to say to the others, gathered over a turn.
pub(crate) struct Outbox<M> {
    batches: Vec<Vec<M>>,
}

impl<M> Outbox<M> {
    pub(crate) fn new(executors: usize) -> Self {
        Self { batches: (0..executors).map(|_| Vec::new()).collect() }
    }

    pub(crate) fn send(&mut self, to: usize, message: M) {
        self.batches[to].push(message);
    }

    /// Hands everything over; returns false if some of it must wait for the next turn because a mailbox is full.
    pub(crate) fn flush(&mut self, mailboxes: &[Mailbox<M>]) -> bool {
        let mut all = true;
        for (batch, mailbox) in self.batches.iter_mut().zip(mailboxes) {
            if batch.is_empty() {
                continue;
            }
            if let Err(back) = mailbox.push(std::mem::take(batch)) {
                *batch = back;
                all = false;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_leaves_the_batch_with_the_sender() {
        let mailboxes = [Mailbox::new()];
        let mut outbox = Outbox::new(1);
        for n in 0..BATCHES_MAX {
            outbox.send(0, n);
            assert!(outbox.flush(&mailboxes));
        }
        outbox.send(0, BATCHES_MAX);
        assert!(!outbox.flush(&mailboxes));
        assert_eq!(mailboxes[0].pop(), Some(vec![0]));
        assert!(outbox.flush(&mailboxes));
        let rest: Vec<usize> = std::iter::from_fn(|| mailboxes[0].pop()).flatten().collect();
        assert_eq!(rest, (1..=BATCHES_MAX).collect::<Vec<_>>(), "nothing is lost or reordered");
    }
}
