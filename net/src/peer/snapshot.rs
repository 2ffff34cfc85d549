//! The state of a group on its way to a member that has fallen behind.
//!
//! The sender opens a transfer under a number of its own, sends chunks numbered from 0, at most a few ahead of what the
//! receiver has acknowledged, and ends with raft's message, which takes effect only now. After a lost connection
//! it begins again under the same number; the answer says which chunk is wanted next, so nothing is sent twice. A
//! receiver that does not know the transfer any more wants chunk 0.

#![allow(missing_docs, reason = "rkyv derives public fields that it leaves undocumented; ours are documented")]

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use super::blob::Blob;
use super::error::{FrameError, at_most};
use super::raft::RaftMessage;

/// Bytes of one chunk.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Bytes of a reason.
pub(super) const TEXT_BYTES_MAX: usize = 4096;

/// A transfer begins, or goes on after a lost connection.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBegin {
    /// The sender's number for it, never used for another one.
    pub transfer: u64,
    /// The group.
    pub group: u32,
    /// The last entry that the state holds.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
}

/// One piece of the state.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// The transfer.
    pub transfer: u64,
    /// The group.
    pub group: u32,
    /// Its number, from 0.
    pub number: u32,
    /// CRC-32C of the data, made where the chunk was made: it goes on to hold while the chunk waits and is stored.
    pub crc: u32,
    /// The piece.
    #[rkyv(with = Blob)]
    pub data: Bytes,
}

/// All chunks have been sent.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// The transfer.
    pub transfer: u64,
    /// How many chunks there were.
    pub chunks: u32,
    /// CRC-32C over the data of all chunks.
    pub crc: u32,
    /// Raft's message, to be stepped when the state is there.
    pub message: Box<RaftMessage>,
}

/// What the receiver has.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotAck {
    /// The transfer.
    pub transfer: u64,
    /// The group.
    pub group: u32,
    /// The chunk wanted next; all before it are kept.
    pub next: u32,
    /// How it stands.
    pub outcome: SnapshotOutcome,
}

/// How a transfer stands.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum SnapshotOutcome {
    /// More is wanted.
    Going,
    /// The state is installed and durable, or was not needed any more.
    Done,
    /// The transfer is over: why. Raft may ask for another one.
    Failed(String),
}

impl SnapshotChunk {
    /// A chunk with its checksum.
    pub fn new(transfer: u64, group: u32, number: u32, data: Bytes) -> Self {
        Self { transfer, group, number, crc: crc32c::crc32c(&data), data }
    }

    /// Whether the data is what the sender had.
    pub fn is_whole(&self) -> bool {
        crc32c::crc32c(&self.data) == self.crc
    }

    pub(super) fn check(&self) -> Result<(), FrameError> {
        at_most("bytes of a chunk", self.data.len(), CHUNK_BYTES_MAX)
    }
}

impl SnapshotEnd {
    pub(super) fn check(&self) -> Result<(), FrameError> {
        self.message.check()
    }
}

impl SnapshotAck {
    pub(super) fn check(&self) -> Result<(), FrameError> {
        match &self.outcome {
            SnapshotOutcome::Failed(text) => at_most("bytes of text", text.len(), TEXT_BYTES_MAX),
            SnapshotOutcome::Going | SnapshotOutcome::Done => Ok(()),
        }
    }
}
