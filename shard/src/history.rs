//! The last events of one shard, for watches that start in the past.

mod record;
mod segment;

use crate::event::Event;
use crate::ids::Index;
pub use record::Record;
use segment::Segment;
use std::collections::VecDeque;
use std::rc::Rc;

/// How much a shard remembers. Whichever limit is reached first forgets the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Most events.
    pub events: usize,
    /// Most memory, in estimated bytes. The newest event is kept whatever its size.
    pub bytes: usize,
}

impl Default for HistoryLimits {
    /// 100,000 events: a hundred times etcd's window, per shard, so that a client that was away for minutes on a busy
    /// cluster can go on. 8 MiB: with 16 shards at most 128 MiB of a member's memory, or twice that where values of more than 128 bytes were
    /// read back at a start.
    fn default() -> Self {
        Self { events: 100_000, bytes: 8 << 20 }
    }
}

/// The last events, oldest first. Cloning costs one reference per segment of 256 events.
///
/// Invariants: indices strictly grow; everything up to `cleared` is gone and everything after it is here;
/// `len <= limits.events`; `bytes <= limits.bytes` unless a single event is larger.
#[derive(Clone, Debug)]
pub struct History {
    segments: VecDeque<Rc<Segment>>,
    /// Forgotten events at the front of the first segment. If a clone of the history holds that, so it does their values.
    skip: usize,
    len: usize,
    bytes: usize,
    cleared: Index,
    newest: Index,
    limits: HistoryLimits,
}

impl History {
    /// No events, of which those up to `cleared` are gone.
    pub fn new(limits: HistoryLimits, cleared: Index) -> Self {
        assert!(limits.events > 0, "a history without room for an event can replay nothing");
        Self { segments: VecDeque::new(), skip: 0, len: 0, bytes: 0, cleared, newest: cleared, limits }
    }

    /// Remembers an event, and forgets what no longer fits.
    pub fn push(&mut self, event: &Event) {
        assert!(self.newest < event.index, "events out of order: {} after {}", event.index, self.newest);
        self.newest = event.index;
        self.len += 1;
        if self.segments.back().is_none_or(|last| !last.takes(event, self.limits)) {
            let next = Segment::after(self.segments.back().map(|last| &**last), event.index);
            self.segments.push_back(Rc::new(next));
        }
        self.bytes += self.segments.back_mut().map_or(0, |last| Rc::make_mut(last).push(event));
        while self.len > self.limits.events || (self.bytes > self.limits.bytes && self.len > 1) {
            self.forget_oldest();
        }
    }

    /// The last index whose event may be gone; [`Index::ZERO`] if everything is here.
    pub fn cleared(&self) -> Index {
        self.cleared
    }

    /// The index of the newest event, or what `cleared` was before the first.
    pub fn newest(&self) -> Index {
        self.newest
    }

