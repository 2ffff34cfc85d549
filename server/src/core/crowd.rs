//! What waits for all watches of an executor together, and when changes wait for that.
//!
//! A change that ten thousand watch is ten thousand events. Writers can be so much faster than as many connections can be written
//! to that all memory is gone before any one watch holds too much. So the primary numbers nothing while too many events wait, on
//! whichever executor, and has no more commands under way than such whose events find room. Who holds more than its share and does not
//! read is cut off within a few rounds (see [`super::feed`]): nobody holds writers up for long.
//!
//! Another member applies what it is sent. There, and wherever more waits than the above allows, a watch with more than its
//! share is cut off at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use shard::command::{Command, CommandRef};
use shard::shard::Shard;

use super::Inner;

/// Events that may wait for all watches of an executor together, 32 or 40 bytes of memory each beside what they share. Beyond,
/// changes wait, and clients that hold more than their share and do not read are not given a second.
pub(super) const CROWDED: usize = 256 << 10;
/// The same with those that may come of the commands under way: what 64 writers make of 10,000 watchers, for the more a connection is sent
/// at a time the less an event costs. Where more wait, whoever holds more than its share is cut off.
const EVENTS_MAX: usize = 640 << 10;
/// After which changes that wait look again whether they may go on.
const PAUSE: Duration = Duration::from_millis(1);

/// Events that have happened since they began to watch and wait for the watches of one executor. It alone changes the number.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<CachePadded<AtomicUsize>>);

impl Tally {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A watch holds `to` of them now, and held `from`.
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
    /// Commands wait until it has been applied.
    is_full: bool,
    /// They wait for watchers.
    is_paused: bool,
    /// A task will have them look again.
    will_look: bool,
}

/// The events that commands may make that are numbered now.
pub(super) struct Allowance {
    events: usize,
    taken: usize,
    /// There are so many for all of them, wherever they go: they need not be looked at.
    is_ample: bool,
}

impl Allowance {
    /// Whether another command may be numbered.
    pub(super) fn is_left(&self) -> bool {
        self.taken < self.events
    }

    /// A command for `shard` is numbered.
    pub(super) fn take(&mut self, shard: &Shard, command: &Command) {
        let hub = shard.hub();
        let all = self.is_ample || hub.is_empty();
        self.taken += if all { hub.len() } else { hub.reach(&CommandRef::from(command)) };
    }
}

impl Inner {
    /// What the commands may make that are numbered now; `None`: they wait.
    pub(super) fn allowance(&mut self) -> Option<Allowance> {
        if self.shards.iter().all(|shard| shard.hub().is_empty()) {
            return Some(Allowance { events: usize::MAX, taken: 0, is_ample: true });
        }
        let waiting = self.node.tallies.iter().map(Tally::get).max().unwrap_or(0);
        let was_paused = std::mem::replace(&mut self.under_way.is_paused, waiting > CROWDED);
        if waiting > CROWDED {
            self.metrics.writes_paused.add(u64::from(!was_paused));
            self.look_again();
            return None;
        }
        if self.shards.iter().all(Shard::is_settled) {
            self.under_way.events = 0;
        }
        let events = (EVENTS_MAX - waiting).saturating_sub(self.under_way.events);
        self.under_way.is_full = events == 0;
        let widest = self.shards.iter().map(|shard| shard.hub().len()).max().unwrap_or(0);
        let is_ample = self.queue.len().saturating_mul(widest) <= events;
        (events > 0).then_some(Allowance { events, taken: 0, is_ample })
    }

    /// So much of it is under way.
    pub(super) fn used(&mut self, allowance: &Allowance) {
        self.under_way.events += allowance.taken;
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
        (self.node.tallies[self.me].get() >= EVENTS_MAX).then(|| share(EVENTS_MAX, self.watches.len()))
    }
}

/// What each of `watches` may have of `events`.
pub(super) fn share(events: usize, watches: u64) -> usize {
    events / usize::try_from(watches).unwrap_or(usize::MAX).max(1)
}
