//! The watchers of this executor's shards, and the watches of its connections.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use bytes::Bytes;
use shard::event::Event;
use shard::ids::{Index, ShardId};
use shard::watch::{Cleared, Registered, Watch, WatcherId};

use super::bodies::When;
use super::crowd::{CROWDED, share_of};
use super::feed::{Allowed, Feed, Next};
use super::message::{Answer, Message, Standing, WatchRequest};
use super::replay::{Behind, PORTION, Past};
use super::ticket::Ticket;
use super::{Core, Inner, Waiter};

/// Who watches which shard of this executor.
#[derive(Default)]
pub(super) struct Watches {
    /// The watch behind each watcher of a shard's hub.
    by_watcher: HashMap<(ShardId, WatcherId), Ticket>,
    /// The watchers of each watch: one, or one per shard for a spread directory.
    by_ticket: HashMap<Ticket, Vec<(ShardId, WatcherId)>>,
    /// Watches that have not got all of the past yet.
    pub(super) behind: HashMap<Ticket, Behind>,
    /// Watches of this executor's connections that still want events.
    open: u64,
    /// Watches of this executor's connections that put together the events of several executors.
    spread: Vec<Ticket>,
}

impl Watches {
    /// Watches of this executor's connections.
    pub(super) fn len(&self) -> u64 {
        self.open
    }
}

/// A watch of a connection. Dropping it ends it everywhere.
pub(crate) struct Watching {
    core: Rc<Core>,
    ticket: Ticket,
    shard: Option<ShardId>,
    feed: Rc<Feed>,
}

impl Watching {
    /// What there is for the connection. Asks for more of the past when that has run out.
    pub(crate) fn next(&self) -> Option<Next> {
        let next = self.feed.next();
        if let Some(executor) = self.feed.ask() {
            self.core.inner.borrow_mut().send(executor, Message::More(self.ticket));
            self.core.stir();
        }
        next
    }

    /// Whether [`Watching::next`] has something, or something to do.
    pub(crate) fn is_ready(&self) -> bool {
        self.feed.is_ready()
    }

    /// Whether the head, or an event that was there when it was asked for, is still to come.
    pub(crate) fn owes(&self) -> bool {
        self.feed.owes()
    }

    /// Whom to wake when it has.
    pub(crate) fn register(&self, waker: &Waker) {
        self.feed.register(waker);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.core.inner.borrow_mut().end_watch(self.ticket, self.shard);
        self.core.stir();
    }
}

impl Core {
    /// Begins a watch; `None` if too many requests wait already.
    pub(crate) fn watch(self: &Rc<Self>, request: WatchRequest) -> Option<Watching> {
        let mut inner = self.inner.borrow_mut();
        inner.metrics.watch_requests.add(1);
        let shard = request.shard;
        let tally = self.node.tallies[self.me].clone();
        let feed = Rc::new(match shard {
            Some(_) => Feed::single(tally),
            None => Feed::spread(self.node.cores(), inner.standing(), request.since == Index::ZERO, tally),
        });
        let ticket = inner.waiting.add(Waiter::Feed(Rc::clone(&feed), shard)).ok()?;
        inner.watches.open += 1;
        match shard.map(|shard| self.node.core_of(shard)) {
            Some(core) if core == self.me => inner.watch(ticket, &request),
            Some(core) => inner.send(core, Message::Watch(ticket, request)),
            None => inner.watch_all(ticket, &request),
        }
        drop(inner);
        self.stir();
        Some(Watching { core: Rc::clone(self), ticket, shard, feed })
    }
}

impl Inner {
    /// Ends a watch everywhere. Ending it twice changes nothing.
    pub(super) fn end_watch(&mut self, ticket: Ticket, shard: Option<ShardId>) {
        if self.waiting.take(ticket).is_none() {
            return;
        }
        self.watches.open -= 1;
        self.watches.spread.retain(|spread| *spread != ticket);
        if self.watches.spread.is_empty() {
            self.node.spread[self.me].store(false, Ordering::SeqCst);
        }
        match shard {
            Some(shard) => self.unwatch_at(self.node.core_of(shard), ticket),
            None => (0..self.node.cores()).for_each(|core| self.unwatch_at(core, ticket)),
        }
    }

