//! One order: the node-wide atomics through which independent raft logs become one total order of changes.
//!
//! A shard takes indices from [`Order::take`], publishes what is not yet committed, and everybody shows only what is
//! at or below [`Order::visible`]. The argument why this is a prefix of the total order at every moment:
//!
//! * An index exists only after `seq` has been raised past it, and the lower bound in `pending` was stored *before*.
//! * [`Order::raise`] reads `seq` first and `pending` second. If it saw the index in `seq`, it also sees the bound (or
//!   the batch has been committed since); if it did not, the index is above what it raises to.
//!
//! All accesses are sequentially consistent: the argument needs one order over several variables, and they are touched
//! once per turn, not once per request. See `docs/one-order.md`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use crossbeam::utils::CachePadded;
use mutant::Mutant;

use crate::ids::{Index, RaftIndex, ShardId};

/// "No such batch": above every index.
const NONE: u64 = u64::MAX;

type Cell = CachePadded<AtomicU64>;

/// The one-order atomics of one node, shared by its executors.
///
/// Invariants: `visible` and `reached[g]` only grow, and so does `seq` while a regime is open; `visible <= seq` on a
/// primary; `pending[g]`, `unapplied[g]` and `reached[g]` are written by the executor that owns shard `g` alone.
#[derive(Debug)]
pub struct Order {
    /// Highest index handed out (primary), or known to exist.
    seq: Cell,
    /// Everything at or below this is committed and may be shown.
    visible: Cell,
    /// Lowest bit: a regime is open, this node may take indices and raise `visible` by itself. The rest counts closings.
    regime: Cell,
    /// Per shard: first index of the oldest batch that is not committed, or a lower bound of it.
    pending: Box<[Cell]>,
    /// Per shard: first index of the oldest batch that is not applied and handed to watchers, or a lower bound of it.
    unapplied: Box<[Cell]>,
    /// Per shard: the highest frontier whose part of the shard is committed on this node.
    reached: Box<[Cell]>,
    /// Per shard: position of its last committed entry.
    committed: Box<[Cell]>,
    /// A reader that needs one cut across executors keeps `visible` at or below this.
    held: Cell,
    /// A hold has ended, and nobody has raised `visible` since.
    owed: CachePadded<AtomicBool>,
    /// Per executor: it is between reading `held` and raising `visible`.
    raising: Box<[CachePadded<AtomicBool>]>,
}

/// The state of the regime word when a round of confirmations began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u64);

fn cells(n: usize, of: u64) -> Box<[Cell]> {
    (0..n).map(|_| Cell::new(AtomicU64::new(of))).collect()
}

fn least(cells: &[Cell]) -> u64 {
    cells.iter().map(|c| c.load(SeqCst)).min().unwrap_or(NONE)
}

fn greatest(cells: &[Cell]) -> u64 {
    cells.iter().map(|c| c.load(SeqCst)).max().unwrap_or(0)
}

impl Order {
    /// Atomics for `shards` shards on `executors` executors, with everything up to `visible` already shown.
    pub fn new(shards: usize, executors: usize, visible: Index) -> Self {
        Self {
            seq: Cell::new(AtomicU64::new(visible.0)),
            visible: Cell::new(AtomicU64::new(visible.0)),
            regime: Cell::new(AtomicU64::new(0)),
            pending: cells(shards, NONE),
            unapplied: cells(shards, NONE),
            reached: cells(shards, visible.0),
            committed: cells(shards, 0),
            held: Cell::new(AtomicU64::new(NONE)),
            owed: CachePadded::new(AtomicBool::new(false)),
            raising: (0..executors).map(|_| CachePadded::new(AtomicBool::new(false))).collect(),
        }
    }

    /// The prefix of the total order that this node shows.
    pub fn visible(&self) -> Index {
        Index(self.visible.load(SeqCst))
    }

    /// Whether this node may propose: it is the primary and its regime is open.
    pub fn is_open(&self) -> bool {
        self.regime.load(SeqCst) & 1 == 1
    }

    /// What [`Order::open`] asks for: proof that nothing was lost since. Taken before the confirming round begins.
    pub fn token(&self) -> Token {
        Token(self.regime.load(SeqCst) & !1)
    }

