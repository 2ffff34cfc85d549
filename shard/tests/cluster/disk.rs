//! One node's disk: what is durable of each shard, and what each core has under way.

use std::collections::{BTreeMap, VecDeque};

use raft::prelude::Message;
use shard::group::{LogEntry, Vote};
use shard::ids::{Index, RaftIndex, ShardId, Term};
use shard::shard::Write;

/// A snapshot file: the position and the chunks.
pub(crate) type File = ((RaftIndex, Term), Vec<Vec<u8>>);

/// What is durable of one shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardDisk {
    pub(crate) base: Option<File>,
    /// Snapshots received, not yet said in the log to count.
    pub(crate) files: Vec<File>,
    pub(crate) entries: BTreeMap<u64, LogEntry>,
    pub(crate) vote: Vote,
    pub(crate) shown: Index,
}

impl ShardDisk {
    pub(crate) fn write(&mut self, write: &Write) {
        if let Some(at) = write.received {
            let file = self.files.iter().position(|file| file.0 == at).expect("a snapshot is written before it counts");
            self.base = Some(self.files.swap_remove(file));
            self.files.retain(|file| file.0 > at);
            self.entries.clear();
        }
        if let Some(first) = write.entries.first() {
            self.entries.split_off(&first.index.0);
        }
        self.entries.extend(write.entries.iter().map(|entry| (entry.index.0, entry.clone())));
        self.vote = write.vote.unwrap_or(self.vote);
    }

    /// A snapshot of this node's own takes the place of the log up to it.
    pub(crate) fn compact(&mut self, file: File) {
        self.entries = self.entries.split_off(&(file.0.0.0 + 1));
        self.base = Some(file);
    }
}

/// One write of a core: everything of a turn.
#[derive(Debug, Default)]
pub(crate) struct Operation {
    pub(crate) writes: Vec<Write>,
    /// To be sent when it is durable.
    pub(crate) messages: Vec<(ShardId, Message)>,
    /// A frontier, written behind what it speaks of.
    pub(crate) shown: Option<Index>,
}

/// What a core has under way, oldest first.
pub(crate) type Queue = VecDeque<Operation>;
