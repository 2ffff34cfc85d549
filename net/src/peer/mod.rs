//! What members say to each other, as bytes: a handshake, then frames.
//!
//! Each side of a stream is a pure function of bytes, as everything here: [`Hello`] and [`Answer`] open it,
//! [`Frame::encode`] appends to the sender's buffer, [`Decoder`] finds frames in what the receiver reads, however it is
//! cut. Frames are checked once, on receipt: checksum, then rkyv's checked access, then the limits of [`Frame`]. What is
//! in them belongs to the caller, and bytes that may be large (entries, commands, chunks of snapshots) are slices of the
//! received frame, aligned to [`ALIGN`], so that the archives inside can be read in place.
//!
//! This knows neither raft nor shards: groups, terms and indices are numbers. `docs/wire-format.md` is the drawing.

mod blob;
mod decode;
mod error;
mod frame;
mod header;
mod hello;
mod raft;
mod snapshot;

pub use decode::Decoder;
pub use error::FrameError;
pub use frame::{
    Address, Confirm, ConfirmOutcome, Confirmed, Forward, ForwardOutcome, Forwarded, Frame, Frontier, Outdated,
};
pub use hello::{Answer, HANDSHAKE_BYTES, Held, Hello, HelloError, Identity, MAGIC, Refusal, Standing};
pub use raft::{Entry, EntryKind, MessageKind, RaftBatch, RaftMessage, SnapshotPosition, SnapshotVoters};
pub use snapshot::{SnapshotAck, SnapshotBegin, SnapshotChunk, SnapshotEnd, SnapshotOutcome};

/// Version of the handshake behind its first 16 bytes, and of the frames. Raised with every change of either: members of
/// different versions refuse each other.
pub const PROTOCOL: u16 = 2;

/// Where the payload of a frame, and all bytes in it that are handed out, begin: at a multiple of this.
pub const ALIGN: usize = 16;

/// The longest payload of a frame. A batch of entries is cut well below it; one entry must fit
/// ([`ENTRY_BYTES_MAX`]).
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// The most data of one entry or command: what a frame holds, less the room for what is said about it.
pub const ENTRY_BYTES_MAX: usize = FRAME_BYTES_MAX - (64 << 10);
