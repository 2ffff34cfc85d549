//! The events of one watch, on the executor of its connection.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use shard::ids::Index;
use shard::watch::Cleared;

use super::bodies::When;
use super::crowd::Tally;
use super::deliver;
use super::message::{KeysAnswer, Registration, Standing};
use super::ticker::rounds_in;

/// Bytes of events that may wait for a client that takes none of them. What is beyond is what a client cannot be
/// expected to have read yet: a replay, a burst.
pub(crate) const FEED_BYTES_MAX: usize = 4 << 20;
/// Events that may wait for such a client, however small they are.
pub(crate) const FEED_EVENTS_MAX: usize = 16_384;
/// Rounds of the ticker in which a client with more than that waiting may take nothing: a second.
const STALLED_ROUNDS_MAX: u64 = rounds_in(Duration::from_secs(1));
/// Rounds of the ticker in which a client with more than its share of what all watches may hold ([`super::crowd`]) may leave its
/// connection blocked, or take no more than a small part of that: two tenths of a second.
const BLOCKED_ROUNDS_MAX: u64 = 2;
/// The same with more than its share of the bytes: a large event takes its time. Half a second.
const HEAVY_ROUNDS_MAX: u64 = rounds_in(Duration::from_millis(500));
/// That part.
const TAKES_LITTLE: usize = 8;
/// Bytes that may wait for any client: a burst of the largest events, or of tens of thousands of small ones. The past
/// does not count, it comes as the client takes it.
const FEED_BYTES_CEILING: usize = 64 << 20;
/// Events for which a connection is not woken yet: with more of them it does not wait for its turn.
const GATHERED_MAX: usize = 16;
/// Events for which a watch over several executors keeps memory to put them in order.
const MERGE_KEPT: usize = 16;
/// Bytes below which more of the past is asked for.
const LOW_WATER: usize = 32 << 10;

/// What all watches of an executor leave to one, if they have too much together; none: as much as it likes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowed {
    /// Events that wait.
    pub(super) events: Option<usize>,
    /// Bytes of them.
    pub(super) bytes: Option<usize>,
}

/// What a watch has for its connection.
pub(crate) enum Next {
    /// It is registered: the head of the response can be sent.
    Standing(Standing),
    /// It is refused.
    Refused(KeysAnswer),
    /// An event, as the JSON document with its newline.
    Event(Bytes, When),
    /// The client did not keep up; nothing more will come.
    Cut,
}

/// The receiving end of a watch.
pub(crate) struct Feed {
    inner: RefCell<Inner>,
}

struct Inner {
    /// Executors that have not answered yet.
    missing: usize,
    /// Set once all have; taken by the connection.
    standing: Option<Result<Standing, KeysAnswer>>,
    /// The newest of what those that refuse the watch name, and the newest index that they show.
    refused: Option<(Cleared, Index)>,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    merge: Option<Merge>,
    /// Executors that have more of the past.
    behind: Vec<Behind>,
    /// Events that the connection has taken, and their bytes since the last round.
    taken: u64,
    taken_bytes: usize,
    /// What `taken` was at the last round, and for how many it has not moved while too much was waiting.
    stalled: (u64, u64),
    /// For how many rounds it has held more than its share, and the connection has not come back from its last write.
    blocked: u64,
    /// The same of bytes; it takes as long to come back from that.
    heavy: u64,
    /// How many of the events that wait had happened before the watch began.
    past: usize,
    /// Counts the others of all watches of the executor.
    tally: Tally,
    /// What it has counted of these.
    counted: usize,
    cut: bool,
    /// It is among those whose connections will be woken for their events (see [`super::fanout`]).
    announced: bool,
    waker: Option<Waker>,
}

/// Puts the events of several executors in order.
struct Merge {
    /// `X-Etcd-Index` of the answer: taken before the first executor was asked, unless the watch begins `now`.
    standing: Standing,
    /// The watch begins when the last executor has registered it, and needs none of the past: `standing` is the newest of
    /// where they stood, and what happened up to there is left out.
    now: bool,
    waiting: BinaryHeap<Reverse<(Index, Bytes)>>,
    waiting_bytes: usize,
}

/// An executor that has not given all of the past.
struct Behind {
    executor: usize,
    /// Everything of it up to here has arrived.
    upto: Index,
    /// The next portion is on its way.
    asked: bool,
}

