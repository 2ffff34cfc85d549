//! What waits for all watches of an executor together, and when changes wait for that.
//!
//! A change that ten thousand watch is ten thousand events. Writers can be so much faster than as many connections can be written
//! to that all memory is gone before any one watch holds too much. So the primary numbers nothing while too many events wait, on
//! whichever executor, or events of too many bytes ([`super::bodies`]), and has no more commands under way than such whose events find room. Another member, which does not decide what it is sent,
//! applies it in smaller parts, and none for a while, so that connections are written to in between. Who holds more than its share and does
//! not read is cut off within a few rounds (see [`super::feed`]): nobody holds the others up for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use shard::command::{Command, CommandRef};
use shard::shard::Shard;

use super::Inner;
use super::bodies::COUNTED_BYTES;
use super::ticker::rounds_in;

/// Events that may wait for all watches of an executor together, 32 or 40 bytes of memory each beside what they share. Beyond,
/// changes wait, and clients that hold more than their share and do not read are not given a second.
pub(super) const CROWDED: usize = 256 << 10;
/// The same with those that may come of the commands under way: what 64 writers make of 10,000 watchers, for the more a connection is sent
/// at a time the less an event costs.
const EVENTS_MAX: usize = 640 << 10;
/// Where changes could not wait: whoever holds more than the others then is cut off at once.
const CEILING: usize = 4 * EVENTS_MAX;
/// Rounds of the ticker for which another member applies nothing while too many events wait: as long as it takes to cut off who does not read,
/// and no longer, for what it does not apply is kept.
const HELD_ROUNDS_MAX: u64 = rounds_in(Duration::from_millis(500));
/// Commands that it applies in a turn however many watch them.
const APPLIED_MIN: u64 = 16;
/// After which changes that wait look again whether they may go on.
const PAUSE: Duration = Duration::from_millis(1);

/// A number that one executor alone changes, and all may look at: the events that have happened since they began to watch and wait for its
/// watches, or bytes of memory ([`super::budget`]).
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<CachePadded<AtomicUsize>>);

impl Tally {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Somebody holds `to` of it now, and held `from`.
    pub(super) fn moves(&self, from: usize, to: usize) {
        // With one writer it needs no atomic addition.
        self.0.store(self.get() + to - from, Ordering::Relaxed);
    }
}

/// What an executor has under way for its watchers.
#[derive(Default)]
pub(super) struct UnderWay {
    /// Events that may come of it: since nothing was under way.
    events: usize,
    /// Bytes of them.
    bytes: usize,
    /// Commands wait until it has been applied.
    is_full: bool,
    /// They wait for watchers.
    is_paused: bool,
    /// A task will have them look again.
    will_look: bool,
    /// The round since which too many events have waited, on a member that does not decide.
    crowded_since: Option<u64>,
}

/// The events that commands may make that are numbered now.
pub(super) struct Allowance {
    events: usize,
    taken: usize,
    /// Bytes of them, as far as the commands tell.
    bytes: usize,
    taken_bytes: usize,
    /// There are so many for all of them, wherever they go: they need not be looked at.
    is_ample: bool,
}

impl Allowance {
    /// Whether this command may be numbered. One without which time stands still always may.
    pub(super) fn allows(&self, command: &Command) -> bool {
        let finds_room = self.taken < self.events && self.taken_bytes < self.bytes;
        finds_room || matches!(command, Command::Rebase { .. })
    }

    /// A command for `shard` is numbered.
    pub(super) fn take(&mut self, shard: &Shard, command: &Command) {
        let hub = shard.hub();
        if hub.is_empty() {
            return;
        }
        let named = CommandRef::from(command);
        // An event shows what there was, too.
        let before = named.path().and_then(|path| shard.store().get(path).ok()?.value_bytes()).unwrap_or(0);
        let bytes = command.size_bytes() + before;
        let all = self.is_ample && bytes <= COUNTED_BYTES;
        let reached = if all { hub.len() } else { hub.reach(&named) };
        self.taken += reached;
        self.taken_bytes += if reached > 0 && bytes > COUNTED_BYTES { bytes } else { 0 };
    }

    /// For commands that find room in any case, or none.
    const fn of(events: usize) -> Self {
        Self { events, taken: 0, bytes: usize::MAX, taken_bytes: 0, is_ample: events > 0 }
    }
}

