//! All frames, and how they become bytes.

#![allow(missing_docs, reason = "rkyv derives public fields that it leaves undocumented; ours are documented")]

use bytes::Bytes;
use rkyv::api::{deserialize_using, serialize_using};
use rkyv::rancor::{Error, Strategy};
use rkyv::ser::Serializer;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::sharing::Share;
use rkyv::util::with_arena;
use rkyv::{Archive, Deserialize, Portable, Serialize};

use super::blob::{Blob, FrameReader, FrameWriter};
use super::error::{FrameError, at_most};
use super::header::{HEADER_BYTES, Header};
use super::hello::Held;
use super::raft::RaftBatch;
use super::snapshot::{SnapshotAck, SnapshotBegin, SnapshotChunk, SnapshotEnd, TEXT_BYTES_MAX};
use super::{ALIGN, FRAME_BYTES_MAX};

/// Positions of one frontier: as many as there may be shards.
const POSITIONS_MAX: usize = 1024;
/// Peer URLs of one member.
const URLS_MAX: usize = 64;

/// How far a follower may show what it holds.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    /// The regime's term: that of group 0.
    pub term: u64,
    /// Every index up to here is committed or will never exist.
    pub visible: u64,
    /// What the primary's clock reads, in nanoseconds of the Unix epoch.
    pub clock: u64,
    /// For each group, by number: its last entry with nothing above `visible`.
    pub positions: Vec<u64>,
}

/// A command for the primary, from the member that a client gave it to.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The sender's number for it, to come back in the answer and in the entry.
    pub ticket: u64,
    /// The sender's process: after a restart its tickets mean others.
    pub process: u64,
    /// The term of the regime that it is meant for: in a later one it may have been tried again already.
    pub term: u64,
    /// The shard.
    pub shard: u32,
    /// The command: an archive of its own, aligned.
    #[rkyv(with = Blob)]
    pub command: Bytes,
}

/// What became of a forwarded command.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// As in the question.
    pub ticket: u64,
    /// What became of it.
    pub outcome: ForwardOutcome,
}

/// What became of a forwarded command.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ForwardOutcome {
    /// It is in the log; whether it takes effect is seen when it is applied.
    Proposed,
    /// It was not proposed: this member is not the primary, or not any more.
    NotPrimary,
    /// It was not proposed: why, in words for the client.
    Refused(String),
}

/// A quorum read: how far does one have to be?
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The sender's number for it, to come back in the answer.
    pub ticket: u64,
}

/// The answer to that.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// As in the question.
    pub ticket: u64,
    /// What was found.
    pub outcome: ConfirmOutcome,
}

/// What a quorum round found.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ConfirmOutcome {
    /// The primary was the primary after the question had arrived, and `visible` was this.
    Visible(u64),
    /// This member is not the primary, or not any more.
    NotPrimary,
    /// Not now: why, in words for the client.
    Refused(String),
}

/// Where the sender of a stream is found: the first thing it says, for a receiver that was away while it came.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its peer URLs.
    pub urls: Vec<String>,
}

/// The receiver's disk has held more than it does: an older one was put in its place. The last thing that is said on a stream.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Peer URLs of the sender, who can stand in for what the receiver has lost.
    pub urls: Vec<String>,
}

/// A frame's payload.
trait Payload: Sized {
    /// Messages inside, for the header.
    fn count(&self) -> usize {
        1
    }

    /// The group concerned, for the header.
    fn group(&self) -> u32 {
        0
    }

    /// The limits that an archive can not state.
    fn check(&self) -> Result<(), FrameError> {
        Ok(())
    }
}

