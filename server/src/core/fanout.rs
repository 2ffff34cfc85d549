//! Who is told of events, and when: some watchers at a time, so that a change that thousands watch holds nobody up.
//!
//! The events themselves are in the watchers' feeds at once. Waking a connection costs a send, five microseconds or so; between
//! the portions the executor looks at its other sockets. What has happened meanwhile joins what a watcher has not been woken
//! for, and leaves in the same send: the busier the watched keys, the less an event costs.

use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::feed::Feed;
use super::{Core, Inner};

/// Connections that are woken at a time: a few tenths of a millisecond of sends.
const PORTION: usize = 32;
/// The share of those who wait that is woken at least, so that writers can not outrun the watchers for long.
const SHARE: usize = 32;

/// Far below the time that a portion takes. A timer fires only after a look at the sockets, which a mere yield would pass by
/// while anything is runnable.
const PAUSE: Duration = Duration::from_micros(50);

/// Feeds with events that their connections have not been woken for, in the order in which they got the first.
#[derive(Default)]
pub(super) struct FanOut {
    waiting: VecDeque<Rc<Feed>>,
    /// A task wakes them, portion after portion.
    under_way: bool,
}

impl FanOut {
    /// A feed has got events.
    pub(super) fn announce(&mut self, feed: &Rc<Feed>) {
        if feed.announce() {
            self.waiting.push_back(Rc::clone(feed));
        }
    }

    /// Somebody waits, and nothing is under way.
    pub(super) fn is_due(&self) -> bool {
        !self.under_way && !self.waiting.is_empty()
    }

    /// Wakes the next portion. True if others wait.
    fn wake_some(&mut self) -> bool {
        let portion = PORTION.max(self.waiting.len() / SHARE).min(self.waiting.len());
        self.waiting.drain(..portion).for_each(|feed| feed.wake());
        !self.waiting.is_empty()
    }
}

impl Inner {
    /// Wakes those who watch what this turn has applied: the first portion at once, the others beside the next turns.
    pub(super) fn fan_out(&mut self) {
        if !self.fan_out.under_way && self.fan_out.wake_some() {
            self.fan_out.under_way = true;
            self.spawn(wake_others(self.core.clone()));
        }
    }
}

async fn wake_others(core: Weak<Core>) {
    loop {
        glommio::timer::sleep(PAUSE).await;
        let Some(core) = core.upgrade() else { return };
        let mut inner = core.inner.borrow_mut();
        inner.fan_out.under_way = inner.fan_out.wake_some();
        if !inner.fan_out.under_way {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use bytes::Bytes;
    use shard::ids::Index;

    use super::*;
    use crate::core::crowd::Tally;
    use crate::core::feed::Next;
    use crate::core::message::Standing;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Watchers {
        feeds: Vec<Rc<Feed>>,
        woken: Arc<Woken>,
        fan_out: FanOut,
    }

    impl Watchers {
        fn new(count: usize) -> Self {
            let feeds = (0..count).map(|_| Rc::new(Feed::single(Tally::default()))).collect();
            let watchers = Self { feeds, woken: Arc::default(), fan_out: FanOut::default() };
            for feed in &watchers.feeds {
                feed.answer(Ok(Standing::default()));
                assert!(matches!(feed.next(), Some(Next::Standing(_))));
            }
            watchers
        }

        /// All connections wait for something.
        fn wait(&self) {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.feeds.iter().for_each(|feed| feed.register(&waker));
        }

        fn event(&mut self, index: u64) {
            for feed in &self.feeds {
                feed.event(Index(index), Bytes::from_static(b"{}"), None);
                self.fan_out.announce(feed);
            }
        }

        fn woken(&self) -> usize {
            self.woken.0.swap(0, Ordering::Relaxed)
        }
    }

    #[test]
    fn a_few_watchers_are_woken_at_once_and_many_in_portions() {
        let mut watchers = Watchers::new(3 * PORTION);
        watchers.wait();
        watchers.event(1);
        assert!(watchers.fan_out.is_due());
        assert!(watchers.fan_out.wake_some());
        assert_eq!(watchers.woken(), PORTION);
        assert!(watchers.fan_out.wake_some() && !watchers.fan_out.wake_some());
        assert_eq!(watchers.woken(), 2 * PORTION);
        let mut few = Watchers::new(2);
        few.wait();
        few.event(1);
        assert!(!few.fan_out.wake_some());
        assert_eq!(few.woken(), 2);
    }

    #[test]
    fn what_happens_meanwhile_joins_what_a_watcher_was_not_woken_for() {
        let mut watchers = Watchers::new(2 * PORTION);
        watchers.wait();
        watchers.event(1);
        assert!(watchers.fan_out.wake_some());
        watchers.event(2);
        assert!(!watchers.fan_out.wake_some());
        assert_eq!(watchers.woken(), 2 * PORTION, "each once");
        let last = watchers.feeds.last().expect("there are some");
        assert_eq!(std::iter::from_fn(|| last.next()).count(), 2);
    }

    #[test]
    fn who_has_gathered_many_does_not_wait() {
        let mut watchers = Watchers::new(2 * PORTION);
        watchers.wait();
        (1..16).for_each(|index| watchers.event(index));
        assert_eq!(watchers.woken(), 0);
        watchers.event(16);
        assert_eq!(watchers.woken(), 2 * PORTION);
    }

    #[test]
    fn the_more_wait_the_larger_the_portions() {
        let mut watchers = Watchers::new(100 * PORTION);
        watchers.wait();
        watchers.event(1);
        assert!(watchers.fan_out.wake_some());
        assert_eq!(watchers.woken(), 100 * PORTION / SHARE);
    }
}