impl Feed {
    /// For a watch on one shard.
    pub(super) fn single(tally: Tally) -> Self {
        Self::new(1, None, tally)
    }

    /// For a watch on the shards of `executors`; the answer stands where it was asked, or where it begins if that is `now`.
    pub(super) fn spread(executors: usize, standing: Standing, now: bool, tally: Tally) -> Self {
        Self::new(executors, Some(Merge { standing, now, waiting: BinaryHeap::new(), waiting_bytes: 0 }), tally)
    }

    fn new(missing: usize, merge: Option<Merge>, tally: Tally) -> Self {
        let (queue, waker) = (VecDeque::new(), None);
        Self {
            inner: RefCell::new(Inner {
                missing,
                standing: None,
                refused: None,
                queue,
                queued_bytes: 0,
                merge,
                behind: Vec::new(),
                taken: 0,
                taken_bytes: 0,
                stalled: (0, 0),
                blocked: 0,
                heavy: 0,
                past: 0,
                tally,
                counted: 0,
                cut: false,
                announced: false,
                waker,
            }),
        }
    }

    /// One executor has registered the watch, or refused it.
    pub(super) fn answer(&self, registered: Registration) {
        let mut inner = self.inner.borrow_mut();
        inner.missing -= 1;
        if let (Some(merge), Ok(standing)) = (&mut inner.merge, &registered) {
            merge.registered(standing);
            inner.count();
        }
        if let Err((cleared, index)) = registered {
            let (newest, shown) = inner.refused.unwrap_or((cleared, index));
            let newest = if newest.oldest < cleared.oldest { cleared } else { newest };
            inner.refused = Some((newest, shown.max(index)));
        }
        if inner.missing == 0 {
            inner.settle(registered.ok());
        }
        inner.wake();
    }

    /// An event from one of the executors. `share`: how many it may hold, if all watches together hold too many. False: the client does
    /// not keep up, nothing more is wanted.
    pub(super) fn event(&self, index: Index, body: Bytes, share: Option<usize>) -> bool {
        let mut inner = self.inner.borrow_mut();
        inner.take_in(index, body);
        if share.is_some_and(|share| inner.backlog().1 > share) {
            inner.cut_off();
        }
        !inner.cut
    }

    /// As [`Feed::event`], of one that happened before the watch began: it was asked for.
    pub(super) fn past_event(&self, index: Index, body: Bytes) -> bool {
        let mut inner = self.inner.borrow_mut();
        inner.past += 1;
        inner.take_in(index, body);
        !inner.cut
    }

    /// Everything of `executor` up to `upto` has arrived; with `None` all of its past, and it goes on live.
    pub(super) fn replayed(&self, executor: usize, upto: Option<Index>) {
        let mut inner = self.inner.borrow_mut();
        inner.behind.retain(|behind| behind.executor != executor);
        inner.behind.extend(upto.map(|upto| Behind { executor, upto, asked: false }));
        inner.wake();
    }

    /// Whether its connection is to be woken for its events, with others in their turn. Who has many is woken now.
    pub(super) fn announce(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        if inner.queue.len() >= GATHERED_MAX {
            inner.wake();
        }
        let waits = inner.waker.is_some() && !inner.queue.is_empty();
        waits && !std::mem::replace(&mut inner.announced, true)
    }

    /// It is its turn.
    pub(super) fn wake(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.announced = false;
        if !inner.queue.is_empty() {
            inner.wake();
        }
    }

    /// The executor that should give more of the past now, if one should: that which is farthest back.
    pub(super) fn ask(&self) -> Option<usize> {
        let mut inner = self.inner.borrow_mut();
        if !inner.wants_past() {
            return None;
        }
        let farthest = inner.behind.iter_mut().min_by_key(|behind| behind.upto)?;
        farthest.asked = true;
        Some(farthest.executor)
    }

    /// The client did not keep up with what is forgotten.
    pub(super) fn cut(&self) {
        self.inner.borrow_mut().cut_off();
    }

    /// Events that wait.
    pub(super) fn waiting_events(&self) -> usize {
        self.inner.borrow().backlog().1
    }

