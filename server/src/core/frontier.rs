//! How far a member that is not the primary may show what it holds.
//!
//! The primary says: everything up to V is committed or will never exist, and these are the positions of the groups' last
//! entries for that. Whoever raises `visible` on the primary sends it to all members, once per turn at most. A member
//! that receives it hands it to every executor; each publishes how far its groups have come, and the least of that may
//! be shown.

use std::sync::Arc;

use net::peer::{Frame, Frontier};
use shard::ids::{Index, MemberId, RaftIndex, ShardId, Term};

use super::Inner;
use super::message::Message;

impl Inner {
    /// On the primary, after `visible` was raised: tells the other members, if there are any.
    pub(super) fn send_frontier(&mut self) {
        if self.node.order.visible() > self.frontier_sent {
            self.tell_frontier();
        }
    }

    /// Tells it, new or not: what was lost on the way, or is for a member that has just come, must not wait for a write; and
    /// the others learn what the clock reads.
    pub(super) fn tell_frontier(&mut self) {
        let visible = self.node.order.visible();
        if !self.node.order.is_open() {
            return;
        }
        self.regime_began(self.node.term(), visible);
        self.frontier_sent = visible;
        let members = self.other_members();
        if members.is_empty() {
            return;
        }
        // Read after `visible`: a position that is too far only makes its receivers wait for what is committed already.
        let positions = (0..self.node.shards).map(|shard| self.node.order.committed(ShardId(shard)).0).collect();
        let (term, clock) = (self.node.term().0, self.node.clock.now_ns());
        let frontier = Frame::from(Frontier { term, visible: visible.0, clock, positions });
        for member in members {
            self.post(member, frontier.clone());
        }
    }

    /// Every round: notes beside the log what is visible, if it has moved, so that a restarted member among others shows a
    /// prefix at once, and knows who they are. A node that has never had company opens its own regime before it shows
    /// anything. It begins to note before another member has a vote: from then on, what the log holds says nothing of what
    /// it lacks.
    pub(super) fn note_frontier_on_disk(&mut self) {
        let visible = self.node.order.visible();
        if visible == self.frontier_noted || self.is_alone() && self.other_members().is_empty() {
            return;
        }
        self.frontier_noted = visible;
        for shard in &self.shards {
            if shard.shows(visible) {
                self.disk.push_frontier(shard.id(), visible, shard.clock());
            }
        }
    }

    /// From the primary, or from one that thinks it is: what it says is true in any case.
    pub(super) fn frontier(&mut self, from: MemberId, frontier: Frontier) {
        if frontier.positions.len() != usize::from(self.node.shards) {
            tracing::error!(target: "etcdserver", "member {from} has another number of shards");
            return;
        }
        let received = Arc::new(frontier);
        for core in 0..self.node.cores() {
            if core == self.me {
                self.note_frontier(&received);
            } else {
                self.send(core, Message::Frontier(Arc::clone(&received)));
            }
        }
    }

    /// Notes what a frontier says of this executor's groups.
    pub(super) fn note_frontier(&mut self, frontier: &Frontier) {
        self.regime_began(Term(frontier.term), Index(frontier.visible));
        self.frontier_heard = self.frontier_heard.max(Index(frontier.visible));
        // The clock of a primary that has been replaced is of no use.
        let newest = Term(frontier.term) >= self.node.term();
        for shard in &mut self.shards {
            let position = RaftIndex(frontier.positions[usize::from(shard.id().0)]);
            shard.frontier(Index(frontier.visible), position);
            if newest {
                shard.note_clock(Index(frontier.visible), frontier.clock);
            }
        }
    }
}
