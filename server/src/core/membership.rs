//! The members of the groups follow the membership that shard 0 keeps: `shard::membership` decides how.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use shard::ids::ShardId;
use shard::membership::{hand_over, lingers};
use shard::shard::Shard;

use super::{Core, Inner};

impl Inner {
    /// Every round: brings the groups nearer to the membership, and notes whether they are there.
    pub(super) fn keep_members(&mut self) {
        let system = self.node.system();
        let linger = self.shards.iter().any(|shard| lingers(shard, &system));
        let lingering = &self.node.lingering[self.me];
        lingering.store(linger, Ordering::Release);
        if !linger && !Arc::ptr_eq(&system, &self.node.system()) {
            // Another member was removed meanwhile, and looked for in vain in what is stale now.
            lingering.store(true, Ordering::Release);
        }
        let proposed = {
            // A panicking holder ends the process, so the lock is never poisoned.
            let mut groups = self.node.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.keep(&mut self.shards, &system, self.node.order.is_open())
        };
        for (shard, change, position) in proposed {
            tracing::info!(target: "raft", "shard {shard}: {change:?} proposed at {position}");
        }
    }

    /// Every round: notes when the groups of a member that lost its data know again what was promised.
    pub(super) fn remember(&mut self) {
        if self.forgetful && !self.shards.iter().any(Shard::is_amnesiac) {
            self.forgetful = false;
            self.node.forgetful.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Core {
    /// Before the process ends: hands the regime over, so that nobody has to wait for an election. Group 0 goes first, and
    /// pulls the others after it. True once this executor leads nothing, or there is nobody to hand over to.
    pub(crate) fn hand_over(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        let Some(first) = inner.shards.first_mut() else { return true };
        if first.id() == ShardId(0) && first.group().leads() && !hand_over(first) {
            return true;
        }
        let done = inner.shards.iter().all(|shard| !shard.group().leads() || shard.group().is_alone());
        drop(inner);
        self.stir();
        done
    }
}
