//! What this member's disk holds, in numbers that the others remember: an older disk that is put in its place shows by them.
//!
//! Both numbers only grow on one disk, and are told when they are durable, so no crash makes them less. What is lost with an
//! older disk and was not told yet (a tenth of a second, see [`ROUND`](super::ticker::ROUND)) can not be noticed.

use std::sync::atomic::{AtomicU64, Ordering};

use net::peer::Held;
use shard::group::Group;
use shard::ids::MemberId;
use shard::shard::Shard;

use super::{Inner, Node};

/// The numbers of a node, from all its executors.
pub(super) struct HeldCell {
    visible: AtomicU64,
    /// Per executor: the sum of its groups' terms.
    terms: Vec<AtomicU64>,
}

impl HeldCell {
    /// What a start has found: of each executor the sum of its groups' terms.
    pub(super) fn new(visible: u64, terms: Vec<u64>) -> Self {
        Self { visible: AtomicU64::new(visible), terms: terms.into_iter().map(AtomicU64::new).collect() }
    }
}

impl Node {
    /// What this member's disk holds.
    pub(crate) fn held(&self) -> Held {
        let cell = &self.held;
        Held {
            visible: cell.visible.load(Ordering::Acquire),
            terms: cell.terms.iter().map(|terms| terms.load(Ordering::Acquire)).sum(),
            forgetful: self.is_forgetful(),
        }
    }
}

impl Inner {
    /// Every round: adds this executor's share; executor 0 tells the others if something has changed.
    pub(super) fn tell_held(&mut self) {
        let cell = &self.node.held;
        cell.visible.fetch_max(self.disk.held().0, Ordering::AcqRel);
        let terms = self.shards.iter().map(Shard::group).map(Group::durable_term).map(|term| term.0).sum();
        cell.terms[self.me].fetch_max(terms, Ordering::AcqRel);
        let held = self.node.held();
        if self.me != 0 || held == self.held_told {
            return;
        }
        self.held_told = held;
        let others: Vec<MemberId> = self.other_members();
        for member in others {
            self.post(member, held);
        }
    }
}