    /// Registers a watch with every executor. Whatever happens while they do so is found in their histories; or, for a
    /// watch from now on, left out by its feed, which never asks for the past.
    fn watch_all(&mut self, ticket: Ticket, request: &WatchRequest) {
        self.watches.spread.push(ticket);
        self.node.spread[self.me].store(true, Ordering::SeqCst);
        // One event may be left out, so that the first is not always the last one wanted.
        let stream = request.stream || request.since == Index::ZERO;
        for core in 0..self.node.cores() {
            self.send(core, Message::Watch(ticket, WatchRequest { stream, ..request.clone() }));
        }
    }

    /// Registers a watch with the shards of this executor that it concerns.
    pub(super) fn watch(&mut self, ticket: Ticket, request: &WatchRequest) {
        let visible = self.node.order.visible();
        let seats = match request.shard {
            Some(shard) => self.seat(shard)..self.seat(shard) + 1,
            None => 0..self.shards.len(),
        };
        let mut past = Past::default();
        let mut refused: Option<Cleared> = None;
        for seat in seats {
            self.apply(seat, visible);
            // A long poll over several shards gets the first event of each, and shows the first of them.
            if let Err(cleared) = self.register(ticket, request, seat, request.since, &mut past) {
                // All of them are asked: from the newest of what they name, every shard can serve the watch.
                refused = refused.into_iter().chain([cleared]).max_by_key(|cleared| cleared.oldest);
            }
        }
        if let Some(cleared) = refused {
            self.unwatch(ticket);
            return self.deliver(ticket, Answer::Watching(Err((cleared, visible))));
        }
        self.report_past(ticket, request, &past);
        let standing = Standing { index: visible, ..self.standing() };
        self.deliver(ticket, Answer::Watching(Ok(standing)));
        self.emit_past(ticket, past);
    }

    /// Registers a watch with one shard, from `since` on.
    pub(super) fn register(
        &mut self,
        ticket: Ticket,
        request: &WatchRequest,
        seat: usize,
        since: Index,
        past: &mut Past,
    ) -> Result<(), Cleared> {
        let WatchRequest { recursive, stream, .. } = *request;
        let watch = Watch { path: &request.path, recursive, stream, since };
        let shard = self.shards[seat].id();
        let (hub, store) = self.shards[seat].watchers();
        let Registered { replay, more, live } = hub.register(store, &watch, PORTION)?;
        past.take(seat, replay, more);
        if let Some(watcher) = live {
            self.watches.by_watcher.insert((shard, watcher), ticket);
            self.watches.by_ticket.entry(ticket).or_default().push((shard, watcher));
        }
        Ok(())
    }

    /// Forgets the watchers of a watch on this executor.
    pub(super) fn unwatch(&mut self, ticket: Ticket) {
        self.watches.behind.remove(&ticket);
        for (shard, watcher) in self.watches.by_ticket.remove(&ticket).into_iter().flatten() {
            self.watches.by_watcher.remove(&(shard, watcher));
            let seat = self.seat(shard);
            self.shards[seat].watchers().0.cancel(watcher);
        }
    }

    fn unwatch_at(&mut self, core: usize, ticket: Ticket) {
        if core == self.me {
            self.unwatch(ticket);
        } else {
            self.send(core, Message::Unwatch(ticket));
        }
    }

    /// Hands the events of one shard to its watchers. An event is encoded once, however many watch it.
    pub(super) fn hand_out(&mut self, shard: ShardId, deliveries: &mut Vec<(WatcherId, Rc<Event>)>) {
        let mut last: Option<(Index, Bytes)> = None;
        for (watcher, event) in deliveries.drain(..) {
            let Some(ticket) = self.watches.by_watcher.get(&(shard, watcher)).copied() else { continue };
            let body = match &last {
                Some((index, body)) if *index == event.index => body.clone(),
                _ => self.encode(&event, When::Now),
            };
            last = Some((event.index, body.clone()));
            self.emit(ticket, event.index, body);
        }
    }

