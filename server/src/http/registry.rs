//! The connections of one executor, so that time limits and the end of the process reach those that sleep.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::hangup;
use crate::core::bodies::When;
use crate::core::budget::FREE_BYTES;

/// How long a request may take to arrive, and an answer to be taken, before the bytes it has moved are credited.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);
/// Bytes per second that a slow but honest peer must move beyond [`PATIENCE`].
pub(crate) const SLOWEST_BYTES_PER_SECOND: u64 = 32 * 1024;

/// How long a client may take nothing of its answers while there is no memory for more of them.
const STALLED_MAX: Duration = Duration::from_secs(2);

/// How long a client may take for a large event while there are too many of these in memory, and changes wait for that.
const SENDING_MAX: Duration = Duration::from_secs(1);

/// What others may want of a connection.
#[derive(Default)]
pub(crate) struct Entry {
    /// Until when what is under way must be done.
    deadline: Cell<Option<Instant>>,
    expired: Cell<bool>,
    /// Nothing is read from it, so it has to look by itself whether its client is still there.
    deaf: Cell<bool>,
    /// Its socket, if it tells.
    socket: Option<RawFd>,
    /// Its client has not taken what is to be sent.
    stalled: Cell<Option<Stalled>>,
    /// Since when it has been sending a large event that it shares with others.
    shares: Cell<Option<(Instant, When)>>,
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

    /// The socket takes no more of its answers, which hold so many bytes of memory; until it does ([`Entry::moves_on`]).
    pub(crate) fn stalls(&self, holds: usize) {
        if self.stalled.get().is_none() {
            self.stalled.set(Some(Stalled { since: Instant::now(), unsent: usize::MAX, holds }));
        }
    }

    /// Since when the client has taken nothing, and what it holds. A socket says that it can be written to only when a good part of
    /// its buffer is empty: whether a slow client takes something shows in what is left in there.
    fn taken_nothing(&self, now: Instant) -> Option<(Duration, usize)> {
        let mut stalled = self.stalled.get()?;
        let unsent = self.socket.and_then(hangup::unsent).unwrap_or(stalled.unsent);
        if unsent < stalled.unsent {
            (stalled.since, stalled.unsent) = (now, unsent);
            self.stalled.set(Some(stalled));
        }
        Some((now.saturating_duration_since(stalled.since), stalled.holds))
    }

    /// The socket takes no more of a large event, which is in memory until it has all of it; until that is so.
    pub(crate) fn shares(&self, event: Option<When>) {
        match (event, self.shares.get()) {
            (None, _) => self.shares.set(None),
            (Some(when), None) => self.shares.set(Some((Instant::now(), when))),
            (Some(_), Some(_)) => {}
        }
    }

    /// Whether it keeps a large event in memory for too long.
    fn keeps(&self, when: When, urgent: bool, now: Instant) -> bool {
        self.shares.get().is_some_and(|(since, of)| {
            let takes_long = if urgent {
                now.saturating_duration_since(since) >= SENDING_MAX
            } else {
                self.taken_nothing(now).is_some_and(|(time, _)| time >= STALLED_MAX)
            };
            of == when && takes_long
        })
    }