    /// Bytes of them.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.inner.borrow().backlog().0
    }

    /// Another round of the ticker. False: the client takes nothing, or little, although too much is waiting; it is cut off.
    pub(super) fn tick(&self, allowed: Allowed) -> bool {
        let mut inner = self.inner.borrow_mut();
        let (bytes, events) = inner.backlog();
        let (before, rounds) = inner.stalled;
        let taken = (inner.taken - before) as usize;
        let too_much = bytes > FEED_BYTES_MAX || events > FEED_EVENTS_MAX;
        // Whoever waits for its turn can be woken; who can not has a write under way.
        let has_write = inner.missing == 0 && inner.waker.is_none();
        let is_stalled = taken == 0 && has_write && too_much;
        inner.stalled = (inner.taken, if is_stalled { rounds + 1 } else { 0 });
        let beyond = |held: usize, taken: usize, share: Option<usize>| {
            has_write && share.is_some_and(|share| held > share && taken <= share / TAKES_LITTLE)
        };
        let taken_bytes = std::mem::take(&mut inner.taken_bytes);
        inner.blocked = if beyond(events, taken, allowed.events) { inner.blocked + 1 } else { 0 };
        inner.heavy =
            if beyond(bytes, taken_bytes, allowed.bytes) { inner.heavy + 1 } else { inner.heavy.saturating_sub(1) };
        let is_blocked = inner.blocked >= BLOCKED_ROUNDS_MAX || inner.heavy >= HEAVY_ROUNDS_MAX;
        if (inner.stalled.1 >= STALLED_ROUNDS_MAX || is_blocked) && !inner.cut {
            inner.cut_off();
        }
        !inner.cut
    }

    /// Everything up to `complete` has arrived from all executors: releases it in order.
    pub(super) fn release(&self, complete: Index) {
        let mut inner = self.inner.borrow_mut();
        if inner.missing > 0 {
            return;
        }
        let past = inner.behind.iter().map(|behind| behind.upto).min();
        let complete = past.map_or(complete, |past| past.min(complete));
        while let Some(merge) = &mut inner.merge {
            if merge.waiting.peek().is_none_or(|Reverse((index, _))| *index > complete) {
                break;
            }
            let Some(Reverse((_, body))) = merge.waiting.pop() else { break };
            merge.waiting_bytes -= body.len();
            inner.queue(body);
        }
        // The events are in the queue, which takes memory of its own.
        if let Some(merge) = inner.merge.as_mut().filter(|merge| merge.waiting.is_empty()) {
            merge.waiting.shrink_to(MERGE_KEPT);
        }
    }

    /// What there is for the connection.
    pub(crate) fn next(&self) -> Option<Next> {
        let mut inner = self.inner.borrow_mut();
        if let Some(standing) = inner.standing.take() {
            return Some(standing.map_or_else(Next::Refused, Next::Standing));
        }
        if inner.missing > 0 && !inner.cut {
            return None;
        }
        if let Some(event) = inner.queue.pop_front() {
            inner.queued_bytes -= event.len();
            inner.taken += 1;
            inner.taken_bytes += event.len();
            // What is past is the oldest.
            let when = if inner.past > 0 { When::Past } else { When::Now };
            inner.past = inner.past.saturating_sub(1);
            inner.count();
            return Some(Next::Event(event, when));
        }
        inner.cut.then_some(Next::Cut)
    }

    /// Whether [`Feed::next`] has something.
    pub(crate) fn is_ready(&self) -> bool {
        let inner = self.inner.borrow();
        inner.standing.is_some() || inner.cut || inner.missing == 0 && !inner.queue.is_empty() || inner.wants_past()
    }

    /// Whether the head, or an event that was there when it was asked for, is still to come.
    pub(crate) fn owes(&self) -> bool {
        let inner = self.inner.borrow();
        let gathered = inner.merge.as_ref().and_then(|merge| Some((merge.waiting.peek()?, merge.standing.index)));
        let unreleased = gathered.is_some_and(|(Reverse((index, _)), standing)| *index <= standing);
        !inner.cut && (inner.missing > 0 || unreleased)
    }

    /// Whom to wake when there is something.
    pub(crate) fn register(&self, waker: &Waker) {
        self.inner.borrow_mut().waker = Some(waker.clone());
    }
}

