//! What a shard gives back, as values.

use std::rc::Rc;

use raft::prelude::Message;

use crate::event::Event;
use crate::group::{Fetch, LogEntry, Vote};
use crate::ids::{Index, MemberId, RaftIndex, ShardId, Term};
use crate::refusal::Refusal;
use crate::regime::Report;
use crate::snapshot::SnapshotChunks;
use crate::store::Outcome;
use crate::watch::WatcherId;

/// What goes to the disk: see [`crate::group::Ready`].
#[derive(Debug)]
pub struct Write {
    /// Whose it is.
    pub shard: ShardId,
    /// To be given to [`crate::shard::Shard::persisted`].
    pub number: Option<u64>,
    /// Before everything else in here: the log goes on from this snapshot, which is on the disk already, and what it held
    /// counts no more.
    pub received: Option<(RaftIndex, Term)>,
    /// Written along with the entries.
    pub vote: Option<Vote>,
    /// Appended, overriding what the log holds at the same positions.
    pub entries: Vec<LogEntry>,
}

/// A snapshot that a member is to be sent.
#[derive(Debug)]
pub struct SnapshotToSend {
    /// Of which shard.
    pub shard: ShardId,
    /// To whom.
    pub to: MemberId,
    /// The state of the moment it was asked for. Sent first.
    pub chunks: SnapshotChunks,
    /// Sent when the state has arrived: goes with it into [`crate::shard::Shard::install`]. How it went is told to
    /// [`crate::shard::Shard::report_snapshot`]; until then the member receives no entries.
    pub message: Message,
}

/// What a shard wants done after [`crate::shard::Shard::advance`]. Reused from turn to turn.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be made durable, in order.
    pub writes: Vec<Write>,
    /// May leave at once.
    pub at_once: Vec<(ShardId, Message)>,
    /// Must not leave before the writes are durable.
    pub after_durable: Vec<(ShardId, Message)>,
    /// Snapshots to be sent.
    pub snapshots: Vec<SnapshotToSend>,
    /// To be read from the log on disk, without haste, and answered with [`crate::shard::Shard::fetched`].
    pub fetches: Vec<(ShardId, Fetch)>,
    /// For the regime (see [`crate::regime`]); a loss has to close the order at once.
    pub reports: Vec<Report>,
    /// Contexts of the quorum rounds that were confirmed.
    pub confirmed: Vec<(ShardId, u64)>,
    /// Groups that this member was removed from. It may never learn of it this way: nobody writes to it any more.
    pub removed: Vec<ShardId>,
}

/// The answer to one proposed command.
#[derive(Debug)]
pub struct Answer {
    /// The proposer's ticket.
    pub ticket: u64,
    /// The command's index.
    pub index: Index,
    /// Position of its entry in the group's log.
    pub at: RaftIndex,
    /// Term of its entry.
    pub term: Term,
    /// What came of it.
    pub result: Result<Outcome, Refusal>,
}

/// What applying has led to. Reused from turn to turn.
#[derive(Debug, Default)]
pub struct Applied {
    /// For those who wait, in index order. A command that another leader overrode is never answered.
    pub answers: Vec<Answer>,
    /// For the watchers of this shard, in index order.
    pub deliveries: Vec<(WatcherId, Rc<Event>)>,
    /// Watchers that a snapshot has ended: what they missed is gone, as with 401. Nothing is delivered to them after.
    pub ended: Vec<WatcherId>,
    /// Commands applied, refused ones included.
    pub commands: u64,
    /// Bytes of the batches that they came in.
    pub bytes: u64,
    /// Nodes that ran out of time.
    pub expired: u64,
    /// A system command was among them, or a snapshot was installed: members or versions may have changed.
    pub system: bool,
}