    /// Something was sent.
    pub(crate) fn moves_on(&self) {
        self.stalled.set(None);
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

    fn end(&self) {
        self.expired.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A client that does not take what is to be sent, or not all of it.
#[derive(Clone, Copy, Debug)]
struct Stalled {
    /// When it took something last, as far as that was seen.
    since: Instant,
    /// What was left in the socket then.
    unsent: usize,
    /// Bytes of memory that it keeps from being given back.
    holds: usize,
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
    /// A new connection, and its socket if that tells.
    pub(crate) fn enter(self: &Rc<Self>, socket: Option<RawFd>) -> Registered {
        let entry = Rc::new(Entry { socket, ..Entry::default() });
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
                entry.end();
            } else if entry.deaf.get() {
                entry.wake();
            }
        }
    }

    /// Ends clients that have taken nothing of their answers for [`STALLED_MAX`], those that hold most memory first, until `excess` bytes
    /// are given back; their number. Those that hold little are left alone.
    pub(crate) fn end_stalled(&self, now: Instant, mut excess: usize) -> u64 {
        let entries = self.entries.borrow();
        let mut stalled: Vec<(usize, &Rc<Entry>)> = Vec::new();
        for entry in entries.iter().flatten().filter(|entry| !entry.is_expired()) {
            if let Some((time, holds)) = entry.taken_nothing(now)
                && time >= STALLED_MAX
                && holds > FREE_BYTES
            {
                stalled.push((holds, entry));
            }
        }
        stalled.sort_unstable_by_key(|(holds, _)| Reverse(*holds));
        let mut ended = 0;
        for (holds, entry) in stalled {
            if excess == 0 {
                break;
            }
            entry.end();
            excess = excess.saturating_sub(holds);
            ended += 1;
        }
        ended
    }

    /// There are too many large events in memory: ends those that are sending one of these and whose clients have taken nothing for
    /// [`STALLED_MAX`]; or, if changes wait for it, for [`SENDING_MAX`], whether their clients take some of it or none. Their number.
    pub(crate) fn end_senders(&self, when: When, urgent: bool, now: Instant) -> u64 {
        let mut ended = 0;
        for entry in self.entries.borrow().iter().flatten().filter(|entry| !entry.is_expired()) {
            if entry.keeps(when, urgent, now) {
                entry.end();
                ended += 1;
            }
        }
        ended
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
        let (slow, idle) = (registry.enter(None), registry.enter(None));
        let start = Instant::now();
        slow.entry.hurry(start, 0);
        registry.sweep(start + PATIENCE.saturating_sub(Duration::from_millis(1)));
        assert!(!slow.entry.is_expired());
        slow.entry.hurry(start, 10 * SLOWEST_BYTES_PER_SECOND);
        registry.sweep(start + PATIENCE + Duration::from_secs(9));
        assert!(!slow.entry.is_expired(), "ten seconds' worth of bytes have arrived");
        registry.sweep(start + PATIENCE + Duration::from_secs(10));
        assert!(slow.entry.is_expired() && !idle.entry.is_expired());
    }

    #[test]
    fn clients_that_take_nothing_are_ended_when_memory_is_short() {
        let registry = Rc::new(Registry::default());
        let [large, larger, small, moves] = [0; 4].map(|_| registry.enter(None));
        for (client, holds) in [(&large, 1 << 20), (&larger, 2 << 20), (&small, 100), (&moves, 4 << 20)] {
            client.entry.stalls(holds);
        }
        moves.entry.moves_on();
        let now = Instant::now();
        assert_eq!(registry.end_stalled(now, usize::MAX), 0, "for a while they may");
        assert_eq!(registry.end_stalled(now + STALLED_MAX, 1), 1, "one is enough");
        assert!(larger.entry.is_expired() && !large.entry.is_expired());
        assert_eq!(registry.end_stalled(now + STALLED_MAX, usize::MAX), 1, "nobody is ended twice");
        assert!(large.entry.is_expired() && !small.entry.is_expired() && !moves.entry.is_expired());
    }

    #[test]
    fn who_takes_long_for_a_large_event_is_ended_when_there_are_too_many() {
        let registry = Rc::new(Registry::default());
        let [slow, done, stalled, moves] = [0; 4].map(|_| registry.enter(None));
        slow.entry.shares(Some(When::Now));
        slow.entry.shares(Some(When::Now));
        done.entry.shares(Some(When::Now));
        done.entry.shares(None);
        for past in [&stalled, &moves] {
            past.entry.stalls(100);
            past.entry.shares(Some(When::Past));
        }
        moves.entry.moves_on();
        let now = Instant::now();
        assert_eq!(registry.end_senders(When::Now, true, now), 0, "a second is not over");
        assert_eq!(registry.end_senders(When::Now, true, now + SENDING_MAX), 1);
        assert!(slow.entry.is_expired() && !done.entry.is_expired());
        assert_eq!(
            registry.end_senders(When::Now, true, now + 2 * STALLED_MAX),
            0,
            "nobody is ended twice, nor for the past"
        );
        assert_eq!(registry.end_senders(When::Past, false, now + SENDING_MAX), 0);
        assert_eq!(registry.end_senders(When::Past, false, now + STALLED_MAX), 1);
        assert!(stalled.entry.is_expired() && !moves.entry.is_expired());
        assert_eq!(registry.end_senders(When::Past, true, now + SENDING_MAX), 1, "it is urgent");
    }

    #[test]
    fn places_are_used_again() {
        let registry = Rc::new(Registry::default());
        let first = registry.enter(None);
        drop(registry.enter(None));
        let _second = registry.enter(None);
        assert_eq!((registry.len(), registry.entries.borrow().len()), (2, 2));
        drop(first);
        assert_eq!(registry.len(), 1);
    }
}
