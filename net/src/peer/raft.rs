//! Raft's messages as plain values.

#![allow(missing_docs, reason = "rkyv derives public fields that it leaves undocumented; ours are documented")]

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use super::blob::Blob;
use super::error::{FrameError, at_most};

/// Messages of one frame: a heartbeat and an append for each of the 1024 groups that a cluster may have, and again.
pub(super) const MESSAGES_MAX: usize = 4096;
/// Entries of one message.
pub(super) const ENTRIES_MAX: usize = 1 << 16;
/// Members that a position of a snapshot may name, per list.
pub(super) const VOTERS_MAX: usize = 64;
/// Bytes of a context: raft's own are 16, a change of the members says a little more.
pub(super) const CONTEXT_BYTES_MAX: usize = 4096;

/// Messages of any groups for one member. All heartbeats of a turn are one of these.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftBatch {
    /// In the order in which they are to be stepped.
    pub messages: Vec<RaftMessage>,
}

/// One message of one group. Fields that a kind does not use are zero.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RaftMessage {
    /// The group.
    pub group: u32,
    /// What it is.
    pub kind: MessageKind,
    /// The member it is for.
    pub to: u64,
    /// The member it is from.
    pub from: u64,
    /// The sender's term.
    pub term: u64,
    /// Term of the entry at `index`.
    pub log_term: u64,
    /// The entry before `entries`; in answers the entry acknowledged.
    pub index: u64,
    /// How far the sender knows the log to be committed.
    pub commit: u64,
    /// Term of the entry at `commit`.
    pub commit_term: u64,
    /// An answer that says no.
    pub reject: bool,
    /// Where the logs may agree.
    pub reject_hint: u64,
    /// A snapshot at least this far is asked for; 0: none.
    pub request_snapshot: u64,
    /// Priority of a candidate.
    pub priority: i64,
    /// Raft's own mark, to come back with the answer.
    #[rkyv(with = Blob)]
    pub context: Bytes,
    /// What the snapshot holds that this message announces. The state itself is sent in frames of its own.
    pub snapshot: Option<SnapshotPosition>,
    /// Entries to append.
    pub entries: Vec<Entry>,
}

/// Raft's messages between members; those that a node sends to itself never cross the wire.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// Entries, or the question where the logs agree.
    Append = 3,
    /// The answer to that.
    AppendResponse = 4,
    /// A candidate asks for a vote.
    RequestVote = 5,
    /// The answer to that.
    RequestVoteResponse = 6,
    /// A snapshot that has been sent.
    Snapshot = 7,
    /// The leader lives.
    Heartbeat = 8,
    /// The answer to that.
    HeartbeatResponse = 9,
    /// A follower asks for a transfer of the leadership.
    TransferLeader = 13,
    /// Campaign at once.
    TimeoutNow = 14,
    /// A follower asks how far it has to be for a read.
    ReadIndex = 15,
    /// The answer to that.
    ReadIndexResponse = 16,
    /// A member asks whether it would be elected.
    RequestPreVote = 17,
    /// The answer to that.
    RequestPreVoteResponse = 18,
}

/// One entry of a log.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// What its data is.
    pub kind: EntryKind,
    /// The bytes as they are in the log: an archive of its own, aligned.
    #[rkyv(with = Blob)]
    pub data: Bytes,
    /// What comes with a change of the members.
    #[rkyv(with = Blob)]
    pub context: Bytes,
}

/// What an entry's data is.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// Commands; nothing in a leader's first entry.
    Normal = 0,
    /// One change of the members, raft's older form.
    ConfChange = 1,
    /// Changes of the members.
    ConfChangeV2 = 2,
}

/// What a snapshot holds.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotPosition {
    /// The last entry in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The members as of it.
    pub voters: SnapshotVoters,
}

/// The members of a group, in raft's five parts.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotVoters {
    /// Those with a vote.
    pub voters: Vec<u64>,
    /// Those without.
    pub learners: Vec<u64>,
    /// Those who had a vote before the change under way.
    pub voters_outgoing: Vec<u64>,
    /// Those who will lose it.
    pub learners_next: Vec<u64>,
    /// The change ends by itself.
    pub auto_leave: bool,
}

impl RaftBatch {
    pub(super) fn check(&self) -> Result<(), FrameError> {
        at_most("messages", self.messages.len(), MESSAGES_MAX)?;
        self.messages.iter().try_for_each(RaftMessage::check)
    }
}

impl RaftMessage {
    /// An empty message of a group.
    pub fn new(group: u32, kind: MessageKind, from: u64, to: u64, term: u64) -> Self {
        Self {
            group,
            kind,
            to,
            from,
            term,
            log_term: 0,
            index: 0,
            commit: 0,
            commit_term: 0,
            reject: false,
            reject_hint: 0,
            request_snapshot: 0,
            priority: 0,
            context: Bytes::new(),
            snapshot: None,
            entries: Vec::new(),
        }
    }

    /// About how many bytes of a frame it takes: never less than it really does.
    pub fn size_bytes(&self) -> usize {
        /// A message without lists, a filled-up context and the tail of the archive.
        const MESSAGE: usize = 256;
        /// An entry in the archive, and what fills its data up.
        const ENTRY: usize = 64;
        let snapshot = self.snapshot.as_ref().map_or(0, |position| position.voters.lists().map(<[u64]>::len).sum());
        let entry = |entry: &Entry| ENTRY + entry.data.len() + entry.context.len();
        MESSAGE + self.context.len() + 8 * snapshot + self.entries.iter().map(entry).sum::<usize>()
    }

    pub(super) fn check(&self) -> Result<(), FrameError> {
        at_most("bytes of context", self.context.len(), CONTEXT_BYTES_MAX)?;
        at_most("entries", self.entries.len(), ENTRIES_MAX)?;
        for entry in &self.entries {
            at_most("bytes of context", entry.context.len(), CONTEXT_BYTES_MAX)?;
        }
        let lists = self.snapshot.iter().flat_map(|position| position.voters.lists());
        lists.into_iter().try_for_each(|list| at_most("members", list.len(), VOTERS_MAX))
    }
}

impl SnapshotVoters {
    fn lists(&self) -> impl Iterator<Item = &[u64]> {
        [&self.voters[..], &self.learners, &self.voters_outgoing, &self.learners_next].into_iter()
    }
}
