//! What one data directory says: whose it is, which snapshots are good, and what is certain of its logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use log::{
    BegunLogs, DEFAULT_SEGMENT_BYTES, DataDir, DirError, GroupId, OsDisk, Position, RaftIndex, RecoveryError, Salvage,
    highest_snapshots, list_snapshots, read_snapshot, recover, salvage, visit_snapshot,
};
use net::peer::Held;
use shard::group::Members;

use super::refused;
use crate::birth::Birth;
use crate::config::Config;
use crate::failure::Fatal;
use crate::memory;
use crate::peer::Remembered;
use crate::recovery::{self, history_limits};

/// Snapshots of a shard that are looked at: as many as are kept at least.
const SNAPSHOTS: usize = 2;

/// One member's data directory.
pub(super) struct Source {
    pub(super) dir: PathBuf,
    pub(super) birth: Birth,
    pub(super) salvage: Salvage,
    /// Its disk says what it has promised, as far as it can be read.
    pub(super) promises: bool,
    /// The newest good ones of each shard, newest first.
    snapshots: BTreeMap<GroupId, Vec<(Position, PathBuf)>>,
    /// Who had a vote at the newest of them.
    members: BTreeMap<GroupId, Members>,
    /// The last index of the one order in any of them.
    applied: u64,
    /// A start would find nothing wrong, and knows which logs there must be.
    is_whole: bool,
    /// What it knows of the others' disks.
    pub(super) remembered: Remembered,
    /// For as long as it is read.
    _lock: Option<DataDir>,
}

impl Source {
    /// That of this member.
    pub(super) fn own(config: &Config, data: &DataDir, birth: &Birth) -> Result<Self, Fatal> {
        let noted = data.read_begun();
        Self::read(config, &config.data_dir, &config.log_dir(), birth.clone(), &noted, memory::remembered(data))
    }

    /// That of another member, or a copy of it.
    pub(super) fn other(config: &Config, own: &Birth, dir: &Path) -> Result<Self, Fatal> {
        let is_own = match (dir.canonicalize(), config.data_dir.canonicalize()) {
            (Ok(other), Ok(own)) => other == own,
            _ => false,
        };
        if is_own {
            return Err(refused(&format!("{} is the directory that is to be mended", dir.display())));
        }
        let data = DataDir::look(dir)?;
        let Some(identity) = data.read_identity()? else {
            return Err(refused(&format!("there is no data of a member in {}", dir.display())));
        };
        let birth: Birth = serde_json::from_slice(&identity)
            .map_err(|error| refused(&format!("{}/identity can not be read: {error}", data.member().display())))?;
        let stranger = |what: &str| Err(refused(&format!("{} {what}", dir.display())));
        if birth.cluster != own.cluster || birth.shards != own.shards {
            return stranger(&format!(
                "is of cluster {:x}, this member is of cluster {:x}",
                birth.cluster, own.cluster
            ));
        }
        if birth.member == own.member {
            return stranger("is of the member that is to be mended");
        }
        if birth.staged {
            return stranger("was left in the middle of a change: start that member, or mend it, first");
        }
        let noted = data.read_begun();
        let log_dir = data.member().join("wal");
        let source = Self::read(config, dir, &log_dir, birth, &noted, memory::remembered(&data))?;
        Ok(Self { _lock: Some(data), ..source })
    }

    /// `noted` are the logs that there must be, if that can be read.
    fn read(
        config: &Config,
        dir: &Path,
        log_dir: &Path,
        birth: Birth,
        noted: &Result<Option<BegunLogs>, DirError>,
        remembered: Remembered,
    ) -> Result<Self, Fatal> {
        crate::notice!("wal", "reading {}", dir.display());
        if let Err(error) = noted {
            tracing::warn!(target: "wal", "{error}");
        }
        let snap = dir.join("member/snap");
        let Good { snapshots, members, applied } = good_snapshots(config, &birth, &snap)?;
        let io = |error: std::io::Error| refused(&format!("{} can not be listed: {error}", snap.display()));
        let named = highest_snapshots(&snap).map_err(io)?;
        let must_be = noted.as_ref().ok().copied().flatten();
        let start = RaftIndex::new(birth.log_start().0.0);
        let floor = |group: GroupId| named.get(&group).copied().unwrap_or_default().max(start);
        let groups = (0..birth.shards).map(GroupId::new).map(|group| (group, floor(group))).collect();
        let found =
            salvage(&OsDisk::default(), log_dir, birth.log_identity(), &groups, must_be, DEFAULT_SEGMENT_BYTES)?;
        for loss in &found.losses {
            tracing::warn!(target: "wal", "{loss}");
        }
        let forgetful = !birth.promised_to.is_empty() || birth.outdated;
        if forgetful {
            tracing::warn!(target: "wal", "{}: this member had lost its data before, and may have forgotten promises", dir.display());
        }
        crate::notice!(
            "wal",
            "{}: {} bytes of log, damaged in {} places",
            dir.display(),
            found.bytes,
            found.losses.len()
        );
        // A log that is gone as a whole shows by the note alone. One that is not noted had not begun to serve, or it was taken
        // from here: then nothing is missed.
        if !forgetful && (must_be.is_none() || !found.has_log) {
            tracing::warn!(
                target: "wal",
                "{}: nothing notes which logs {} must hold, or it holds none: what this member has promised is not known",
                dir.display(),
                log_dir.display()
            );
        }
        let promises = !forgetful && must_be.is_some() && found.has_log;
        let mut source = Self {
            dir: dir.to_owned(),
            birth,
            salvage: found,
            promises,
            snapshots,
            members,
            applied,
            is_whole: false,
            remembered,
            _lock: None,
        };
        source.is_whole = promises && source.recovers(log_dir, must_be)?;
        Ok(source)
    }