impl Inner {
    /// What the commands may make that are numbered now.
    pub(super) fn allowance(&mut self) -> Allowance {
        let widest = self.most_watchers();
        if widest == 0 && !self.node.bodies.crowd() {
            return Allowance::of(usize::MAX);
        }
        let waiting = self.waiting_events();
        let is_crowded = self.is_crowded();
        let was_paused = std::mem::replace(&mut self.under_way.is_paused, is_crowded);
        if is_crowded {
            self.metrics.writes_paused.add(u64::from(!was_paused));
            self.look_again();
            return Allowance::of(0);
        }
        if self.shards.iter().all(Shard::is_settled) {
            (self.under_way.events, self.under_way.bytes) = (0, 0);
        }
        let events = (EVENTS_MAX - waiting).saturating_sub(self.under_way.events);
        let bytes = (self.node.bodies.room() / self.node.cores()).max(1).saturating_sub(self.under_way.bytes);
        self.under_way.is_full = events == 0 || bytes == 0;
        let is_ample = self.queue.len().saturating_mul(widest) <= events;
        Allowance { events, taken: 0, bytes, taken_bytes: 0, is_ample }
    }

    /// How many of `most` commands a turn may apply. What the primary has under way finds room.
    pub(super) fn appliable(&mut self, most: u64) -> u64 {
        let widest = if self.node.order.is_open() { 0 } else { self.most_watchers() };
        if widest == 0 || !self.is_crowded() {
            self.under_way.crowded_since = None;
        } else if self.rounds - *self.under_way.crowded_since.get_or_insert(self.rounds) < HELD_ROUNDS_MAX {
            return 0;
        }
        if widest > 0 && self.node.bodies.crowd() {
            return APPLIED_MIN;
        }
        (CROWDED as u64).checked_div(widest as u64).map_or(most, |some| some.clamp(APPLIED_MIN, most))
    }

    /// Too many events wait, or too many bytes of them.
    fn is_crowded(&self) -> bool {
        self.waiting_events() > CROWDED || self.node.bodies.crowd()
    }

    /// Watchers of the shard of this executor that has most.
    fn most_watchers(&self) -> usize {
        self.shards.iter().map(|shard| shard.hub().len()).max().unwrap_or(0)
    }

    /// Events that wait on the executor with most.
    fn waiting_events(&self) -> usize {
        self.node.tallies.iter().map(Tally::get).max().unwrap_or(0)
    }

    /// So much of it is under way.
    pub(super) fn used(&mut self, allowance: &Allowance) {
        self.under_way.events += allowance.taken;
        self.under_way.bytes += allowance.taken_bytes;
    }

    /// What commands waited for has been applied, and there is room for their events: another turn, if it was not known yet.
    pub(super) fn may_go_on(&mut self) -> bool {
        let goes_on = self.under_way.is_full && self.shards.iter().all(Shard::is_settled);
        self.under_way.is_full &= !goes_on;
        goes_on
    }

    /// In a moment: watchers take their events without a turn, and on any executor.
    fn look_again(&mut self) {
        if std::mem::replace(&mut self.under_way.will_look, true) {
            return;
        }
        let core = self.core.clone();
        self.spawn(async move {
            glommio::timer::sleep(PAUSE).await;
            if let Some(core) = core.upgrade() {
                core.inner.borrow_mut().under_way.will_look = false;
                core.stir();
            }
        });
    }

    /// How many events a watch may hold when another one arrives for it; none: as many as it likes.
    pub(super) fn share_at_once(&self) -> Option<usize> {
        let watches = usize::try_from(self.watches.len()).unwrap_or(usize::MAX);
        (self.node.tallies[self.me].get() >= CEILING).then(|| CEILING / watches.max(1))
    }
}

/// How many of `events` each may have of those who hold some, so that they are not more together: who holds less leaves the rest to the others.
/// None: as many as they hold.
pub(super) fn share_of(events: usize, mut held: Vec<usize>) -> Option<usize> {
    if held.iter().sum::<usize>() <= events {
        return None;
    }
    held.sort_unstable();
    let mut left = events;
    for (nth, events) in held.iter().enumerate() {
        let share = left / (held.len() - nth);
        if *events > share {
            return Some(share);
        }
        left -= events;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_little_leaves_its_share_to_those_who_hold_more() {
        assert_eq!(share_of(10, vec![3, 3, 4]), None);
        assert_eq!(share_of(10, vec![4, 4, 4]), Some(3));
        assert_eq!(share_of(10, vec![9, 1, 1]), Some(8));
        assert_eq!(share_of(10, vec![1, 7, 0, 5]), Some(4));
        assert_eq!(share_of(10, Vec::new()), None);
    }
}
