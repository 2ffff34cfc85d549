//! What can be wrong with a log that is read back, in words an operator can act on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::ids::{BatchSeq, GroupId, LogIdentity, RaftIndex};

/// Something that may have been promised cannot be read. Nothing on the disk was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The first bad byte's sector, in bytes from the file's begin.
    pub offset: u64,
    /// The raft group that the bytes belong to, when it can still be told.
    pub group: Option<GroupId>,
    /// The raft index of the entry that they belong to, when it can still be told.
    pub index: Option<RaftIndex>,
    /// Else, the last entry before them in this log that can still be read.
    pub behind: Option<(GroupId, RaftIndex)>,
    /// What is wrong.
    pub what: String,
}

impl Damage {
    pub(crate) fn new(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), offset, group: None, index: None, behind: None, what: what.into() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at offset {}", self.file.display(), self.offset)?;
        match (self.group, self.index, self.behind) {
            (Some(group), Some(index), _) => write!(f, " (group {group}, index {index})")?,
            (Some(group), None, _) => write!(f, " (group {group}, index unknown)")?,
            (None, _, Some((group, index))) => write!(f, " (behind group {group}, index {index})")?,
            (None, _, None) => write!(f, " (group and index unknown)")?,
        }
        write!(f, ": {}", self.what)
    }
}

/// An unfinished write that was dropped: nothing in it had been promised. For the log only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file in which the log ends now.
    pub file: PathBuf,
    /// Where it ends.
    pub offset: u64,
    /// How much was dropped, in whole sectors.
    pub bytes: u64,
    /// The first batch dropped.
    pub batch: BatchSeq,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, batch } = self;
        write!(
            f,
            "{}: dropped {bytes} bytes of an unfinished write at offset {offset} (batch {batch}); nothing of it was acknowledged",
            file.display()
        )
    }
}

/// Why a log could not be read back. Nothing on the disk was changed.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// Bytes that may have been promised are gone or wrong.
    #[error(
        "{0}. Nothing was changed. Remove this member and add it again with an empty data directory, so that its peers \
         send everything. Where a majority may be damaged, stop all members and give --mend-from first; without peers, restore a \
         backup"
    )]
    Damaged(Damage),
    /// A segment between two others is gone.
    #[error(
        "{} is missing although segments before and after it are there. Nothing was changed. Put the file back; or remove \
         this member and add it again with an empty data directory, so that its peers send everything",
        .file.display()
    )]
    MissingSegment {
        /// The missing file.
        file: PathBuf,
    },
    /// The newest segments of a core's log are gone: the last one that is there names another.
    #[error(
        "{} lacks the newest segments of its log: {} was behind the ones that are there, and is missing. Nothing was changed. \
         Put back that file and all that came after it; or remove this member and add it again with an empty data directory, \
         so that its peers send everything; without peers, restore a backup",
        .file.parent().unwrap_or(.file).display(), .file.display()
    )]
    MissingNewest {
        /// The first missing file.
        file: PathBuf,
    },
    /// The log of a core is gone, or its newest part, although a start has noted that it was there.
    #[error(
        "{} lacks the log that was in it, or its newest segments. Nothing was changed. Put the files back, or give the \
         --wal-dir that they are in; or remove this member and add it again with an empty data directory, so that its peers \
         send everything",
        .dir.display()
    )]
    MissingLog {
        /// The core's folder.
        dir: PathBuf,
    },
    /// The log does not reach from the snapshot that was loaded to what it must hold.
    #[error(
        "the log of group {group} lacks entries {from} to {to}: segments or the newest snapshot are missing, or an older \
         copy was put in place. Nothing was changed. Put the files back; or remove this member and add it again with an \
         empty data directory, so that its peers send everything"
    )]
    MissingEntries {
        /// The group.
        group: GroupId,
        /// The first missing entry.
        from: RaftIndex,
        /// The last missing entry.
        to: RaftIndex,
    },
    /// The files are another member's.
    #[error(
        "{} belongs to member {:x} of cluster {:x}, this is member {:x} of cluster {:x}. Nothing was changed. Check --data-dir",
        .file.display(), .found.member, .found.cluster, .expected.member, .expected.cluster
    )]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        found: LogIdentity,
        /// Who we are.
        expected: LogIdentity,
    },
    /// The files were written by a build with another format.
    #[error(
        "{} has format version {found}, this build reads version {expected}. Nothing was changed. Start the version of \
         uetcd that wrote it",
        .file.display()
    )]
    UnknownVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The disk or the directory refused.
    #[error("cannot read {}: {source}. Check the disk, and the owner and mode of the data directory", .file.display())]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl RecoveryError {
    /// What the log held is lost, as far as this disk goes; nothing that an operator has done can explain it, and what peers
    /// hold can stand in for it.
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged(_) | Self::MissingSegment { .. } | Self::MissingNewest { .. } | Self::MissingEntries { .. }
        )
    }
}

impl From<Damage> for RecoveryError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}