    /// Opens a regime, unless a group was lost since `token` was taken. `top` is the highest index in any of this
    /// node's logs, committed or not.
    ///
    /// Only after every group was confirmed by a quorum round begun after all of them were led (see [`crate::regime`]).
    /// Indices go on above `top` exactly: those that an earlier regime of this node handed out and that were lost are
    /// handed out again. If they were skipped, `visible` could pass them with nothing in any log to tell that to the next
    /// primary. Nobody takes any meanwhile: whoever saw the earlier regime open has answered the round since.
    #[must_use]
    pub fn open(&self, token: Token, top: Index) -> bool {
        assert!(self.visible() <= top, "shown up to {}, but the logs of all groups end at {top}", self.visible());
        let skipped = if mutant::is(Mutant::SkippedIndices) { 3 } else { 0 };
        self.seq.store(top.0 + skipped, SeqCst);
        if mutant::is(Mutant::SpoiledRegimeOpens) {
            self.regime.fetch_or(1, SeqCst);
        }
        self.regime.compare_exchange(token.0, token.0 | 1, SeqCst, SeqCst).is_ok()
    }

    /// Closes the regime, or spoils one that is about to open: nothing is proposed and `visible` stays where it is.
    ///
    /// Called by an executor at once when one of its groups is not led any more.
    pub fn close(&self) {
        if mutant::is(Mutant::RegimeGoesOn) {
            return;
        }
        let _ = self.regime.fetch_update(SeqCst, SeqCst, |word| Some((word & !1) + 2));
    }

    /// Takes `count` consecutive indices for batches of `shards`; returns the first.
    ///
    /// Step one of a proposal. The caller owns `shards`, has checked that it may propose to each of them, and calls
    /// [`Order::publish_uncommitted`] for each right after.
    pub fn take(&self, count: u64, shards: impl Iterator<Item = ShardId>) -> Index {
        assert!(count > 0, "a proposal takes at least one index");
        let bound = self.seq.load(SeqCst) + 1;
        for shard in shards {
            lower(&self.pending[usize::from(shard.0)], bound);
            lower(&self.unapplied[usize::from(shard.0)], bound);
        }
        Index(self.seq.fetch_add(count, SeqCst) + 1)
    }

    /// Publishes the position of `shard`'s last committed entry. *Before* [`Order::publish_uncommitted`] says that its batch
    /// is committed: whoever raises `visible` because of that tells the other members the position.
    pub fn publish_committed(&self, shard: ShardId, position: RaftIndex) {
        self.committed[usize::from(shard.0)].store(position.0, SeqCst);
    }

    /// A position of `shard`'s log up to which everything at or below a `visible` that was read *before* this call is
    /// committed.
    pub fn committed(&self, shard: ShardId) -> RaftIndex {
        RaftIndex(self.committed[usize::from(shard.0)].load(SeqCst))
    }

    /// Publishes the exact first index of `shard`'s oldest uncommitted batch (`None`: all are committed).
    ///
    /// Called by the shard's owner right after proposing, and whenever the oldest one has been committed.
    pub fn publish_uncommitted(&self, shard: ShardId, first: Option<Index>) {
        let first = first.filter(|_| !mutant::is(Mutant::PendingNotCounted));
        self.pending[usize::from(shard.0)].store(first.map_or(NONE, |i| i.0), SeqCst);
    }

    /// First index of the oldest batch of any shard that is not committed.
    pub fn oldest_uncommitted(&self) -> Option<Index> {
        let oldest = least(&self.pending);
        (oldest != NONE).then_some(Index(oldest))
    }

    /// Publishes the first index of `shard`'s oldest batch that is not applied (`None`: all are), *after* the events of
    /// the applied ones were put into the queues of everybody who watches.
    pub fn publish_unapplied(&self, shard: ShardId, first: Option<Index>) -> bool {
        let first = first.map_or(NONE, |i| i.0);
        let cell = &self.unapplied[usize::from(shard.0)];
        let moved = cell.load(SeqCst) != first;
        if moved {
            cell.store(first, SeqCst);
        }
        moved
    }

    /// `shard` has got batches from `first` on that it has to apply. Publishes that before anybody can be told that they
    /// are committed: those found in the log at a start were not taken from this order.
    pub fn note_unapplied(&self, shard: ShardId, first: Option<Index>) {
        if let Some(first) = first {
            lower(&self.unapplied[usize::from(shard.0)], first.0);
        }
    }

    /// Whether the owner of `shard` still has to apply something at or below `visible`.
    pub fn is_unapplied(&self, shard: ShardId, visible: Index) -> bool {
        self.unapplied[usize::from(shard.0)].load(SeqCst) <= visible.0
    }

    /// `shard` has committed on this node what a frontier at `upto` asks of it (see [`crate::shard::Shard::reached`]).
    /// After [`Order::note_unapplied`] for the batches concerned.
    pub fn publish_reached(&self, shard: ShardId, upto: Index) {
        self.reached[usize::from(shard.0)].fetch_max(upto.0, SeqCst);
    }

