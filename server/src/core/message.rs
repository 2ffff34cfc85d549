//! What executors say to each other. Everything in here is owned and may cross threads.

use std::sync::Arc;

use bytes::Bytes;
use log::{CoreId, SegmentSeq};
use net::peer::{Frame, Frontier};
use shard::command::Command;
use shard::group::Status;
use shard::ids::{Index, MemberId, RaftIndex, ShardId, Term};
use shard::regime::Report;
use shard::stats::Stats;
use shard::watch::Cleared;

use super::answers::OnTheWay;
use super::ticket::Ticket;
use crate::metrics::CoreMetrics;
use crate::page::Page;

/// One message.
#[derive(Debug)]
pub(crate) enum Message {
    /// A command for a shard of the receiver.
    Propose(Proposal),
    /// A question for the receiver; the answer is a [`Message::Answer`] to the ticket's executor.
    Ask(Ticket, Question),
    /// The answer to a question or a command.
    Answer(Ticket, Answer),
    /// A watch for the receiver's shards.
    Watch(Ticket, WatchRequest),
    /// The watcher is gone.
    Unwatch(Ticket),
    /// The watcher has taken what it had: more of the past, please.
    More(Ticket),
    /// A watcher on the receiver's executor has been sent everything of executor `from` up to `upto`, and more of the past
    /// when it asks; with `None` it has the past of that executor, and goes on live.
    Replayed {
        /// The watcher.
        ticket: Ticket,
        /// Whose shards.
        from: usize,
        /// How far.
        upto: Option<Index>,
    },
    /// A watcher on the receiver's executor was so slow that the past it still wanted is gone.
    Outrun(Ticket),
    /// An event for a watcher on the receiver's executor.
    Event(Ticket, Index, Bytes),
    /// The same, and it had happened before the watch began.
    PastEvent(Ticket, Index, Bytes),
    /// For the keeper of the regime, executor 0.
    Report(Report),
    /// Confirm the leadership of every group by a quorum round.
    Confirm {
        /// Number of the round, to come back in the report.
        round: u64,
    },
    /// A frame of another member, for a group or a question of the receiver.
    Peer(MemberId, Frame),
    /// How far the primary has shown its state.
    Frontier(Arc<Frontier>),
    /// A segment of that core's log has rotted.
    Rotten(CoreId, SegmentSeq),
    /// A shard of the receiver must be able to do without its log up to there.
    Renew(ShardId, RaftIndex),
    /// The snapshot of a shard of the receiver that ends there has rotted and was put aside.
    SnapshotLost(ShardId, RaftIndex),
    /// The backup of this number is over, done or not.
    BackupOver(u64),
    /// A regime has opened, or the node is about to stop: look around.
    Wake,
}

/// A command on its way to its shard.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// Where it goes.
    pub(crate) shard: ShardId,
    /// Who waits for the answer.
    pub(crate) ticket: Ticket,
    /// The process that the ticket is of: this one, or that of the member which forwarded the command.
    pub(crate) process: u64,
    /// What to do.
    pub(crate) command: Command,
}

/// What one executor may ask another.
#[derive(Debug)]
pub(crate) enum Question {
    /// A node of one of the receiver's shards.
    Get(Get),
    /// The receiver's part of a spread directory at the index at which `visible` is held.
    Cut {
        /// The index.
        at: Index,
        /// Everything below, or one level.
        recursive: bool,
        /// Where it is counted.
        listing: Arc<OnTheWay>,
    },
    /// The receiver's shards as they are at the index at which `visible` is held, kept for a backup.
    BackUp {
        /// The index.
        at: Index,
        /// The number of the backup.
        number: u64,
    },
    /// What comes next of one of the receiver's shards in a backup.
    BackupChunk {
        /// The number of the backup.
        number: u64,
        /// The shard.
        shard: ShardId,
    },
    /// A quorum round on one of the receiver's groups.
    Quorum,
    /// Where the group of one of the receiver's shards stands.
    Raft(ShardId),
    /// Counters of the receiver's shards.
    Stats,
    /// The receiver's metrics.
    Metrics,
}

/// A read of one node.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    /// Where it is.
    pub(crate) shard: ShardId,
    /// Its clean path.
    pub(crate) path: Vec<u8>,
    /// Everything below, or one level.
    pub(crate) recursive: bool,
    /// Confirm leadership first.
    pub(crate) quorum: bool,
}

/// A watch, on the way to the shards that it concerns.
#[derive(Clone, Debug)]
pub(crate) struct WatchRequest {
    /// One shard, or all of them for a spread directory.
    pub(crate) shard: Option<ShardId>,
    /// The watched path.
    pub(crate) path: Vec<u8>,
    /// Also everything below.
    pub(crate) recursive: bool,
    /// More than one event.
    pub(crate) stream: bool,
    /// The first index of interest; 0: from now on.
    pub(crate) since: Index,
}

/// What comes back to a ticket.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The answer to a request on the key space.
    Keys(KeysAnswer),
    /// The receiver's shards have been cut; the parts follow with [`Answer::Part`].
    CutTaken,
    /// The receiver's shards can not be cut at that index: a snapshot has brought one of them further.
    Behind,
    /// There is no room for the listing of one executor's part of a spread directory.
    NoRoom,
    /// Listing of one executor's part of a spread directory: (name, JSON of the node), sorted by name.
    Part(Vec<(Vec<u8>, Vec<u8>)>),
    /// A chunk of a shard's state for a backup; none: that was all.
    Chunk(Option<Vec<u8>>),
    /// A watch is registered, or refused.
    Watching(Registration),
    /// The quorum round was confirmed, as of this index.
    Confirmed(Standing),
    /// Where a group stands.
    Raft(Box<Status>),
    /// Counters of one executor's shards, and its watchers.
    Stats(Box<Stats>, u64),
    /// One executor's metrics.
    Metrics(Box<CoreMetrics>),
    /// A response that concerns no key, made by a task of the connection's executor.
    Page(Page),
}

/// What became of a watch on one executor; a refusal comes with the index shown there.
pub(crate) type Registration = Result<Standing, (Cleared, Index)>;

/// Where an answer stands in the one order and in raft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `X-Etcd-Index`.
    pub(crate) index: Index,
    /// `X-Raft-Index`: position in the log of the shard concerned.
    pub(crate) raft_index: RaftIndex,
    /// `X-Raft-Term`.
    pub(crate) term: Term,
}

/// A finished answer of the key space: status, body and what its headers say.
#[derive(Debug)]
pub(crate) struct KeysAnswer {
    /// HTTP status.
    pub(crate) status: u16,
    /// `X-Etcd-Index`.
    pub(crate) index: Index,
    /// `X-Raft-Index` and `X-Raft-Term`; none on errors.
    pub(crate) raft: Option<(RaftIndex, Term)>,
    /// The JSON document, with its final newline.
    pub(crate) body: Vec<u8>,
}