    /// Events kept.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Estimated memory of the events kept, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.from(Index::ZERO)
    }

    /// The events at or after `since`, oldest first. Finding the first takes logarithmic time.
    pub fn from(&self, since: Index) -> impl Iterator<Item = Record<'_>> {
        let segment = self.segments.partition_point(|segment| segment.last() < Some(since));
        let at = self.segments.get(segment).map_or(0, |segment| segment.position(since));
        let skip = if segment == 0 { at.max(self.skip) } else { at };
        let kept = self.segments.iter().skip(segment);
        kept.zip(std::iter::once(skip).chain(std::iter::repeat(0)))
            .flat_map(|(segment, skip)| (skip..segment.len()).map(|at| segment.get(at)))
    }

    fn forget_oldest(&mut self) {
        let Some(first) = self.segments.front_mut() else { unreachable!("a history over its limit has events") };
        self.cleared = first.index(self.skip);
        self.len -= 1;
        self.bytes -= first.cost(self.skip);
        if let Some(first) = Rc::get_mut(first) {
            first.let_go(self.skip);
        }
        self.skip += 1;
        if self.skip == first.len() {
            self.segments.pop_front();
            self.skip = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Action, NodeView};

    fn event(index: u64, value_bytes: usize) -> Event {
        let index = Index(index);
        let node = NodeView {
            key: Rc::from(b"/k".as_slice()),
            value: Some(vec![0; value_bytes].into()),
            dir: false,
            expiration: None,
            ttl: 0,
            modified: index,
            created: index,
        };
        Event { action: Action::Set, index, node, prev: None, refresh: false }
    }

    fn indices(history: &History, since: u64) -> Vec<u64> {
        history.from(Index(since)).map(|event| event.index.0).collect()
    }

    #[test]
    fn forgets_the_oldest_beyond_either_limit() {
        let mut history = History::new(HistoryLimits { events: 3, bytes: 1 << 20 }, Index::ZERO);
        for index in [2, 4, 6, 8, 10] {
            history.push(&event(index, 1));
        }
        assert_eq!((indices(&history, 0), history.cleared()), (vec![6, 8, 10], Index(4)));

        let replacing =
            |index, value_bytes| Event { prev: Some(event(index - 1, value_bytes).node), ..event(index, 0) };
        let mut history = History::new(HistoryLimits { events: 100, bytes: 3 * 1000 }, Index::ZERO);
        for index in 2..=10 {
            history.push(&replacing(index, 900));
        }
        assert_eq!((indices(&history, 0), history.cleared()), (vec![8, 9, 10], Index(7)));
        history.push(&replacing(11, 1 << 20));
        assert_eq!(indices(&history, 0), [11], "the newest is kept whatever its size");
    }

    #[test]
    fn finds_the_first_event_in_any_segment() {
        let mut history = History::new(HistoryLimits { events: 700, bytes: usize::MAX }, Index::ZERO);
        (1..=1000).for_each(|n| history.push(&event(2 * n, 0)));
        assert_eq!(history.cleared(), Index(600));
        for (since, first) in [(0, 602), (602, 602), (603, 604), (1111, 1112), (2000, 2000)] {
            let found = indices(&history, since);
            assert_eq!((found[0], found.len()), (first, (2002 - first as usize) / 2), "since {since}");
        }
        assert_eq!(indices(&history, 2001), [0; 0]);
    }

    #[test]
    fn a_clone_keeps_what_the_original_forgets() {
        let mut history = History::new(HistoryLimits { events: 10, bytes: usize::MAX }, Index::ZERO);
        (1..=10).for_each(|n| history.push(&event(n, 0)));
        let clone = history.clone();
        (11..=1000).for_each(|n| history.push(&event(n, 0)));
        assert_eq!(indices(&clone, 0), (1..=10).collect::<Vec<_>>());
        assert_eq!(indices(&history, 0), (991..=1000).collect::<Vec<_>>());
    }

    #[test]
    fn large_values_go_with_their_events() {
        let mut history = History::new(HistoryLimits { events: 3, bytes: usize::MAX }, Index::ZERO);
        let values: Vec<Rc<[u8]>> = (0..1000_u64)
            .map(|n| {
                let event = event(n + 1, 1000);
                history.push(&event);
                event.node.value.expect("a file")
            })
            .collect();
        let kept: Vec<_> = values.iter().map(|value| Rc::strong_count(value) - 1).collect();
        assert_eq!(kept[996..], [0, 1, 1, 1]);
        assert_eq!(kept.iter().sum::<usize>(), 3);
    }

    #[test]
    fn what_is_charged_is_what_is_taken() {
        let mut history = History::new(HistoryLimits { events: 1000, bytes: usize::MAX }, Index::ZERO);
        (1..=5000).for_each(|n| history.push(&event(n, n as usize % 128)));
        let left = history.iter().map(|event| event.index.0 as usize % 128);
        let least: usize = left.sum();
        assert!((least + 1000 * 32..least + 1000 * 48).contains(&history.bytes()), "{} for {least}", history.bytes());
        history.limits.events = 1;
        history.push(&event(5001, 7));
        assert_eq!((history.len(), history.bytes() < 100), (1, true), "{}", history.bytes());
    }
}
