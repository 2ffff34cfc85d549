//! A run of events.

use super::record::{Record, Shared, pack, unpack};
use crate::event::Event;
use crate::ids::Index;

/// Most events of a segment: few enough to copy when a snapshot holds the last one, enough to make a snapshot cheap.
const EVENTS: usize = 256;
/// And bytes beyond which it is full.
const BYTES: usize = 256 << 10;

/// Memory of an event that is not in its record: where it begins, and what the buffers have too much.
const BESIDE: usize = 32;

/// Some events, packed one after the other.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Not after the first.
    base: Index,
    /// Index of the last.
    last: Index,
    bytes: Vec<u8>,
    /// Where in `bytes` each begins.
    starts: Vec<u32>,
    shared: Shared,
}

impl Segment {
    /// An empty one for events from `base` on, with room for as much as its neighbour has.
    pub(super) fn after(neighbour: Option<&Self>, base: Index) -> Self {
        let (bytes, events) = neighbour.map_or((0, 0), |neighbour| (neighbour.bytes.len(), neighbour.len()));
        let (bytes, starts) = (Vec::with_capacity(bytes), Vec::with_capacity(events));
        Self { base, last: base, bytes, starts, shared: Shared::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.starts.len() == EVENTS || self.bytes.len() >= BYTES
    }

    /// Appends an event, which is after the others; returns its cost.
    pub(super) fn push(&mut self, event: &Event) -> usize {
        let begin = self.bytes.len();
        let Ok(start) = u32::try_from(begin) else { unreachable!("full long before") };
        self.starts.push(start);
        let shared = pack(event, self.base, &mut self.bytes, &mut self.shared);
        self.last = event.index;
        BESIDE + self.bytes.len() - begin + shared
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Index of the last event.
    pub(super) fn last(&self) -> Index {
        self.last
    }

    /// The event at this position, which has not been let go.
    pub(super) fn get(&self, at: usize) -> Record<'_> {
        unpack(&self.bytes[self.range(at)], self.base, &self.shared)
    }

    /// The position of the first event at or after `since`.
    pub(super) fn position(&self, since: Index) -> usize {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            if self.get(middle).index < since { from = middle + 1 } else { to = middle }
        }
        from
    }

    /// Memory of the event at this position, which is this. Shared values count in full: when the others let go, the history alone holds them.
    pub(super) fn cost(&self, at: usize, event: &Record<'_>) -> usize {
        BESIDE + self.range(at).len() + event.shared_bytes()
    }

    /// Lets these values go: nobody will look at their event again.
    pub(super) fn let_go(&mut self, places: impl Iterator<Item = usize>) {
        for place in places {
            self.shared[place] = None;
        }
    }

    fn range(&self, at: usize) -> std::ops::Range<usize> {
        let end = self.starts.get(at + 1).map_or(self.bytes.len(), |end| *end as usize);
        self.starts[at] as usize..end
    }
}