impl Merge {
    /// An executor has registered the watch.
    fn registered(&mut self, at: &Standing) {
        if !self.now || at.index <= self.standing.index {
            return;
        }
        self.standing.index = at.index;
        self.waiting.retain(|Reverse((index, _))| *index > at.index);
        self.waiting_bytes = self.waiting.iter().map(|Reverse((_, body))| body.len()).sum();
    }

    /// An event from before the watch.
    fn leaves_out(&self, index: Index) -> bool {
        self.now && index <= self.standing.index
    }
}

impl Inner {
    /// All executors have answered, the last one with `standing` if it has registered the watch.
    fn settle(&mut self, standing: Option<Standing>) {
        let standing = self.merge.as_ref().map(|merge| merge.standing).or(standing);
        self.standing = match (self.refused, standing) {
            (Some((cleared, index)), _) => Some(Err(deliver::refused(&cleared.into(), index))),
            (None, standing) => standing.map(Ok),
        };
    }

    /// The client has nearly run out, and the part of the past that would come next is not on its way.
    fn wants_past(&self) -> bool {
        let farthest = self.behind.iter().min_by_key(|behind| behind.upto);
        let idle = self.missing == 0 && !self.cut && self.queued_bytes < LOW_WATER;
        idle && farthest.is_some_and(|farthest| !farthest.asked)
    }

    fn take_in(&mut self, index: Index, body: Bytes) {
        if self.cut {
            return;
        }
        match &mut self.merge {
            Some(merge) if merge.leaves_out(index) => {}
            Some(merge) => {
                merge.waiting_bytes += body.len();
                merge.waiting.push(Reverse((index, body)));
            }
            None => self.queue(body),
        }
        let (bytes, events) = self.backlog();
        if bytes > FEED_BYTES_CEILING && events > 1 {
            self.cut_off();
        }
        self.count();
    }

    /// Whenever events have come or gone.
    fn count(&mut self) {
        let waiting = self.backlog().1.saturating_sub(self.past);
        self.tally.moves(self.counted, waiting);
        self.counted = waiting;
    }

    fn queue(&mut self, body: Bytes) {
        self.queued_bytes += body.len();
        self.queue.push_back(body);
    }

    /// Bytes and number of the events that wait.
    fn backlog(&self) -> (usize, usize) {
        let (bytes, events) = self.merge.as_ref().map_or((0, 0), |merge| (merge.waiting_bytes, merge.waiting.len()));
        (self.queued_bytes + bytes, self.queue.len() + events)
    }

