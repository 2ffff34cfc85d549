//! Bytes from a disk or a peer that are not what they should be.

use thiserror::Error;

/// What the world handed us and we cannot use. Nothing has been changed when one of these is returned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// A log entry's payload is no batch of commands.
    #[error(
        "a batch of commands is damaged or from another version ({0}); if it came from disk, let this member be \
         caught up by its peers, if from a peer, check that all members run the same version"
    )]
    Batch(String),
    /// A snapshot chunk is not what its place in the sequence asks for.
    #[error(
        "a snapshot is damaged or from another version ({0}); the previous snapshot with the log, or a peer's \
         snapshot, can take its place"
    )]
    Snapshot(String),
}