    /// A snapshot has skipped what these watchers wait for.
    pub(super) fn outrun_all(&mut self, shard: ShardId, watchers: &mut Vec<WatcherId>) {
        for watcher in watchers.drain(..) {
            if let Some(ticket) = self.watches.by_watcher.remove(&(shard, watcher)) {
                self.unwatch(ticket);
                if let Some(core) = ticket.core() {
                    self.send(core, Message::Outrun(ticket));
                }
            }
        }
    }

    /// Ends the watches of clients that take nothing although much is waiting for them.
    pub(super) fn cut_slow_watches(&mut self) {
        if self.watches.open == 0 {
            return;
        }
        let allowed = Allowed { events: self.share_of(CROWDED, Feed::waiting_events), bytes: self.share_of_bytes() };
        let slow = self.waiting.select(|waiter| matches!(waiter, Waiter::Feed(feed, _) if !feed.tick(allowed)));
        for ticket in slow {
            if let Some(Waiter::Feed(_, shard)) = self.waiting.find(ticket) {
                let shard = *shard;
                self.metrics.watchers_cut.inc();
                self.end_watch(ticket, shard);
            }
        }
    }

    /// How much of `most` all watches of this executor leave to one; none: as much as it likes.
    fn share_of(&self, most: usize, holds: fn(&Feed) -> usize) -> Option<usize> {
        let holds = |waiter: &Waiter| if let Waiter::Feed(feed, _) = waiter { holds(feed) } else { 0 };
        share_of(most, self.waiting.iter().map(holds).filter(|held| *held > 0).collect())
    }

    /// The same for bytes, while there are too many: as if what several wait for were there for each of them. With an equal part for each executor
    /// some watch of some executor holds more than its share.
    fn share_of_bytes(&self) -> Option<usize> {
        let bodies = &self.node.bodies;
        let part = bodies.most() / self.node.cores();
        bodies.are_too_many(When::Now).then(|| self.share_of(part, Feed::waiting_bytes)).flatten()
    }

    fn emit(&mut self, ticket: Ticket, index: Index, body: Bytes) {
        self.metrics.watch_events.add(1);
        match ticket.core() {
            Some(core) if core == self.me => self.event(ticket, index, body),
            Some(core) => self.send(core, Message::Event(ticket, index, body)),
            None => {}
        }
    }

    /// An event has arrived for a watch of a connection of this executor.
    pub(super) fn event(&mut self, ticket: Ticket, index: Index, body: Bytes) {
        let share = self.share_at_once();
        self.event_into(ticket, |feed| feed.event(index, body, share));
    }

    /// Has an event put into the feed of a watch of this executor's connections, which may have ended by now.
    pub(super) fn event_into(&mut self, ticket: Ticket, put: impl FnOnce(&Feed) -> bool) {
        let Some(Waiter::Feed(feed, shard)) = self.waiting.find(ticket) else { return };
        let shard = *shard;
        if put(feed) {
            self.fan_out.announce(feed);
        } else {
            // Its connection learns of it when the client reads on; until then it costs nothing more.
            self.metrics.watchers_cut.inc();
            self.end_watch(ticket, shard);
        }
    }

    /// Releases what is complete to the watches over several executors.
    pub(super) fn release(&mut self, complete: Index) {
        for at in 0..self.watches.spread.len() {
            if let Some(Waiter::Feed(feed, _)) = self.waiting.find(self.watches.spread[at]) {
                feed.release(complete);
                self.fan_out.announce(feed);
            }
        }
    }

    /// Something was applied here: executors with watches over several executors may be able to release more.
    pub(super) fn wake_spread(&self) {
        for (mailbox, spread) in self.node.mailboxes.iter().zip(&self.node.spread) {
            if spread.load(Ordering::SeqCst) {
                mailbox.wake();
            }
        }
    }
}
