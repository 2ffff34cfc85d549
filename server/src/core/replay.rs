//! The past of a watch, handed out as its client takes it.
//!
//! A watch that starts long ago would otherwise put megabytes of events before a client that may never read them. Each
//! shard gives a portion at a time; the client's executor asks for the next when it has run out. A watch goes live on a
//! shard in the very call that finds the past at its end, so nothing is missed or repeated in between.

use std::rc::Rc;

use bytes::Bytes;
use shard::event::Event;
use shard::ids::Index;
use shard::watch::Portion;

use super::bodies::When;
use super::message::{Message, WatchRequest};
use super::ticket::Ticket;
use super::{Inner, Waiter};

/// What one shard replays in one go: well below a millisecond of work.
pub(super) const PORTION: Portion = Portion { examined: 4096, bytes: 64 << 10 };

/// A watch that has not got all of the past of this executor's shards.
pub(super) struct Behind {
    request: WatchRequest,
    /// Per shard concerned: its seat, and where its next portion begins.
    seats: Vec<(usize, Index)>,
}

/// What registering with some shards gave of the past.
#[derive(Default)]
pub(super) struct Past {
    events: Vec<Rc<Event>>,
    /// The shards that have more.
    seats: Vec<(usize, Index)>,
}

impl Past {
    /// One shard's part.
    pub(super) fn take(&mut self, seat: usize, events: Vec<Rc<Event>>, more: Option<Index>) {
        self.events.extend(events);
        self.seats.extend(more.map(|from| (seat, from)));
    }
}

impl Inner {
    /// Notes what a watch has not got yet, and tells its executor how far it has. Before the events themselves: without
    /// it, they would count as complete.
    pub(super) fn report_past(&mut self, ticket: Ticket, request: &WatchRequest, past: &Past) {
        if past.seats.is_empty() {
            return;
        }
        let behind = Behind { request: request.clone(), seats: past.seats.clone() };
        self.report_upto(ticket, behind.upto());
        self.watches.behind.insert(ticket, behind);
    }

    /// Hands a watch its events of the past.
    pub(super) fn emit_past(&mut self, ticket: Ticket, mut past: Past) {
        past.events.sort_by_key(|event| event.index);
        for event in past.events {
            self.metrics.watch_events.add(1);
            let (index, body) = (event.index, self.encode(&event, When::Past));
            match ticket.core() {
                Some(core) if core == self.me => self.past_event(ticket, index, body),
                Some(core) => self.send(core, Message::PastEvent(ticket, index, body)),
                None => {}
            }
        }
    }

    /// An event of the past has arrived for a watch of a connection of this executor.
    pub(super) fn past_event(&mut self, ticket: Ticket, index: Index, body: Bytes) {
        self.event_into(ticket, |feed| feed.past_event(index, body));
    }

    /// A watch has taken what it had: the next portion of the shard that is farthest back.
    pub(super) fn replay_more(&mut self, ticket: Ticket) {
        let Some(mut behind) = self.watches.behind.remove(&ticket) else { return };
        let Some((seat, from)) = behind.take_farthest() else { return };
        let mut past = Past::default();
        if self.register(ticket, &behind.request, seat, from, &mut past).is_err() {
            // It was refused nothing when it began: what it wants has been forgotten since.
            self.unwatch(ticket);
            if let Some(core) = ticket.core() {
                self.send(core, Message::Outrun(ticket));
            }
            return;
        }
        behind.seats.append(&mut past.seats);
        self.emit_past(ticket, past);
        self.report_upto(ticket, behind.upto());
        if !behind.seats.is_empty() {
            self.watches.behind.insert(ticket, behind);
        }
    }

    fn report_upto(&mut self, ticket: Ticket, upto: Option<Index>) {
        let from = self.me;
        match ticket.core() {
            Some(core) if core == self.me => self.replayed(ticket, from, upto),
            Some(core) => self.send(core, Message::Replayed { ticket, from, upto }),
            None => {}
        }
    }

    /// How far a watch of a connection of this executor has the past of executor `from`.
    pub(super) fn replayed(&mut self, ticket: Ticket, from: usize, upto: Option<Index>) {
        if let Some(Waiter::Feed(feed, _)) = self.waiting.find(ticket) {
            feed.replayed(from, upto);
        }
    }

    /// A client of this executor was so slow that its past is gone.
    pub(super) fn outrun(&mut self, ticket: Ticket) {
        if let Some(Waiter::Feed(feed, shard)) = self.waiting.find(ticket) {
            let shard = *shard;
            feed.cut();
            self.metrics.watchers_cut.inc();
            self.end_watch(ticket, shard);
        }
    }
}

impl Behind {
    /// Everything up to here has been handed out; none: everything has.
    fn upto(&self) -> Option<Index> {
        self.seats.iter().map(|(_, from)| Index(from.0 - 1)).min()
    }

    fn take_farthest(&mut self) -> Option<(usize, Index)> {
        let at = (0..self.seats.len()).min_by_key(|at| self.seats[*at].1)?;
        Some(self.seats.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_farthest_back_comes_first() {
        let request = WatchRequest { shard: None, path: b"/".to_vec(), recursive: true, stream: true, since: Index(3) };
        let mut behind = Behind { request, seats: vec![(0, Index(9)), (1, Index(5)), (2, Index(7))] };
        assert_eq!(behind.upto(), Some(Index(4)));
        assert_eq!(behind.take_farthest(), Some((1, Index(5))));
        assert_eq!(behind.upto(), Some(Index(6)));
        behind.seats.clear();
        assert_eq!(behind.upto(), None);
    }
}