    /// What the client has not taken is dropped: it resumes from the last event that it has seen.
    fn cut_off(&mut self) {
        self.cut = true;
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        if let Some(merge) = &mut self.merge {
            merge.waiting = BinaryHeap::new();
            merge.waiting_bytes = 0;
        }
        self.count();
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tally.moves(self.counted, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(feed: &Feed) -> Vec<Bytes> {
        std::iter::from_fn(|| feed.next())
            .filter_map(|next| if let Next::Event(body, _) = next { Some(body) } else { None })
            .collect()
    }

    fn events_allowed(events: usize) -> Allowed {
        Allowed { events: Some(events), bytes: None }
    }

    fn registered(feed: &Feed) {
        feed.answer(Ok(Standing::default()));
    }

    #[test]
    fn events_of_several_executors_leave_in_index_order_and_not_before_they_are_complete() {
        let feed = Feed::spread(2, Standing::default(), false, Tally::default());
        registered(&feed);
        feed.event(Index(7), Bytes::from_static(b"7"), None);
        feed.release(Index(9));
        assert!(events(&feed).is_empty(), "the other executor has not registered the watch");
        registered(&feed);
        feed.event(Index(5), Bytes::from_static(b"5"), None);
        feed.release(Index(6));
        assert_eq!(events(&feed), ["5"]);
        feed.release(Index(7));
        assert_eq!(events(&feed), ["7"]);
    }

    #[test]
    fn a_watch_owes_its_head_and_what_had_happened_before_it() {
        let feed = Feed::spread(2, Standing { index: Index(6), ..Standing::default() }, false, Tally::default());
        registered(&feed);
        feed.event(Index(5), Bytes::from_static(b"5"), None);
        assert!(feed.owes(), "the other executor has not answered");
        registered(&feed);
        assert!(feed.owes(), "the event is not released yet");
        feed.release(Index(6));
        feed.event(Index(7), Bytes::from_static(b"7"), None);
        assert!(!feed.owes(), "what came later is not owed");
        assert_eq!(events(&feed), ["5"]);
    }

    #[test]
    fn a_watch_from_now_begins_where_the_last_executor_registered_it() {
        let feed = Feed::spread(2, Standing::default(), true, Tally::default());
        let registered_at = |index| feed.answer(Ok(Standing { index, ..Standing::default() }));
        registered_at(Index(4));
        feed.event(Index(6), Bytes::from_static(b"6"), None);
        registered_at(Index(7));
        feed.event(Index(7), Bytes::from_static(b"7"), None);
        feed.event(Index(8), Bytes::from_static(b"8"), None);
        feed.release(Index(8));
        assert!(matches!(feed.next(), Some(Next::Standing(standing)) if standing.index == Index(7)));
        assert_eq!(events(&feed), ["8"]);
    }

    #[test]
    fn a_client_that_does_not_keep_up_is_cut_off_and_told_so() {
        let feed = Feed::single(Tally::default());
        registered(&feed);
        let big = Bytes::from(vec![b'x'; 1 << 20]);
        for n in 0..10 {
            assert!(feed.event(Index(n), big.clone(), None), "a burst alone is no reason");
        }
        assert!(matches!(feed.next(), Some(Next::Standing(_))));
        assert!(
            feed.tick(Allowed::default()) && matches!(feed.next(), Some(Next::Event(..))),
            "it takes one now and then"
        );
        let kept = (0..=STALLED_ROUNDS_MAX).filter(|_| feed.tick(Allowed::default())).count();
        assert_eq!(kept as u64, STALLED_ROUNDS_MAX);
        assert!(matches!(feed.next(), Some(Next::Cut)));
    }

    #[test]
    fn where_all_hold_too_much_who_does_not_read_is_cut_off_beyond_its_share() {
        let feed_with = |events: u64| {
            let feed = Feed::single(Tally::default());
            registered(&feed);
            (0..events).for_each(|n| assert!(feed.event(Index(n), Bytes::from_static(b"x"), None)));
            feed
        };
        let rounds = |feed: &Feed| (0..10).take_while(|_| feed.tick(events_allowed(8))).count() as u64;
        assert_eq!(rounds(&feed_with(9)), BLOCKED_ROUNDS_MAX - 1, "in the second round");
        assert_eq!(rounds(&feed_with(8)), 10, "no more than its share");
        let in_turn = feed_with(9);
        in_turn.register(Waker::noop());
        assert_eq!(rounds(&in_turn), 10, "it waits for its turn");
    }

    #[test]
    fn where_all_hold_too_many_bytes_who_takes_few_of_more_than_its_share_is_cut_off() {
        let allowed = Allowed { events: None, bytes: Some(800) };
        let kept = |bytes: usize, takes: bool| {
            let feed = Feed::single(Tally::default());
            registered(&feed);
            assert!(matches!(feed.next(), Some(Next::Standing(_))));
            (0..10).for_each(|n| assert!(feed.event(Index(n), Bytes::from(vec![b'x'; bytes / 10]), None)));
            let take = |feed: &Feed| !takes || feed.next().is_some();
            (0..8).take_while(|_| take(&feed) && feed.tick(allowed)).count() as u64
        };
        assert_eq!(kept(1000, false), HEAVY_ROUNDS_MAX - 1);
        assert_eq!(kept(800, false), 8, "no more than its share");
        assert_eq!(kept(10_000, true), 8, "it comes down to its share soon");
    }

    #[test]
    fn who_reads_little_of_far_too_much_is_cut_off_as_well() {
        let kept = |takes: usize| {
            let feed = Feed::single(Tally::default());
            registered(&feed);
            assert!(matches!(feed.next(), Some(Next::Standing(_))));
            (0..10_000).for_each(|n| assert!(feed.event(Index(n), Bytes::from_static(b"x"), None)));
            let taken = |feed: &Feed| (0..takes).filter(|_| feed.next().is_some()).count() == takes;
            (0..10).take_while(|_| taken(&feed) && feed.tick(events_allowed(800))).count() as u64
        };
        assert_eq!(kept(100), BLOCKED_ROUNDS_MAX - 1);
        assert_eq!(kept(101), 10, "it needs no second to come down to its share");
    }

    #[test]
    fn with_too_much_waiting_everywhere_an_event_beyond_the_share_is_the_last() {
        let feed = Feed::single(Tally::default());
        registered(&feed);
        assert!(feed.event(Index(1), Bytes::from_static(b"x"), Some(2)));
        assert!(feed.event(Index(2), Bytes::from_static(b"x"), Some(2)));
        assert!(!feed.event(Index(3), Bytes::from_static(b"x"), Some(2)));
    }

    #[test]
    fn what_waits_is_counted_but_for_the_past() {
        let tally = Tally::default();
        let feed = Feed::spread(2, Standing::default(), false, tally.clone());
        let other = Feed::single(tally.clone());
        assert!(other.event(Index(4), Bytes::from_static(b"4"), None));
        registered(&feed);
        registered(&feed);
        assert!(feed.past_event(Index(3), Bytes::from_static(b"3")));
        assert!(feed.event(Index(5), Bytes::from_static(b"5"), None));
        assert!(feed.event(Index(6), Bytes::from_static(b"6"), None));
        assert_eq!(tally.get(), 3);
        feed.release(Index(5));
        assert_eq!((events(&feed), tally.get()), (vec![Bytes::from_static(b"3"), Bytes::from_static(b"5")], 2));
        feed.cut();
        assert_eq!(tally.get(), 1);
        drop((feed, other));
        assert_eq!(tally.get(), 0);
    }

    #[test]
    fn the_past_comes_as_the_client_takes_it_and_in_order() {
        let feed = Feed::spread(2, Standing::default(), false, Tally::default());
        feed.replayed(0, Some(Index(4)));
        feed.event(Index(3), Bytes::from_static(b"3"), None);
        registered(&feed);
        feed.event(Index(5), Bytes::from_static(b"5"), None);
        registered(&feed);
        feed.release(Index(9));
        assert_eq!(feed.ask(), Some(0), "nothing is there that could not be followed by more");
        assert_eq!(feed.ask(), None, "it is on its way");
        assert_eq!(events(&feed), ["3"], "5 may not be the next one");
        feed.event(Index(7), Bytes::from_static(b"7"), None);
        feed.replayed(0, None);
        feed.release(Index(9));
        assert_eq!((events(&feed), feed.ask()), (vec![Bytes::from_static(b"5"), Bytes::from_static(b"7")], None));
    }

    #[test]
    fn a_client_that_has_enough_is_given_no_more_of_the_past() {
        let feed = Feed::single(Tally::default());
        feed.replayed(0, Some(Index(4)));
        registered(&feed);
        feed.event(Index(3), Bytes::from(vec![b'x'; LOW_WATER]), None);
        assert_eq!(feed.ask(), None);
        assert_eq!(events(&feed).len(), 1);
        assert_eq!(feed.ask(), Some(0));
    }

    #[test]
    fn one_event_of_any_size_is_delivered() {
        let feed = Feed::single(Tally::default());
        registered(&feed);
        assert!(feed.event(Index(1), Bytes::from(vec![b'x'; FEED_BYTES_CEILING + 1]), None));
        assert!(matches!((feed.next(), feed.next()), (Some(Next::Standing(_)), Some(Next::Event(..)))));
    }

    #[test]
    fn a_refusal_names_what_all_shards_can_serve_whoever_answers_first() {
        let refuses = |oldest, shown| {
            let cleared = Cleared { oldest: Index(oldest), since: Index(2) };
            Err((cleared, Index(shown)))
        };
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let feed = Feed::spread(3, Standing::default(), false, Tally::default());
            for (at, who) in order.into_iter().enumerate() {
                assert!(feed.next().is_none(), "only {at} have answered");
                feed.answer(match who {
                    0 => Ok(Standing::default()),
                    1 => refuses(7, 8),
                    _ => refuses(5, 9),
                });
            }
            let Some(Next::Refused(answer)) = feed.next() else { panic!("{order:?}: not refused") };
            let body = String::from_utf8(answer.body).expect("JSON");
            assert!(body.contains("[7/2]") && body.contains(r#""index":9"#), "{order:?}: {body}");
            assert_eq!((answer.status, answer.index), (400, Index(9)));
        }
    }
}