    /// Whether a start would find nothing missing.
    fn recovers(&self, log_dir: &Path, noted: Option<BegunLogs>) -> Result<bool, Fatal> {
        let (index, term) = self.birth.log_start();
        let start = Position { index: RaftIndex::new(index.0), term: term.0 };
        let base = |group: GroupId| Some(self.positions(group).first().copied().unwrap_or(start));
        let recovered = recover(&OsDisk::default(), log_dir, self.birth.log_identity(), &base);
        let checked = recovered.and_then(|recovered| noted.map_or(Ok(()), |noted| noted.check(log_dir, &recovered)));
        match checked {
            Ok(()) => Ok(true),
            Err(error) if error.is_damage() || matches!(error, RecoveryError::MissingLog { .. }) => {
                // Every loss was named when it was found.
                if self.salvage.losses.is_empty() {
                    tracing::warn!(target: "wal", "{}: a start would be refused: {error}", self.dir.display());
                }
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The terms of its groups together, and the highest index noted as visible, as far as its logs still say.
    pub(super) fn held(&self) -> Held {
        let groups = || self.salvage.groups.values();
        let newest = |group: &GroupId| self.positions(*group).first().map_or(0, |position| position.term);
        let terms = self.salvage.groups.iter();
        Held {
            visible: groups().filter_map(|facts| facts.frontier).map(|noted| noted.visible).max().unwrap_or(0),
            terms: terms.map(|(group, facts)| facts.end.term.unwrap_or(facts.term).max(newest(group))).sum(),
            forgetful: !self.promises,
        }
    }

    /// The last index of the one order in any of its snapshots.
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Its good snapshots of a shard, newest first.
    pub(super) fn positions(&self, group: GroupId) -> Vec<Position> {
        self.snapshots.get(&group).into_iter().flatten().map(|(position, _)| *position).collect()
    }

    /// The file of one of them.
    pub(super) fn snapshot(&self, group: GroupId, at: Position) -> Option<&Path> {
        let found = self.snapshots.get(&group)?.iter().find(|(position, _)| *position == at)?;
        Some(&found.1)
    }

    /// Who had a vote in a shard, and since which index at least; none: this one does not know.
    pub(super) fn members(&self, group: GroupId) -> Option<(RaftIndex, Members)> {
        match (self.members.get(&group), self.positions(group).first()) {
            (Some(members), Some(position)) => Some((position.index, members.clone())),
            _ if self.birth.joined => None,
            _ => Some((RaftIndex::new(self.birth.log_start().0.0), self.birth.first_members())),
        }
    }
}

/// The newest snapshots of each shard that read well, and what is in the newest of them.
#[derive(Default)]
struct Good {
    snapshots: BTreeMap<GroupId, Vec<(Position, PathBuf)>>,
    members: BTreeMap<GroupId, Members>,
    applied: u64,
}

fn good_snapshots(config: &Config, birth: &Birth, dir: &Path) -> Result<Good, Fatal> {
    let files =
        list_snapshots(dir).map_err(|error| refused(&format!("{} can not be listed: {error}", dir.display())))?;
    let mut good = Good::default();
    for file in files.into_iter().filter(|file| file.group.get() < birth.shards) {
        let known = good.snapshots.entry(file.group).or_default();
        if known.len() == SNAPSHOTS {
            continue;
        }
        let read = if known.is_empty() {
            read_snapshot(&file.path).map(|(head, pieces)| (head, Some(pieces)))
        } else {
            visit_snapshot(&file.path, &mut |_| {}).map(|head| (head, None))
        };
        match read {
            Ok((head, pieces)) => {
                if let Some(pieces) = pieces {
                    let store = recovery::restore(file.group.get(), pieces, history_limits(config))?;
                    good.members.insert(file.group, store.members().clone());
                    good.applied = good.applied.max(store.applied().0);
                }
                known.push((head.position, file.path));
            }
            Err(error) => tracing::warn!(target: "snap", "{error}"),
        }
    }
    Ok(good)
}
