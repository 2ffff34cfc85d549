//! What is on the disk, read back before anything is served: snapshots, logs, and what each executor starts from.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use log::{
    BegunLogs, GroupId, GroupLog, OsDisk, Position, RecoveryError, Resume, SnapshotError, SnapshotFile, list_snapshots,
    read_snapshot, recover, set_aside, tidy_snapshots,
};
use shard::group::LogEntry;
use shard::history::HistoryLimits;
use shard::ids::{RaftIndex, Term};
use shard::shard::validate;
use shard::snapshot::Restore;
use shard::store::Store;

use crate::birth::Birth;
use crate::config::Config;
use crate::core::unframe;
use crate::failure::Fatal;

/// What one shard starts from.
#[derive(Debug)]
pub(crate) struct ShardSeed {
    /// Its number, and that of its group.
    pub(crate) shard: u16,
    /// The chunks of its newest readable snapshot; none: it starts empty.
    pub(crate) snapshot: Option<Vec<Bytes>>,
    /// Positions of its snapshots on the disk, newest readable first.
    pub(crate) snapshots: Vec<(RaftIndex, Term)>,
    /// Where its newest damaged snapshot ended.
    pub(crate) lost: Option<RaftIndex>,
    /// The log above it.
    pub(crate) log: GroupLog,
}

impl ShardSeed {
    /// The term in which its group starts.
    fn term(&self) -> u64 {
        let voted = self.log.hard_state.map_or(0, |state| state.term);
        let snapshot = self.snapshots.first().map_or(0, |(_, term)| term.0);
        let entry = self.log.entries.last().map_or(0, |entry| entry.term);
        voted.max(snapshot).max(entry)
    }

    /// Takes out the state of its snapshot and the entries of the log above it, checked.
    pub(crate) fn take_state(&mut self, limits: HistoryLimits) -> Result<(Store, Vec<LogEntry>), Fatal> {
        let shard = self.shard;
        let store = match self.snapshot.take() {
            None => Store::new(limits),
            Some(pieces) => restore(shard, pieces, limits)?,
        };
        let mut entries = Vec::with_capacity(self.log.entries.len());
        for entry in self.log.entries.drain(..) {
            let entry = from_log(entry);
            validate(&entry).map_err(|error| unusable(shard, &error))?;
            entries.push(entry);
        }
        Ok((store, entries))
    }
}

/// A shard's state from the pieces of a snapshot of it.
pub(crate) fn restore(shard: u16, pieces: Vec<Bytes>, limits: HistoryLimits) -> Result<Store, Fatal> {
    let mut restore = Restore::new(limits);
    for chunk in unframe(pieces).ok_or_else(|| unusable(shard, &"its snapshot's chunks do not fit"))? {
        restore.push(&chunk).map_err(|error| unusable(shard, &error))?;
    }
    restore.finish().map_err(|error| unusable(shard, &error))
}

/// An entry as the log keeps it, for a shard.
pub(crate) fn from_log(entry: log::Entry) -> LogEntry {
    LogEntry {
        index: RaftIndex(entry.index.get()),
        term: Term(entry.term),
        conf_change: entry.entry_type != log::EntryType::Normal,
        data: entry.payload,
    }
}

/// Why a shard can not be started from what is on the disk.
pub(crate) fn unusable(shard: u16, what: &dyn Display) -> Fatal {
    Fatal::Other(format!("shard {shard} can not be restored: {what}"))
}

/// How much of the past each shard keeps.
pub(crate) fn history_limits(config: &Config) -> HistoryLimits {
    HistoryLimits { events: config.history_events, bytes: config.history_bytes }
}

/// What the executors start from.
#[derive(Debug)]
pub(crate) struct Found {
    /// Per executor: its shards in order.
    pub(crate) shards: Vec<Vec<ShardSeed>>,
    /// Per executor: how its log goes on.
    pub(crate) resume: Vec<Resume>,
    /// The logs that this start begins.
    pub(crate) begun: BegunLogs,
}

impl Found {
    /// The highest index that is noted on the disk as visible.
    pub(crate) fn visible(&self) -> u64 {
        self.shards.iter().flatten().filter_map(|seed| seed.log.frontier).map(|noted| noted.visible).max().unwrap_or(0)
    }

    /// Per executor: the sum of its groups' terms.
    pub(crate) fn terms(&self) -> Vec<u64> {
        self.shards.iter().map(|seeds| seeds.iter().map(ShardSeed::term).sum()).collect()
    }
}

/// Why a state could not be read back.
pub(crate) enum Unread {
    /// The log is not what it was.
    Log(RecoveryError),
    /// Anything else.
    Fatal(Fatal),
}

impl From<RecoveryError> for Unread {
    fn from(error: RecoveryError) -> Self {
        Self::Log(error)
    }
}

impl From<Fatal> for Unread {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

impl From<Unread> for Fatal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Log(error) => Self::Other(error.to_string()),
            Unread::Fatal(fatal) => fatal,
        }
    }
}

