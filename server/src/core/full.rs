//! A member without room for its log says so, and lets another one be the primary: nothing that it is asked to write can become
//! durable here, but it can elsewhere.

use std::sync::atomic::Ordering;
use std::time::Duration;

use shard::ids::ShardId;
use shard::membership::hand_over;

use super::ticker::rounds_in;
use super::{Inner, Node};

/// How soon a primary without room tries again to find another one: who takes over may have no room either.
const AGAIN: Duration = Duration::from_secs(5);

impl Node {
    /// The log of some executor has no room, and takes no commands.
    pub(crate) fn is_full(&self) -> bool {
        self.full.iter().any(|full| full.load(Ordering::Relaxed))
    }
}

impl Inner {
    /// Once per round.
    pub(super) fn note_room(&mut self) {
        self.node.full[self.me].store(self.disk.is_full(), Ordering::Relaxed);
        if !self.node.is_full() || self.rounds < self.yields_from {
            return;
        }
        if self.let_another_lead() {
            self.yields_from = self.rounds + rounds_in(AGAIN);
            tracing::warn!(target: "etcdserver", "no space left for the log: another member is to lead. Free some space in the data directory");
        }
    }

    /// Hands over the first group, which the others follow. False: it is not led here, or there is nobody to lead it.
    pub(super) fn let_another_lead(&mut self) -> bool {
        let first = self.shards.first_mut().filter(|shard| shard.id() == ShardId(0) && shard.group().leads());
        first.is_some_and(hand_over)
    }
}
