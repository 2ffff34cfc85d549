//! The last events of one shard, for watches that start in the past.

use crate::event::{Event, NodeView};
use crate::ids::Index;
use crate::memory::{ask_counts, ask_shared};
use std::collections::VecDeque;
use std::rc::Rc;

/// How much a shard remembers. Whichever limit is reached first forgets the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Most events.
    pub events: usize,
    /// Most memory, in estimated bytes ([`cost_bytes`]). The newest event is kept whatever its size.
    pub bytes: usize,
}

impl Default for HistoryLimits {
    /// 100,000 events: a hundred times etcd's window, per shard, so that a client that was away for minutes on a busy
    /// cluster can go on. 8 MiB: with 16 shards at most 128 MiB of a member's memory.
    fn default() -> Self {
        Self { events: 100_000, bytes: 8 << 20 }
    }
}

/// Memory an event is charged for, beside its key and values: two views, the counts, the allocator's rounding.
const EVENT_BYTES: usize = 320;

/// Events per segment: few enough to copy when a snapshot holds the last one, enough to make a snapshot cheap.
const SEGMENT_EVENTS: usize = 256;

/// Memory an event is charged for. Values count in full although the tree or a neighbour may share them: when those
/// let go, the history alone holds them.
pub fn cost_bytes(event: &Event) -> usize {
    let value = |view: &NodeView| view.value.as_ref().map_or(0, |value| value.len());
    EVENT_BYTES + event.node.key.len() + value(&event.node) + event.prev.as_ref().map_or(0, value)
}

/// A run of events. The evicted ones at the front of the first segment are `None`, or still there if a clone of the
/// history holds them.
type Segment = Vec<Option<Rc<Event>>>;

/// The last events, oldest first. Cloning costs one reference per 256 events.
///
/// Invariants: indices strictly grow; everything up to `cleared` is gone and everything after it is here;
/// `len <= limits.events`; `bytes <= limits.bytes` unless a single event is larger; no segment is empty.
#[derive(Clone, Debug)]
pub struct History {
    segments: VecDeque<Rc<Segment>>,
    /// Evicted events at the front of the first segment.
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
    pub fn push(&mut self, event: Rc<Event>) {
        assert!(self.newest < event.index, "events out of order: {} after {}", event.index, self.newest);
        self.newest = event.index;
        self.len += 1;
        self.bytes += cost_bytes(&event);
        match self.segments.back_mut() {
            Some(last) if last.len() < SEGMENT_EVENTS => Rc::make_mut(last).push(Some(event)),
            _ => {
                let mut segment = Vec::with_capacity(SEGMENT_EVENTS);
                segment.push(Some(event));
                self.segments.push_back(Rc::new(segment));
            }
        }
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
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Event>> {
        self.from(Index::ZERO)
    }

    /// The events at or after `since`, oldest first. Finding the first takes logarithmic time.
    pub fn from(&self, since: Index) -> impl Iterator<Item = &Rc<Event>> {
        let before = |event: &Option<Rc<Event>>| event.as_ref().is_none_or(|event| event.index < since);
        let segment = self.segments.partition_point(|segment| segment.last().is_some_and(before));
        let at = self.segments.get(segment).map_or(0, |segment| segment.partition_point(before));
        let skip = if segment == 0 { at.max(self.skip) } else { at };
        self.segments.iter().skip(segment).flat_map(|segment| segment.iter()).skip(skip).flatten()
    }

    fn forget_oldest(&mut self) {
        let skip = self.skip;
        let Some(first) = self.segments.front_mut() else { unreachable!("a history over its limit has events") };
        let oldest = match Rc::get_mut(first) {
            Some(segment) => segment[skip].take(),
            None => first[skip].clone(),
        };
        let Some(oldest) = oldest else { unreachable!("events after `skip` are all there") };
        self.cleared = oldest.index;
        self.len -= 1;
        self.bytes -= cost_bytes(&oldest);
        self.skip += 1;
        ask_for_next(&first[self.skip..]);
        if self.skip == first.len() {
            self.segments.pop_front();
            self.skip = 0;
        }
    }
}

/// Asks for what forgetting the next events will touch: nobody has looked at them since as many happened as are kept. First for an event, then,
/// when that is here, for what it shares with others.
fn ask_for_next(next: &[Option<Rc<Event>>]) {
    const EVENT: usize = 4;
    const SHARED: usize = 2;
    if let Some(Some(event)) = next.get(EVENT) {
        ask_shared(event);
    }
    if let Some(Some(event)) = next.get(SHARED) {
        ask_counts(&event.node.key);
        let values =
            [Some(&event.node), event.prev.as_ref()].into_iter().flatten().filter_map(|view| view.value.as_ref());
        values.for_each(ask_counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Action;

    fn event(index: u64, value_bytes: usize) -> Rc<Event> {
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
        Rc::new(Event { action: Action::Set, index, node, prev: None, refresh: false })
    }

    fn indices(history: &History, since: u64) -> Vec<u64> {
        history.from(Index(since)).map(|event| event.index.0).collect()
    }

    #[test]
    fn forgets_the_oldest_beyond_either_limit() {
        let mut history = History::new(HistoryLimits { events: 3, bytes: 1 << 20 }, Index::ZERO);
        for index in [2, 4, 6, 8, 10] {
            history.push(event(index, 1));
        }
        assert_eq!((indices(&history, 0), history.cleared()), (vec![6, 8, 10], Index(4)));

        let mut history = History::new(HistoryLimits { events: 100, bytes: 3 * (EVENT_BYTES + 1000) }, Index::ZERO);
        for index in 1..=9 {
            history.push(event(index, 900));
        }
        assert_eq!((indices(&history, 0), history.cleared()), (vec![7, 8, 9], Index(6)));
        history.push(event(10, 1 << 20));
        assert_eq!(indices(&history, 0), [10], "the newest is kept whatever its size");
    }

    #[test]
    fn finds_the_first_event_in_any_segment() {
        let mut history = History::new(HistoryLimits { events: 700, bytes: usize::MAX }, Index::ZERO);
        (1..=1000).for_each(|n| history.push(event(2 * n, 0)));
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
        (1..=10).for_each(|n| history.push(event(n, 0)));
        let clone = history.clone();
        (11..=1000).for_each(|n| history.push(event(n, 0)));
        assert_eq!(indices(&clone, 0), (1..=10).collect::<Vec<_>>());
        assert_eq!(indices(&history, 0), (991..=1000).collect::<Vec<_>>());
    }
}