/// The table of frames: number on the wire, name.
macro_rules! frames {
    ($($(#[$doc:meta])* $number:literal $name:ident,)*) => {
        /// What members say to each other after the handshake. The numbers on the wire are never used again for
        /// anything else.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Frame {
            $($(#[$doc])* $name($name),)*
            /// Nothing: the stream lives.
            Alive,
        }

        impl Frame {
            /// Its number on the wire.
            pub const fn kind(&self) -> u16 {
                match self {
                    Self::Alive => ALIVE,
                    $(Self::$name(_) => $number,)*
                }
            }

            /// Appends the frame to what is to be sent. If it can not be made, `out` is as it was.
            pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
                match self {
                    Self::Alive => {
                        seal(out.len(), ALIVE, 0, 0, 0, out);
                        Ok(())
                    }
                    $(Self::$name(payload) => encode(payload, $number, out),)*
                }
            }

            /// Reads a payload whose checksum fits.
            pub(super) fn read(header: &Header, payload: Bytes) -> Result<Self, FrameError> {
                match header.kind {
                    ALIVE if header.length == 0 => Ok(Self::Alive),
                    ALIVE => Err(FrameError::Contradiction("it says nothing at length")),
                    $($number => read::<$name>(header, payload).map(Self::$name),)*
                    other => Err(FrameError::UnknownKind(other)),
                }
            }

            /// Whether this version knows the kind.
            pub(super) const fn knows(kind: u16) -> bool {
                matches!(kind, ALIVE $(| $number)*)
            }
        }

        $(impl From<$name> for Frame {
            fn from(payload: $name) -> Self {
                Self::$name(payload)
            }
        })*
    };
}

/// The kind of [`Frame::Alive`], which has no payload.
const ALIVE: u16 = 1;

frames! {
    /// Raft's messages.
    2 RaftBatch,
    /// How far a follower may show what it holds.
    3 Frontier,
    /// A command for the primary.
    5 Forward,
    /// The answer to that.
    6 Forwarded,
    /// A question of the primary for a quorum read.
    7 Confirm,
    /// The answer to that.
    8 Confirmed,
    /// A snapshot begins.
    9 SnapshotBegin,
    /// A piece of it.
    10 SnapshotChunk,
    /// Its end.
    11 SnapshotEnd,
    /// What of it has arrived.
    12 SnapshotAck,
    /// Where the sender is found.
    13 Address,
    /// What the sender's disk holds by now.
    14 Held,
    /// The receiver has an older disk than it had.
    15 Outdated,
}

impl Payload for RaftBatch {
    fn count(&self) -> usize {
        self.messages.len()
    }

    fn group(&self) -> u32 {
        if let [only] = &self.messages[..] { only.group } else { 0 }
    }

    fn check(&self) -> Result<(), FrameError> {
        Self::check(self)
    }
}

impl Payload for Frontier {
    fn check(&self) -> Result<(), FrameError> {
        at_most("positions", self.positions.len(), POSITIONS_MAX)
    }
}

impl Payload for Forward {
    fn group(&self) -> u32 {
        self.shard
    }
}

impl Payload for Forwarded {
    fn check(&self) -> Result<(), FrameError> {
        match &self.outcome {
            ForwardOutcome::Refused(text) => at_most("bytes of text", text.len(), TEXT_BYTES_MAX),
            ForwardOutcome::Proposed | ForwardOutcome::NotPrimary => Ok(()),
        }
    }
}

impl Payload for Confirm {}

impl Payload for Held {}

impl Payload for Address {
    fn check(&self) -> Result<(), FrameError> {
        check_urls(&self.urls)
    }
}

impl Payload for Outdated {
    fn check(&self) -> Result<(), FrameError> {
        check_urls(&self.urls)
    }
}

fn check_urls(urls: &[String]) -> Result<(), FrameError> {
    at_most("URLs", urls.len(), URLS_MAX)?;
    urls.iter().try_for_each(|url| at_most("bytes of text", url.len(), TEXT_BYTES_MAX))
}

impl Payload for Confirmed {
    fn check(&self) -> Result<(), FrameError> {
        match &self.outcome {
            ConfirmOutcome::Refused(text) => at_most("bytes of text", text.len(), TEXT_BYTES_MAX),
            ConfirmOutcome::Visible(_) | ConfirmOutcome::NotPrimary => Ok(()),
        }
    }
}

impl Payload for SnapshotBegin {
    fn group(&self) -> u32 {
        self.group
    }
}

impl Payload for SnapshotChunk {
    fn group(&self) -> u32 {
        self.group
    }

    fn check(&self) -> Result<(), FrameError> {
        Self::check(self)
    }
}

impl Payload for SnapshotEnd {
    fn group(&self) -> u32 {
        self.message.group
    }

    fn check(&self) -> Result<(), FrameError> {
        Self::check(self)
    }
}

impl Payload for SnapshotAck {
    fn group(&self) -> u32 {
        self.group
    }

    fn check(&self) -> Result<(), FrameError> {
        Self::check(self)
    }
}

/// The serializer of a frame's archive.
type FrameSerializer<'o, 'a> = Serializer<FrameWriter<'o>, ArenaHandle<'a>, Share>;

/// Appends header, archive and blobs.
fn encode<T>(payload: &T, kind: u16, out: &mut Vec<u8>) -> Result<(), FrameError>
where
    T: Payload + for<'o, 'a> Serialize<Strategy<FrameSerializer<'o, 'a>, Error>>,
{
    payload.check()?;
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let writer = FrameWriter { start: out.len(), out, blobs: Vec::new() };
    let written = with_arena(|arena| {
        let mut serializer = Serializer::new(writer, arena.acquire(), Share::new());
        let written = serialize_using::<_, Error>(payload, &mut serializer);
        let FrameWriter { blobs, .. } = serializer.into_writer();
        written.map(|_| blobs)
    });
    let blobs = match written {
        Ok(blobs) => blobs,
        Err(error) => {
            out.truncate(start);
            return Err(FrameError::Malformed { kind, reason: error.to_string() });
        }
    };
    let record = out.len() - start - HEADER_BYTES;
    let length =
        blobs.iter().fold(record.next_multiple_of(ALIGN), |sum, blob| sum + blob.len().next_multiple_of(ALIGN));
    if length > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(FrameError::TooLarge(length));
    }
    out.reserve(length - record);
    for blob in &blobs {
        fill_up(start, out);
        out.extend_from_slice(blob);
    }
    fill_up(start, out);
    seal(start, kind, payload.count(), payload.group(), record, out);
    Ok(())
}

/// Zeroes up to the next place where something may begin in the frame that begins at `start`.
fn fill_up(start: usize, out: &mut Vec<u8>) {
    let length = (out.len() - start).next_multiple_of(ALIGN);
    out.resize(start + length, 0);
}

/// Writes the header of a frame whose payload stands there.
fn seal(start: usize, kind: u16, count: usize, group: u32, record: usize, out: &mut Vec<u8>) {
    if out.len() == start {
        out.resize(start + HEADER_BYTES, 0);
    }
    let (head, body) = out[start..].split_at_mut(HEADER_BYTES);
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    Header { length: body.len(), kind, count, group, record, body_crc: crc32c::crc32c(body) }.write(head);
}

/// Reads a payload whose checksum fits.
fn read<T>(header: &Header, payload: Bytes) -> Result<T, FrameError>
where
    T: Payload + Archive,
    T::Archived: Portable
        + for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, Error>>
        + Deserialize<T, Strategy<FrameReader, Error>>,
{
    let malformed_as = |reason: String| FrameError::Malformed { kind: header.kind, reason };
    let malformed = |error: Error| malformed_as(error.to_string());
    let archive = payload.slice(..header.record);
    let archived = rkyv::access::<T::Archived, Error>(&archive).map_err(malformed)?;
    let mut reader = FrameReader::new(payload, header.record);
    let value: T = deserialize_using(archived, &mut reader).map_err(malformed)?;
    if let Some(missing) = reader.missing() {
        return Err(malformed_as(missing.to_string()));
    }
    if !reader.is_finished() {
        return Err(FrameError::Contradiction("something stands behind its last bytes"));
    }
    value.check()?;
    Ok(value)
}
