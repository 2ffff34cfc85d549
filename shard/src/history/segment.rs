//! A run of events.

use super::HistoryLimits;
use super::record::{Record, Shared, pack, unpack};
use crate::event::Event;
use crate::ids::Index;

/// Most events of a segment: few enough to copy when a snapshot holds the last one, enough to make a snapshot cheap.
const EVENTS: usize = 256;
/// And bytes beyond which it is full.
const BYTES: usize = 256 << 10;
/// A history has so many segments at least when it is full: the oldest one goes as a whole.
const SEGMENTS: usize = 8;

/// Memory of an event that is not in its record: where it begins, and what the buffers have too much.
const BESIDE: usize = 32;

/// An event in a segment.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where its record begins.
    start: u32,
    /// Its index, less that of the segment's first event.
    after: u32,
}

/// Some events, packed one after the other.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Index of the first.
    base: Index,
    bytes: Vec<u8>,
    places: Vec<Place>,
    shared: Shared,
}

impl Segment {
    /// An empty one for events from `base` on, with room for somewhat more than its neighbour has.
    pub(super) fn after(neighbour: Option<&Self>, base: Index) -> Self {
        let (bytes, events) = neighbour.map_or((0, 0), |neighbour| (neighbour.bytes.len() / 8 * 9, neighbour.len()));
        Self { base, bytes: Vec::with_capacity(bytes), places: Vec::with_capacity(events), shared: Shared::new() }
    }

    /// Whether this event, which is after the others, has a place here, in a history of these limits.
    pub(super) fn takes(&self, event: &Event, limits: HistoryLimits) -> bool {
        self.places.len() < EVENTS.min(limits.events / SEGMENTS + 1)
            && self.bytes.len() < BYTES.min(limits.bytes / SEGMENTS + 1)
            && u32::try_from(event.index.0 - self.base.0).is_ok()
    }

    /// Appends an event that it takes; returns its cost.
    pub(super) fn push(&mut self, event: &Event) -> usize {
        let begin = self.bytes.len();
        self.places.push(Place { start: begin as u32, after: (event.index.0 - self.base.0) as u32 });
        let shared = pack(event, &mut self.bytes, &mut self.shared);
        BESIDE + self.bytes.len() - begin + shared
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Index of the last event.
    pub(super) fn last(&self) -> Option<Index> {
        self.len().checked_sub(1).map(|last| self.index(last))
    }

    /// Index of the event at this position.
    pub(super) fn index(&self, at: usize) -> Index {
        Index(self.base.0 + u64::from(self.places[at].after))
    }

    /// The event at this position, which has not been let go.
    pub(super) fn get(&self, at: usize) -> Record<'_> {
        unpack(&self.bytes[self.range(at)], self.index(at), &self.shared)
    }

    /// The position of the first event at or after `since`.
    pub(super) fn position(&self, since: Index) -> usize {
        self.places.partition_point(|place| self.base.0 + u64::from(place.after) < since.0)
    }

    /// Memory that the history takes for the event at this position.
    pub(super) fn cost(&self, at: usize) -> usize {
        // What is shared is rare, and a record that goes has been in no cache for long.
        let shared = if self.shared.is_empty() { 0 } else { self.get(at).shared_bytes() };
        BESIDE + self.range(at).len() + shared
    }

    /// Lets go the values that the event at this position shares: nobody will look at it again.
    pub(super) fn let_go(&mut self, at: usize) {
        if !self.shared.is_empty() {
            for place in self.get(at).places() {
                self.shared[place] = None;
            }
        }
    }

    fn range(&self, at: usize) -> std::ops::Range<usize> {
        let end = self.places.get(at + 1).map_or(self.bytes.len(), |next| next.start as usize);
        self.places[at].start as usize..end
    }
}