/// A shard's newest readable snapshot.
struct Loaded {
    position: Position,
    chunks: Vec<Bytes>,
    older: Vec<SnapshotFile>,
}

/// Reads everything back. Blocks; changes nothing on the disk, but for damaged and unfinished snapshots.
///
/// `noted` are the logs that there must be.
pub(crate) fn read_back(config: &Config, birth: &Birth, noted: Option<BegunLogs>) -> Result<Found, Unread> {
    let begun = Instant::now();
    let (mut snapshots, damaged) = load_snapshots(&config.snapshot_dir())?;
    let (index, term) = birth.log_start();
    let start = Position { index: log::RaftIndex::new(index.0), term: term.0 };
    let base_of = |loaded: Option<&Loaded>| Some(loaded.map_or(start, |loaded| loaded.position));
    let base = |group: GroupId| base_of(snapshots.get(&group));
    let mut recovered = recover(&OsDisk::default(), &config.log_dir(), birth.log_identity(), &base)?;
    if let Some(noted) = noted {
        noted.check(&config.log_dir(), &recovered)?;
    }
    for file in &damaged {
        put_aside(&file.path);
    }
    if let Err(error) = tidy_snapshots(&config.snapshot_dir()) {
        tracing::warn!(target: "snap", "can not tidy {}: {error}", config.snapshot_dir().display());
    }
    for torn in &recovered.torn {
        tracing::info!(target: "wal", "{torn}");
    }
    let bytes = recovered.bytes;
    let cores = config.cores.len();
    // An executor without shards has nothing to write.
    let logs_begun = BegunLogs { epoch: recovered.epoch, logs: birth.shards.min(cores as u16) };
    let mut shards: Vec<Vec<ShardSeed>> = (0..cores).map(|_| Vec::new()).collect();
    let mut entries = 0;
    for shard in 0..birth.shards {
        let group = GroupId::new(shard);
        // One that was restored from a backup has a snapshot, and no log yet.
        let empty = GroupLog { base: base_of(snapshots.get(&group)), ..GroupLog::default() };
        let log = recovered.groups.remove(&group).unwrap_or(empty);
        entries += log.entries.len();
        let mut seed = seed(shard, log, snapshots.remove(&group));
        let lost = damaged.iter().filter(|file| file.group == group).map(|file| RaftIndex(file.index.get()));
        seed.lost = lost.max();
        shards[usize::from(shard) % cores].push(seed);
    }
    if bytes > 0 {
        let ms = begun.elapsed().as_millis();
        tracing::info!(target: "wal", "read back {entries} entries from {bytes} bytes of log in {ms} ms");
    }
    Ok(Found { shards, resume: recovered.resume(cores as u16), begun: logs_begun })
}

fn seed(shard: u16, log: GroupLog, loaded: Option<Loaded>) -> ShardSeed {
    let Some(Loaded { position, chunks, older }) = loaded else {
        return ShardSeed { shard, snapshot: None, snapshots: Vec::new(), lost: None, log };
    };
    let newest = (RaftIndex(position.index.get()), Term(position.term));
    // Of the older ones only the position counts: the log is kept from there on.
    let older = older.iter().map(|file| (RaftIndex(file.index.get()), Term::default()));
    let snapshots = std::iter::once(newest).chain(older).collect();
    ShardSeed { shard, snapshot: Some(chunks), snapshots, lost: None, log }
}

/// For each shard the newest snapshot that reads well, and those before it, of which the newest reads well, too; and the
/// damaged ones, which are named.
fn load_snapshots(dir: &Path) -> Result<(BTreeMap<GroupId, Loaded>, Vec<SnapshotFile>), Fatal> {
    let files = list_snapshots(dir).map_err(|error| {
        Fatal::Other(format!("can not list {}: {error}. Check the owner and mode of the data directory", dir.display()))
    })?;
    let mut loaded: BTreeMap<GroupId, Loaded> = BTreeMap::new();
    let mut damaged = Vec::new();
    // Newest first within a group.
    for file in files {
        let newer = loaded.get_mut(&file.group);
        if let Some(newer) = newer.filter(|newer| !newer.older.is_empty()) {
            newer.older.push(file);
            continue;
        }
        // The one before, too: what it covers of the log is given up on the strength of it.
        match read_snapshot(&file.path) {
            Ok((head, chunks)) => match loaded.get_mut(&file.group) {
                Some(newer) => newer.older.push(file),
                None => {
                    loaded.insert(file.group, Loaded { position: head.position, chunks, older: Vec::new() });
                }
            },
            Err(error) => {
                tracing::error!(target: "snap", "{error}");
                damaged.extend(matches!(error, SnapshotError::Damaged { .. }).then_some(file));
            }
        }
    }
    Ok((loaded, damaged))
}

/// The state was found without this snapshot: it must not count as one of those that are kept.
fn put_aside(path: &Path) {
    match set_aside(path) {
        Ok(aside) => tracing::warn!(target: "snap", "the damaged snapshot is now {}", aside.display()),
        Err(error) => tracing::warn!(target: "snap", "can not rename {}: {error}", path.display()),
    }
}
