//! The state of all shards at one index, handed out chunk by chunk while writes go on.
//!
//! Every executor keeps a handle of its shards' trees for as long as the backup lasts, and makes a chunk when it is asked for
//! one: the client's pace is that of the backup, and no turn is longer for it than by one chunk. What is removed meanwhile
//! stays in memory until then, so there is one backup at a time.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shard::ids::{Index, ShardId};
use shard::snapshot::SnapshotChunks;

use super::message::{Answer, Message, Question};
use super::post::Asked;
use super::ticket::Ticket;
use super::{Core, Inner};

/// The backups of the node.
#[derive(Default)]
pub(super) struct Backups {
    under_way: AtomicBool,
    begun: AtomicU64,
}

/// What an executor keeps for a backup: its number, and the shards that are not handed out yet.
pub(super) type Kept = Option<(u64, BTreeMap<ShardId, SnapshotChunks>)>;

/// A backup that is under way. Dropping it ends it everywhere.
pub(crate) struct Backup {
    core: Rc<Core>,
    number: u64,
}

/// Why there is no backup now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBackup {
    /// There is another one under way.
    Busy,
    /// Too much is under way, or this member is catching up.
    Overloaded,
}

impl Core {
    /// Begins a backup; returns the index at which the state is taken.
    pub(crate) async fn back_up(self: &Rc<Self>) -> Result<(Backup, Index), NoBackup> {
        let backups = &self.node.backups;
        if backups.under_way.swap(true, Ordering::AcqRel) {
            return Err(NoBackup::Busy);
        }
        let number = backups.begun.fetch_add(1, Ordering::Relaxed);
        // Before anything is kept: whatever happens, it is let go.
        let backup = Backup { core: Rc::clone(self), number };
        let cut = self.cut(|at| Question::BackUp { at, number }).await;
        let (at, ..) = cut.ok_or(NoBackup::Overloaded)?;
        tracing::info!(target: "etcdserver", "a backup at index {at} is being taken");
        Ok((backup, at))
    }
}

impl Backup {
    /// Asks for the next chunk of a shard; the answer is an [`Answer::Chunk`]. `None` if too much is under way.
    pub(crate) fn ask(&self, shard: ShardId) -> Option<Asked> {
        let question = Question::BackupChunk { number: self.number, shard };
        self.core.ask(self.core.node.core_of(shard), question)
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        let mut inner = self.core.inner.borrow_mut();
        for core in 0..self.core.node.cores() {
            inner.send(core, Message::BackupOver(self.number));
        }
        drop(inner);
        self.core.node.backups.under_way.store(false, Ordering::Release);
        self.core.stir();
    }
}

impl Inner {
    /// Keeps this executor's shards as they are at exactly `at`, at which `visible` is held.
    pub(super) fn back_up(&mut self, ticket: Ticket, at: Index, number: u64) {
        if !self.stands_at(at) {
            return self.deliver(ticket, Answer::Behind);
        }
        let seats = 0..self.shards.len();
        let chunks = |seat: usize| (self.shards[seat].id(), self.chunks(seat));
        self.backup = Some((number, seats.map(chunks).collect()));
        self.deliver(ticket, Answer::CutTaken);
    }

    /// The state of a shard, with the clock as far as time has gone for it.
    fn chunks(&self, seat: usize) -> SnapshotChunks {
        let shard = &self.shards[seat];
        let chunks = shard.store().snapshot();
        if !shard.is_settled() {
            // What joins its timeline to this node's clock may be under way.
            return chunks;
        }
        let clock = if self.has_joined() { self.node.clock.now_ns() } else { shard.clock() };
        chunks.at_clock(clock)
    }

    /// Makes the next chunk of a shard.
    pub(super) fn backup_chunk(&mut self, ticket: Ticket, number: u64, shard: ShardId) {
        let kept = self.backup.as_mut().filter(|(kept, _)| *kept == number);
        let chunk = kept.and_then(|(_, shards)| {
            let chunk = shards.get_mut(&shard)?.next();
            if chunk.is_none() {
                shards.remove(&shard);
            }
            chunk
        });
        self.deliver(ticket, Answer::Chunk(chunk));
    }

    /// Lets go of what is kept.
    pub(super) fn end_backup(&mut self, number: u64) {
        self.backup.take_if(|(kept, _)| *kept == number);
    }
}