    /// Raises `visible` as far as the rules allow; returns the new value if it moved.
    ///
    /// There are two rules. A primary, its regime open, knows by itself what is committed. Everybody else goes by
    /// frontiers: each says that every index at or below it is committed or will never exist, which stays true whoever
    /// leads; and where every shard has committed its part of some frontier, it has that of the lowest of them.
    ///
    /// `executor` is the caller's own slot: a reader waits for it to leave this function (see [`Order::hold`]).
    pub fn raise(&self, executor: usize) -> Option<Index> {
        let owed = self.owed.load(SeqCst);
        let open = self.is_open();
        self.raising[executor].store(true, SeqCst);
        // Read `seq` before `pending`, or a batch can slip between the two.
        let seq = self.seq.load(SeqCst);
        let bound = least(&self.pending);
        let held = self.held.load(SeqCst);
        let below = if mutant::is(Mutant::VisibleOneTooHigh) { bound } else { bound - 1 };
        let own = if open { seq.min(below) } else { 0 };
        let reached =
            if mutant::is(Mutant::ReachedByOneShard) { greatest(&self.reached) } else { least(&self.reached) };
        let to = own.max(reached).min(held);
        let moved = to > self.visible.load(SeqCst) && self.visible.fetch_max(to, SeqCst) < to;
        self.raising[executor].store(false, SeqCst);
        if owed && held == NONE {
            self.owed.store(false, SeqCst);
        }
        moved.then_some(Index(to))
    }

    /// Everything up to here is applied and handed to watchers on every executor of this node.
    ///
    /// A watch over several shards may release an event once its index is at or below this, provided that it drains
    /// its queues *after* this call.
    pub fn complete(&self) -> Index {
        let visible = self.visible.load(SeqCst);
        if mutant::is(Mutant::CompleteTooEarly) {
            return Index(visible);
        }
        Index(visible.min(least(&self.unapplied) - 1))
    }

    /// Asks `visible` to stay where it is on behalf of a reader; the cut is [`Hold::settled`].
    ///
    /// One hold at a time, and between two of them `visible` gets its turn: readers that take turns must not keep it from
    /// growing. On `None` ask again later, after a turn.
    pub fn hold(&self) -> Option<Hold<'_>> {
        if self.owed.load(SeqCst) {
            return None;
        }
        let at = self.visible.load(SeqCst);
        let got = self.held.compare_exchange(NONE, at, SeqCst, SeqCst).is_ok();
        got.then(|| Hold { order: self })
    }
}

fn lower(cell: &Cell, bound: u64) {
    if bound < cell.load(SeqCst) {
        cell.store(bound, SeqCst);
    }
}

/// Keeps `visible` from growing until it is dropped, so that every executor can hand out its part of one cut.
#[derive(Debug)]
pub struct Hold<'a> {
    order: &'a Order,
}

