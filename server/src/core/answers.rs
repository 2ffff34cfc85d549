//! Large answers: they count until their client has taken them, and a read finds room for its answer where that goes, or is refused.
//!
//! What a change is answered is never held back or left out: it has been carried out. It may be much larger than the request; so a connection
//! has many changes under way only after it was answered many times with little (`Session::window`).

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

use super::budget::{Budget, Share};
use super::message::Answer;
use super::ticket::Ticket;
use super::{Core, Inner, Node};
use crate::body::Pace;

/// Answers up to this long are not counted: the requests that they are answers to are.
const COUNTED_BYTES: usize = 2 << 10;
/// Answers up to this long are never refused.
pub(crate) const SMALL_BYTES: usize = 64 << 10;

/// An answer in its connection's lane.
pub(crate) struct Filled {
    answer: Answer,
    /// What it holds until it is dropped.
    held: Option<Share>,
}

impl Filled {
    pub(crate) fn new(answer: Answer, budget: &Budget) -> Self {
        let bytes = counted_bytes(&answer);
        let held = (bytes > 0).then(|| Share::of(&budget.answers, bytes));
        Self { answer, held }
    }

    /// Gives it up together with what it holds.
    pub(crate) fn into_parts(self) -> (Answer, Option<Share>) {
        (self.answer, self.held)
    }
}

/// What an answer counts for.
pub(super) fn counted_bytes(answer: &Answer) -> usize {
    let bytes = match answer {
        Answer::Keys(keys) => keys.body.len(),
        Answer::Page(page) => page.body.len(),
        _ => 0,
    };
    if bytes > COUNTED_BYTES { bytes } else { 0 }
}

/// Bytes of a listing that is being put into words, on one executor or on all of them, for a client of one: counted until this is dropped.
#[derive(Debug)]
pub(crate) struct OnTheWay {
    /// The executor that it goes to.
    to: usize,
    under_way: Arc<[CachePadded<AtomicUsize>]>,
    bytes: AtomicUsize,
}

impl OnTheWay {
    /// To a client of executor `to`.
    pub(super) fn to(to: usize, node: &Node) -> Arc<Self> {
        Arc::new(Self { to, under_way: Arc::clone(&node.under_way), bytes: AtomicUsize::new(0) })
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Whoever finds it there finds it above as well: a listing must not take what another executor adds to it for somebody else's.
        self.under_way[self.to].fetch_add(bytes, Ordering::Release);
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        self.under_way[self.to].fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// What an executor puts into words of a listing: how long that becomes shows only then.
pub(crate) struct Encoding {
    core: Rc<Core>,
    listing: Arc<OnTheWay>,
    bytes: usize,
}

impl Encoding {
    /// Of a listing of which this is all, for a client of executor `to`.
    pub(crate) fn begin(core: &Rc<Core>, to: usize) -> Self {
        Self::part_of(OnTheWay::to(to, &core.node), core)
    }

    /// A part of one.
    pub(super) fn part_of(listing: Arc<OnTheWay>, core: &Rc<Core>) -> Self {
        Self { core: Rc::clone(core), listing, bytes: 0 }
    }
}

impl Pace for Encoding {
    async fn goes_on(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if !self.core.node.has_room_for(more, Some(&self.listing), self.listing.to, &self.core.budget) {
            self.core.count(|metrics| metrics.no_room.inc());
            return false;
        }
        self.listing.add(more);
        self.bytes += more;
        glommio::executor().yield_task_queue_now().await;
        true
    }
}

impl Core {
    /// Whether a read's answer of so many bytes finds room, for a client of this executor.
    pub(crate) fn has_room_for_answer(&self, bytes: usize) -> bool {
        self.node.has_room_for(bytes, None, self.me, &self.budget)
    }
}

impl Inner {
    /// Whether the answer to a read, of so many bytes, finds room where it goes.
    pub(super) fn finds_room(&self, ticket: Ticket, bytes: usize) -> bool {
        ticket.core().is_none_or(|to| self.node.has_room_for(bytes, None, to, &self.budget))
    }
}

impl Node {
    /// Whether `more` bytes of an answer find room among those that clients of executor `to` have not taken, and that are on their way to it,
    /// with what of the same `listing` is on its way already.
    fn has_room_for(&self, more: usize, listing: Option<&OnTheWay>, to: usize, budget: &Budget) -> bool {
        let under_way = |to: usize| self.under_way[to].load(Ordering::Acquire);
        let own = || listing.map_or(0, OnTheWay::bytes);
        let bytes = own() + more;
        // Its own part is looked at last: see `OnTheWay::add`.
        let here = (self.held_by_requests.answers(to) + under_way(to)).saturating_sub(own());
        let all = || {
            let all = self.held_by_requests.all_answers() + (0..self.cores()).map(under_way).sum::<usize>();
            all.saturating_sub(own())
        };
        bytes <= SMALL_BYTES || budget.answers.fits(bytes, here, all)
    }
}
