//! `log` keeps bytes: one segmented log per core, recovery, snapshot files, the lock of the data directory.
//!
//! It promises that what was reported durable comes back after any crash, in order and unchanged, or that the loss is
//! named (file, offset, group, index); an unfinished write is told from rot. It gives no meaning to a payload and decides
//! nothing about raft.
//!
//! Two layers. The *pure* one (formats, [`Appender`], [`recover`]) has no executor and no clock: a simulation runs it
//! over a simulated disk. The *driver* ([`LogWriter`], [`SnapshotWriter`]) does what the pure one asks for, on glommio.
//!
//! `mutant::is(…)` is `false` in every build but the simulation's, which leaves out rules to see that it notices.

mod error;
mod ids;

pub mod batch;
pub mod record;
pub mod sector;
pub mod segment;

mod appender;
mod carry;
mod floors;
mod whereabouts;

mod chain;
mod disk;
mod groups;
mod recovery;
mod scan;
mod steps;
mod tail;

mod begun;
mod dir;
mod sealed;
mod snapshot;

mod scrub;

mod rewrite;
mod salvage;
mod unite;

mod driver;

pub use appender::{Appender, Closed, Start, WriteTicket};
pub use batch::{BatchBuilder, BatchHeader};
pub use begun::BegunLogs;
pub use dir::{DataDir, DirError};
pub use disk::{Disk, FileBytes, OsDisk};
pub use driver::{LogError, LogOptions, LogReader, LogWatch, LogWriter, Seen, SnapshotWriter, prune_snapshots};
pub use error::{Damage, RecoveryError, TornTail};
pub use groups::{Entry, Frontier, GroupLog};
pub use ids::{BatchSeq, CoreId, Epoch, GroupId, LogIdentity, Position, RaftIndex, SegmentSeq};
pub use record::{EntryType, HardState, Record};
pub use recovery::{Inherited, NewHeader, Recovered, Resume, Spare, recover};
pub use rewrite::{Rewritten, rewrite};
pub use salvage::{End, Facts, Known, Salvage, salvage};
pub use scan::{Break, SegmentScan, scan_segment};
pub use scrub::{Checked, Sealed, check_segment, check_snapshot, sealed_segments};
pub use sector::{BLOCK, SECTOR, SECTOR_PAYLOAD, SectorVerdict};
pub use segment::{DEFAULT_SEGMENT_BYTES, SegmentHeader};
pub use snapshot::{
    SNAPSHOT_CHUNK_MAX, SnapshotEncoder, SnapshotError, SnapshotFile, SnapshotHead, highest_snapshots, list_snapshots,
    list_snapshots_on, read_snapshot, set_aside, snapshot_file_name, tidy_snapshots, visit_snapshot, visit_snapshot_on,
    write_snapshot,
};
pub use tail::{Evidence, Found, MAX_IN_FLIGHT, Verdict, judge};
pub use unite::{Disunion, Question, UNSEEN_TERMS, United, Witness, unite};
