//! The events that wait for watchers, in words, and what they may take of the memory.
//!
//! An event is put into words once, and is in memory once, however many watch it: until the last of them has been sent it. Who watches but does
//! not read keeps it, and everything after it. So bytes are counted for as long as anybody holds them, whoever that is. While there are too
//! many, changes wait ([`super::crowd`]), and who keeps them is cut off within a second or so: who has more than its share before it and comes to
//! the end of no event ([`super::feed`]), and whose connection is still sending one ([`crate::http::Registry::end_senders`]).
//!
//! Events of the past are hardly more than the history keeps, and many ask for the same ones: there may be three times as many before changes wait
//! for them. Before that, only who takes nothing of one is cut off.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use crossbeam::utils::CachePadded;
use shard::event::Event;
use shard::ids::Index;

use super::Inner;
use crate::body;

/// The part of what requests may take that events may take beside it: a sixth.
const PART: usize = 6;
/// How many times as much those of the past may take before changes wait: these alone make more of them than the history keeps.
const PAST: usize = 3;
/// The least of it: a few of the largest events.
const LEAST_BYTES: usize = 1 << 20;
/// Shorter ones are not counted: their number is bounded, and to count them would be a good part of their cost.
pub(super) const COUNTED_BYTES: usize = 1 << 10;
/// Events that are remembered to be in memory before it is looked which of them still are.
const REMEMBERED_MIN: usize = 64;

type Held = CachePadded<AtomicUsize>;

/// When an event happened for whoever is sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// While it was watched.
    Now,
    /// Before.
    Past,
}

/// What all executors hold.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// Bytes that there may be of either kind.
    most: usize,
    now: Arc<Held>,
    past: Arc<Held>,
}

impl Bodies {
    /// Beside so many bytes for requests.
    pub(super) fn new(request_memory: usize) -> Self {
        Self { most: (request_memory / PART).max(LEAST_BYTES), now: Arc::default(), past: Arc::default() }
    }

    /// Bytes that there may be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Changes wait.
    pub(crate) fn crowd(&self) -> bool {
        self.are_too_many(When::Now) || self.past.load(Ordering::Relaxed) > PAST * self.most
    }

    /// There are more.
    pub(crate) fn are_too_many(&self, when: When) -> bool {
        self.held(when).load(Ordering::Relaxed) > self.most
    }

    fn held(&self, when: When) -> &Arc<Held> {
        match when {
            When::Now => &self.now,
            When::Past => &self.past,
        }
    }

    /// Bytes that find room: some at least.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.now.load(Ordering::Relaxed)).max(1)
    }

    /// Bytes that there are, the past as well.
    pub(super) fn bytes(&self) -> usize {
        self.now.load(Ordering::Relaxed) + self.past.load(Ordering::Relaxed)
    }

    fn count(&self, body: Vec<u8>, when: When) -> Arc<Counted> {
        let held = Arc::clone(self.held(when));
        held.fetch_add(body.len(), Ordering::Relaxed);
        Arc::new(Counted { body, held })
    }
}

/// Bytes that are counted until they are dropped.
#[derive(Debug)]
struct Counted {
    body: Vec<u8>,
    held: Arc<Held>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.fetch_sub(self.body.len(), Ordering::Relaxed);
    }
}

/// One of those who hold them.
struct Holder(Arc<Counted>);

impl AsRef<[u8]> for Holder {
    fn as_ref(&self) -> &[u8] {
        &self.0.body
    }
}

/// Large events of an executor's shards that may be in memory.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    by_index: HashMap<Index, Weak<Counted>>,
    /// How many there may be before it is looked which of them are.
    look_at: usize,
}

impl Encoded {
    fn get(&mut self, event: &Event, when: When, bodies: &Bodies) -> Bytes {
        let size = body::event_size_hint(event);
        if size > COUNTED_BYTES
            && let Some(counted) = self.by_index.get(&event.index).and_then(Weak::upgrade)
        {
            return Bytes::from_owner(Holder(counted));
        }
        let mut body = Vec::with_capacity(size);
        body::event(event, &mut body);
        if size <= COUNTED_BYTES {
            return Bytes::from(body);
        }
        let counted = bodies.count(body, when);
        if self.by_index.len() >= self.look_at {
            self.by_index.retain(|_, counted| counted.strong_count() > 0);
            self.look_at = REMEMBERED_MIN.max(2 * self.by_index.len());
        }
        self.by_index.insert(event.index, Arc::downgrade(&counted));
        Bytes::from_owner(Holder(counted))
    }
}

impl Inner {
    /// An event of one of this executor's shards, as the JSON document with its newline.
    pub(super) fn encode(&mut self, event: &Event, when: When) -> Bytes {
        self.encoded.get(event, when, &self.node.bodies)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use shard::event::{Action, NodeView};

    use super::*;

    fn event(index: u64, value_bytes: usize) -> Event {
        let (index, key, value) = (Index(index), Rc::from(&b"/k"[..]), Some(Rc::from(vec![b'v'; value_bytes])));
        let node = NodeView { key, value, dir: false, expiration: None, ttl: 0, modified: index, created: index };
        Event { action: Action::Set, index, node, prev: None, refresh: false }
    }

    #[test]
    fn an_event_counts_once_until_nobody_holds_it() {
        let (bodies, mut encoded) = (Bodies::new(0), Encoded::default());
        let large = encoded.get(&event(1, LEAST_BYTES), When::Now, &bodies);
        let for_another = large.clone();
        let for_a_latecomer = encoded.get(&event(1, LEAST_BYTES), When::Past, &bodies);
        assert!(for_a_latecomer == large && bodies.are_too_many(When::Now));
        assert_eq!((bodies.bytes(), bodies.room()), (large.len(), 1));
        drop((large, for_another));
        assert!(bodies.are_too_many(When::Now), "another one has it");
        drop(for_a_latecomer);
        assert_eq!((bodies.bytes(), bodies.room()), (0, LEAST_BYTES));
    }

    #[test]
    fn small_events_do_not_count_and_the_past_may_take_more() {
        let (bodies, mut encoded) = (Bodies::new(0), Encoded::default());
        let small = encoded.get(&event(1, 100), When::Now, &bodies);
        assert!(!small.is_empty() && bodies.bytes() == 0);
        let past = encoded.get(&event(2, 2 * LEAST_BYTES), When::Past, &bodies);
        assert_eq!(bodies.bytes(), past.len());
        assert!(bodies.are_too_many(When::Past) && !bodies.are_too_many(When::Now) && !bodies.crowd());
        let more = encoded.get(&event(3, LEAST_BYTES), When::Past, &bodies);
        assert!(bodies.crowd(), "{} bytes", past.len() + more.len());
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let (bodies, mut encoded) = (Bodies::new(0), Encoded::default());
        let kept = encoded.get(&event(1, 2000), When::Now, &bodies);
        for index in 2..1000 {
            drop(encoded.get(&event(index, 2000), When::Now, &bodies));
        }
        assert!(encoded.by_index.len() <= REMEMBERED_MIN && encoded.by_index.contains_key(&Index(1)));
        assert_eq!(bodies.bytes(), kept.len());
    }
}