impl Hold<'_> {
    /// The index at which `visible` stands still, once no executor is in the middle of a raise that began earlier.
    ///
    /// Ask again later on `None`; a raise takes well under a microsecond.
    pub fn settled(&self) -> Option<Index> {
        // A raise that read `held` before ours was stored may still land. Those that begin now see it.
        let busy = self.order.raising.iter().any(|flag| flag.load(SeqCst));
        (!busy).then(|| self.order.visible())
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.order.owed.store(true, SeqCst);
        self.order.held.store(NONE, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShardId = ShardId(0);
    const B: ShardId = ShardId(1);

    fn publish(order: &Order, shard: ShardId, uncommitted: Option<Index>, unapplied: Option<Index>) {
        order.publish_uncommitted(shard, uncommitted);
        order.publish_unapplied(shard, unapplied);
    }

    fn open(shards: usize) -> Order {
        let order = Order::new(shards, 2, Index(10));
        assert!(order.open(order.token(), Index(10)));
        order
    }

    #[test]
    fn a_closed_regime_shows_nothing_new() {
        let order = Order::new(1, 1, Index(3));
        assert_eq!(order.raise(0), None);
        assert!(order.open(order.token(), Index(7)));
        assert_eq!(order.raise(0), Some(Index(7)));
        order.close();
        assert_eq!(order.raise(0), None);
        assert_eq!(order.visible(), Index(7));
    }

    #[test]
    fn a_follower_shows_what_every_shard_has_reached() {
        let order = Order::new(2, 1, Index(3));
        order.publish_reached(A, Index(9));
        assert_eq!(order.raise(0), None);
        order.publish_reached(B, Index(7));
        assert_eq!(order.raise(0), Some(Index(7)));
        order.publish_reached(B, Index(5));
        assert_eq!((order.raise(0), order.visible()), (None, Index(7)));
    }

    #[test]
    fn indices_lost_with_a_regime_are_never_shown_as_skipped() {
        let order = open(1);
        let first = order.take(5, [A].into_iter());
        publish(&order, A, Some(first), Some(first));
        order.close();
        // Another leader overrode them; later this node opens again, its logs ending where they did before.
        publish(&order, A, None, None);
        assert!(order.open(order.token(), Index(10)));
        assert_eq!(order.raise(0), None);
        assert_eq!(order.take(1, [A].into_iter()), Index(11));
    }

    #[test]
    fn a_loss_during_the_confirming_round_spoils_the_opening() {
        let order = Order::new(1, 1, Index(0));
        let token = order.token();
        order.close();
        assert!(!order.open(token, Index(5)));
        assert!(!order.is_open());
        assert!(order.open(order.token(), Index(5)));
    }

    #[test]
    fn visible_stops_below_the_oldest_uncommitted_batch() {
        let order = open(2);
        let a = order.take(3, [A].into_iter());
        publish(&order, A, Some(a), Some(a));
        let b = order.take(2, [B].into_iter());
        publish(&order, B, Some(b), Some(b));
        assert_eq!((a, b), (Index(11), Index(14)));
        assert_eq!(order.raise(0), None);
        publish(&order, B, None, Some(b));
        assert_eq!(order.raise(0), None, "shard B is committed, but A's older batch is not");
        publish(&order, A, None, Some(a));
        assert_eq!(order.raise(1), Some(Index(15)));
    }

    #[test]
    fn a_lower_bound_holds_visible_between_the_two_steps() {
        let order = open(2);
        let first = order.take(1, [A].into_iter());
        assert_eq!(order.raise(0), None, "the batch has an index but is not published exactly yet");
        publish(&order, A, Some(first), Some(first));
        assert_eq!(order.raise(0), None);
    }

    #[test]
    fn completeness_waits_for_what_is_not_handed_out() {
        let order = open(2);
        let first = order.take(2, [A].into_iter());
        publish(&order, A, None, Some(first));
        assert_eq!(order.raise(0), Some(Index(12)));
        assert_eq!(order.complete(), Index(10));
        publish(&order, A, None, None);
        assert_eq!(order.complete(), Index(12));
    }

    #[test]
    fn a_hold_keeps_one_cut_until_dropped() {
        let order = open(1);
        let hold = order.hold().expect("nobody holds it");
        assert_eq!(hold.settled(), Some(Index(10)));
        let first = order.take(1, [A].into_iter());
        publish(&order, A, None, Some(first));
        assert_eq!(order.raise(0), None);
        drop(hold);
        assert_eq!(order.raise(0), Some(Index(11)));
    }

    #[test]
    fn readers_that_take_turns_let_visible_grow_in_between() {
        let order = open(1);
        let first = order.hold().expect("nobody holds it");
        assert!(order.hold().is_none(), "one at a time");
        let at = order.take(1, [A].into_iter());
        publish(&order, A, None, Some(at));
        drop(first);
        assert!(order.hold().is_none(), "`visible` has its turn first");
        assert_eq!(order.raise(1), Some(Index(11)));
        assert_eq!(order.hold().and_then(|hold| hold.settled()), Some(Index(11)));
    }

    #[test]
    fn racing_executors_never_show_an_uncommitted_index() {
        use std::sync::atomic::AtomicU64;
        const ROUNDS: u64 = 20_000;
        let order = Order::new(4, 4, Index(0));
        assert!(order.open(order.token(), Index(0)));
        // Per shard: the highest index that is committed, stored before it is published as such.
        let uncommitted: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(u64::MAX)).collect();
        std::thread::scope(|scope| {
            for me in 0..4u16 {
                let (order, uncommitted) = (&order, &uncommitted);
                scope.spawn(move || {
                    let shard = ShardId(me);
                    for _ in 0..ROUNDS {
                        let first = order.take(1, [shard].into_iter());
                        uncommitted[usize::from(me)].store(first.0, SeqCst);
                        publish(order, shard, Some(first), Some(first));
                        assert!(order.visible() < first);
                        uncommitted[usize::from(me)].store(u64::MAX, SeqCst);
                        publish(order, shard, None, None);
                        order.raise(usize::from(me));
                        let visible = order.visible().0;
                        for other in uncommitted {
                            assert!(other.load(SeqCst) > visible);
                        }
                    }
                });
            }
        });
        assert_eq!(order.raise(0).unwrap_or(order.visible()), Index(4 * ROUNDS));
    }
}
