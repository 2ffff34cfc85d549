//! What goes into a group and comes out of it, as values.

use bytes::Bytes;
use raft::prelude::{Entry, EntryType, Message};

use super::members::Members;
use crate::ids::{Index, MemberId, RaftIndex, Term};

/// Every founder's log begins above this position, so that an empty log differs from one that holds nothing yet.
pub const LOG_START: (RaftIndex, Term) = (RaftIndex(1), Term(1));

/// Where the log of a member begins that joins a running cluster: below [`LOG_START`], so that its leader has to send it
/// a snapshot, which says who the members are.
pub const LOG_NOTHING: (RaftIndex, Term) = (RaftIndex(0), Term(0));

/// Applied entries kept in memory for members that lag, in bytes of their data, per group: a second or two of a busy
/// group. Whoever lags more gets what the log on disk has (see [`Fetch`]), or a snapshot.
pub const TAIL_BYTES: usize = 4 << 20;

/// One entry as it is kept in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Position in the group's log.
    pub index: RaftIndex,
    /// Term of the leader that wrote it.
    pub term: Term,
    /// A change of the group's members instead of a batch.
    pub conf_change: bool,
    /// The batch (see [`crate::command::Batch`]), or a conf change, or nothing: a new leader's first entry.
    pub data: Bytes,
}

/// Entries that raft wants and that are only on the disk: all are committed, applied and durable there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The first one.
    pub first: RaftIndex,
    /// The last one of use; fewer will do.
    pub upto: RaftIndex,
    /// How much data is of use, in bytes; but at least one entry.
    pub max_bytes: usize,
}

/// What raft must not forget besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// Highest term this member has taken part in.
    pub term: u64,
    /// Whom it voted for in that term; 0 if nobody.
    pub vote: u64,
    /// Highest position it knew to be committed: a lower bound, written along with other things.
    pub commit: u64,
}

/// What a group starts from: the disk, or nothing.
#[derive(Clone, Debug)]
pub struct GroupSeed {
    /// This member.
    pub member: MemberId,
    /// The members as of `applied`: the founders for an empty store, nobody for one that joins. A store that comes from
    /// a snapshot brings its own, and this is not looked at.
    pub members: Members,
    /// Last position contained in the state the store starts from; [`LOG_START`] if it is empty, [`LOG_NOTHING`] if this
    /// member joins.
    pub applied: (RaftIndex, Term),
    /// The last vote found on disk.
    pub vote: Vote,
    /// The entries found on disk above `applied`, consecutive.
    pub entries: Vec<LogEntry>,
    /// The last frontier found on this group's disk, behind everything it speaks of: what is at or below it is in
    /// `entries` or in the store, and committed. [`Index::ZERO`] if there is none.
    pub shown: Index,
    /// Election timeout T in ticks; the group draws from T..2T, or from 2T..4T (see [`crate::shard::Shard::follow`]).
    pub election_ticks: usize,
    /// Heartbeat interval in ticks.
    pub heartbeat_ticks: usize,
    /// Applied entries kept for members that lag, in bytes of their data; [`TAIL_BYTES`] is a good value.
    pub tail_bytes: usize,
    /// This member may have lost something that it had promised: a vote, or entries it had acknowledged. It takes no part
    /// in decisions until it holds what had been promised, and asks these other members how far they are; all of them
    /// have to answer (see [`crate::shard::Shard::is_amnesiac`]).
    pub amnesia: Option<Vec<MemberId>>,
    /// Seeds the group's own generator of election timeouts. Differs from start to start.
    pub random_seed: u64,
}

/// Work that raft asks for. Everything in `entries` and `vote` becomes durable before [`super::Group::persisted`] is told.
#[derive(Debug, Default)]
pub struct Ready {
    /// Report this number as persisted once `snapshot`, `entries` and `vote` are durable. `None`: nothing to write.
    pub number: Option<u64>,
    /// A snapshot was accepted: the log goes on from there, whatever it held.
    pub snapshot: Option<(RaftIndex, Term)>,
    /// To be appended to the log, overriding what it holds at the same positions.
    pub entries: Vec<LogEntry>,
    /// To be written with (or instead of) entries.
    pub vote: Option<Vote>,
    /// Committed now, in order; to be applied by the shard.
    pub committed: Vec<LogEntry>,
    /// May leave at once.
    pub at_once: Vec<Message>,
    /// Must not leave before `entries` and `vote` are durable.
    pub after_durable: Vec<Message>,
    /// Snapshots to be sent, without the state: that of the last position applied.
    pub snapshots: Vec<Message>,
    /// Contexts of the quorum rounds that have been confirmed (see [`super::Group::confirm`]).
    pub confirmed: Vec<u64>,
    /// This member was removed from the group.
    pub removed: bool,
}

pub(super) fn to_raft(entry: LogEntry) -> Entry {
    let mut raft = Entry { index: entry.index.0, term: entry.term.0, data: entry.data, ..Entry::default() };
    raft.set_entry_type(if entry.conf_change { EntryType::EntryConfChangeV2 } else { EntryType::EntryNormal });
    raft
}

/// The data is shared, not copied.
impl From<&Entry> for LogEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            index: RaftIndex(entry.index),
            term: Term(entry.term),
            conf_change: entry.get_entry_type() != EntryType::EntryNormal,
            data: entry.data.clone(),
        }
    }
}
