//! What a file that has rotted held is written anew: the state in memory is whole, and a shard that has two newer snapshots
//! needs neither that file nor any before it.

use log::{CoreId, SegmentSeq, segment::file_name};
use shard::ids::{RaftIndex, ShardId};

use super::message::Message;
use super::{Core, Inner};
use crate::notice;

impl Inner {
    /// A segment has rotted. Of no concern unless it is in this executor's log.
    pub(super) fn segment_rotten(&mut self, core: CoreId, seq: SegmentSeq) {
        let ours = self.disk.condemn(core, seq).is_some();
        if ours && !self.rotten.contains(&(core, seq)) {
            self.rotten.push((core, seq));
        }
    }

    /// A snapshot of one of this executor's shards has rotted, and does not count any more.
    pub(super) fn snapshot_lost(&mut self, shard: ShardId, upto: RaftIndex) {
        let seat = self.seat(shard);
        self.snapshots.lost(seat, upto);
    }

    /// The log of one of this executor's shards must not be needed up to here.
    pub(super) fn renew(&mut self, shard: ShardId, upto: RaftIndex) {
        let seat = self.seat(shard);
        self.snapshots.outgrow(seat, upto);
    }

    /// Has the shards that need a rotten segment outgrow it. At every tick until it is gone: what needs it can change.
    pub(super) fn heal(&mut self) {
        for (core, seq) in std::mem::take(&mut self.rotten) {
            let Some(pins) = self.disk.condemn(core, seq) else {
                let file = self.node.config.log_dir().join(core.to_string()).join(file_name(seq));
                notice!(
                    "wal",
                    "{} was damaged and is not needed any more: newer snapshots hold all of it",
                    file.display()
                );
                continue;
            };
            self.rotten.push((core, seq));
            for (shard, upto) in pins {
                let to = self.node.core_of(shard);
                self.send(to, Message::Renew(shard, upto));
            }
        }
    }
}

impl Core {
    /// A start found that a snapshot of one of this executor's shards is damaged: if it was one of the newest two, there
    /// will be two again.
    pub(crate) fn replace_snapshot(&self, shard: ShardId, lost: RaftIndex) {
        self.inner.borrow_mut().renew(shard, lost);
    }
}

impl super::Node {
    /// Gives an executor a message, from a thread that is none. False: it has too many already.
    pub(crate) fn tell(&self, executor: usize, message: Message) -> bool {
        self.mailboxes[executor].push(vec![message]).is_ok()
    }
}
