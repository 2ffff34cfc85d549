//! What waits between the thread that reads events and the one that works on them: bounded by number and by bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    items: usize,
    bytes: usize,
}

/// Events that wait for whoever is slower than the server: as many small ones as come in a few seconds, or 64 MiB. Beyond it the
/// server's history has to wait, which may forget.
pub(crate) const EVENTS: Limits = Limits { items: 65_536, bytes: 64 << 20 };

/// The two ends of an empty queue.
pub(crate) fn bounded<T>(limits: Limits) -> (Sender<T>, Receiver<T>) {
    let state = State { waiting: VecDeque::new(), bytes: 0, closed: false };
    let queue = Arc::new(Queue { limits, state: Mutex::new(state), changed: Condvar::new() });
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

struct Queue<T> {
    limits: Limits,
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// Invariant: `bytes` is the sum of those that wait.
struct State<T> {
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
    /// One of the ends has gone.
    closed: bool,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as something is so, and the other end is there.
    fn wait_while(&self, is_so: impl Fn(&State<T>) -> bool) -> MutexGuard<'_, State<T>> {
        let waited = self.changed.wait_while(self.lock(), |state| !state.closed && is_so(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// The reader's end.
pub(crate) struct Sender<T>(Arc<Queue<T>>);

impl<T> Sender<T> {
    /// Waits until there is room. What alone is beyond the limit has it when nothing else waits. False if nobody wants it any more.
    pub(crate) fn send(&self, item: T, bytes: usize) -> bool {
        let Limits { items, bytes: bytes_max } = self.0.limits;
        let is_full = |state: &State<T>| {
            let count = state.waiting.len();
            count >= items || count > 0 && state.bytes + bytes > bytes_max
        };
        let mut state = self.0.wait_while(is_full);
        if state.closed {
            return false;
        }
        state.waiting.push_back((item, bytes));
        state.bytes += bytes;
        self.0.changed.notify_all();
        true
    }

    /// Whether anybody is there to take something.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.0.lock().closed
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The worker's end.
pub(crate) struct Receiver<T>(Arc<Queue<T>>);

impl<T> Receiver<T> {
    /// Waits for the next; `None` when there is none and the other end has gone.
    pub(crate) fn recv(&self) -> Option<T> {
        let state = self.0.wait_while(|state| state.waiting.is_empty());
        self.take(state)
    }

    /// As `recv`, but waits no longer than this.
    pub(crate) fn recv_within(&self, limit: Duration) -> Option<T> {
        let is_empty = |state: &mut State<T>| !state.closed && state.waiting.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), limit, is_empty);
        self.take(waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// The next, if it is there.
    pub(crate) fn try_recv(&self) -> Option<T> {
        self.take(self.0.lock())
    }

    fn take(&self, mut state: MutexGuard<'_, State<T>>) -> Option<T> {
        let (item, bytes) = state.waiting.pop_front()?;
        state.bytes -= bytes;
        self.0.changed.notify_all();
        Some(item)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Sends items of these sizes; how many were taken within a moment, and whether all arrive in their order after that.
    fn sent_at_once(limits: Limits, sizes: &[usize]) -> usize {
        let (sender, receiver) = bounded(limits);
        let sent = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let sender = sender;
                for (at, size) in sizes.iter().enumerate() {
                    assert!(sender.send(at, *size), "the other end is there");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
            thread::sleep(Duration::from_millis(100));
            let at_once = sent.load(Ordering::Relaxed);
            let all: Vec<usize> = std::iter::from_fn(|| receiver.recv()).collect();
            assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
            at_once
        })
    }

    #[test]
    fn whoever_reads_waits_at_either_limit_and_loses_nothing() {
        let limits = |items, bytes| Limits { items, bytes };
        for (name, limits, sizes, want) in [
            ("room for all", limits(9, 99), &[1; 9][..], 9),
            ("too many", limits(3, 99), &[1; 9], 3),
            ("too long", limits(9, 30), &[10; 9], 3),
            ("too long together", limits(9, 30), &[10, 10, 11, 1], 2),
            ("too long alone", limits(9, 30), &[99, 1, 99, 1], 1),
        ] {
            assert_eq!(sent_at_once(limits, sizes), want, "{name}");
        }
    }

    #[test]
    fn whoever_waits_is_told_when_the_other_end_goes() {
        let (sender, receiver) = bounded(Limits { items: 1, bytes: 9 });
        assert!(sender.send(1, 1));
        thread::scope(|scope| {
            let waiting = scope.spawn(move || sender.send(2, 1));
            thread::sleep(Duration::from_millis(20));
            drop(receiver);
            assert!(!waiting.join().expect("no panic"));
        });
        let (sender, receiver) = bounded::<u8>(EVENTS);
        assert_eq!(receiver.recv_within(Duration::from_millis(1)), None, "nothing comes in time");
        assert!(sender.is_wanted() && sender.send(7, 1));
        assert_eq!(receiver.recv_within(Duration::from_mins(1)), Some(7));
        drop(receiver);
        assert!(!sender.is_wanted());
        let (sender, receiver) = bounded::<u8>(EVENTS);
        thread::scope(|scope| {
            let waiting = scope.spawn(move || receiver.recv());
            drop(sender);
            assert_eq!(waiting.join().expect("no panic"), None);
        });
        let (_sender, receiver) = bounded::<u8>(EVENTS);
        assert_eq!(receiver.try_recv(), None);
    }
}
