//! One node's disk: files whose writes are durable only after a sync, and names that are only after the directory's.
//!
//! A crash leaves any subset of the sectors that were written and not synced, and any prefix of the names that were changed
//! and not synced: filesystems with a journal keep the order of those.

mod damage;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use log::sector::{BLOCK, SECTOR};
use log::{Disk, FileBytes};
use mutant::Mutant;

use crate::snapshots::SNAPSHOTS;
use shard::random::Random;

pub(crate) use damage::Damage;

/// One thing asked of the disk.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// A file with its space taken, in place of what has its name, and a write of all its bytes.
    Make(PathBuf, Vec<u8>),
    Write(PathBuf, u64, Vec<u8>),
    /// What was written to the file before.
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// The names.
    SyncDir,
}

/// Why the disk did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no power any more.
    Power,
    /// The write failed.
    Write,
    /// The sync failed: what it was to make durable may be or not.
    Sync,
    Full,
    /// No such file.
    Missing,
}

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survives {
    /// Only the process was killed.
    All,
    Nothing,
    /// Each sector by itself.
    Some,
    /// The first sectors of every write.
    Beginnings,
}

impl Survives {
    /// Every kind.
    pub(crate) const ALL: [Self; 4] = [Self::All, Self::Nothing, Self::Some, Self::Beginnings];
}

#[derive(Clone, Debug)]
struct Unsynced {
    offset: usize,
    bytes: Vec<u8>,
}

/// A block as it was before it was overwritten.
#[derive(Clone, Debug)]
struct Old {
    /// The number of the write that did it.
    write: u64,
    offset: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    /// What would be durable if nothing had been damaged; none: nothing was.
    whole: Option<Vec<u8>>,
    unsynced: Vec<Unsynced>,
    /// The newest at the end.
    old: Vec<Old>,
    /// Writes that became durable, that of the whole file not counted.
    writes: u64,
}

impl File {
    /// Makes bytes durable.
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for content in std::iter::once(&mut self.durable).chain(&mut self.whole) {
            put(content, offset, bytes);
        }
    }

    /// What is durable, to be damaged.
    fn harm(&mut self) -> &mut Vec<u8> {
        self.whole.get_or_insert_with(|| self.durable.clone());
        &mut self.durable
    }
}

#[derive(Clone, Debug)]
enum Name {
    Given(PathBuf, u64),
    Moved(PathBuf, PathBuf),
    Gone(PathBuf),
}

fn change(names: &mut BTreeMap<PathBuf, u64>, name: &Name) {
    match name {
        Name::Given(path, id) => drop(names.insert(path.clone(), *id)),
        Name::Moved(from, to) => drop(names.remove(from).map(|id| names.insert(to.clone(), id))),
        Name::Gone(path) => drop(names.remove(path)),
    }
}

/// The disk of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk {
    files: BTreeMap<u64, File>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<Name>,
    next_file: u64,
    /// Calls until the power goes.
    pub(crate) power_for: Option<u64>,
    /// The same, if a plan says when: now, and again after each time.
    cuts: VecDeque<u64>,
    /// How often that was.
    pub(crate) planned_cuts: usize,
    /// Calls until one fails, with everything after it.
    pub(crate) fails_after: Option<u64>,
    /// No space for another file.
    pub(crate) full: bool,
}

impl SimDisk {
    /// An empty one, whose power goes after so many calls, and again after so many.
    pub(crate) fn with_cuts(cuts: impl Iterator<Item = u64>) -> Self {
        Self { cuts: cuts.collect(), ..Self::default() }
    }

    /// No power cut is under way that was not planned for after another one.
    pub(crate) fn keep_power(&mut self) {
        (self.power_for, self.fails_after) = (None, None);
        if self.planned_cuts == 0 {
            self.cuts.clear();
        }
    }

    /// Does what is asked, unless something is in the way.
    pub(crate) fn call(&mut self, call: &Call) -> Result<(), Fault> {
        let planned = self.cuts.front_mut().is_some_and(runs_out);
        if planned || self.power_for.as_mut().is_some_and(runs_out) {
            // It may have begun.
            if let Call::Write(path, offset, bytes) = call {
                let _ = self.write(path, *offset, bytes);
            }
            return Err(Fault::Power);
        }
        let fails = self.fails_after.as_mut().is_some_and(runs_out);
        match call {
            Call::Make(..) if self.full => Err(Fault::Full),
            Call::Make(path, bytes) => {
                self.make(path, bytes);
                Ok(())
            }
            Call::Write(..) if fails => Err(Fault::Write),
            Call::Write(path, offset, bytes) => self.write(path, *offset, bytes),
            Call::Sync(_) if fails => Err(Fault::Sync),
            Call::Sync(path) if mutant::is(Mutant::NamedBeforeSynced) && path.starts_with(SNAPSHOTS) => Ok(()),
            Call::SyncDir if mutant::is(Mutant::NamesNotSynced) => Ok(()),
            Call::Sync(path) => self.sync(path),
            Call::Rename(from, to) => {
                if !self.names.contains_key(from) {
                    return Err(Fault::Missing);
                }
                self.rename(Name::Moved(from.clone(), to.clone()));
                Ok(())
            }
            Call::Remove(path) => {
                self.rename(Name::Gone(path.clone()));
                Ok(())
            }
            Call::SyncDir => {
                for name in std::mem::take(&mut self.unsynced_names) {
                    change(&mut self.durable_names, &name);
                }
                self.forget_files();
                Ok(())
            }
        }
    }

    /// As it would be if the power went now, and of what is not synced only the names were there.
    pub(crate) fn with_names_alone(&self) -> Self {
        let mut disk = self.clone();
        disk.files.values_mut().for_each(|file| file.unsynced.clear());
        disk
    }

    /// As it would be if nothing had ever been damaged.
    pub(crate) fn undamaged(&self) -> Self {
        let mut disk = self.clone();
        for file in disk.files.values_mut() {
            if let Some(whole) = file.whole.take() {
                file.durable = whole;
            }
        }
        disk
    }

    /// Whether a file has this name.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.names.contains_key(path)
    }

    /// Everything is lost.
    pub(crate) fn wipe(&mut self) {
        *self = Self { next_file: self.next_file, ..Self::default() };
    }

    /// All files below `dir` are gone.
    pub(crate) fn remove_all(&mut self, dir: &Path) {
        self.names.retain(|path, _| !path.starts_with(dir));
        self.durable_names = self.names.clone();
        self.forget_files();
    }

    /// The node stops in the middle of whatever it does. True if a write was cut in two.
    pub(crate) fn crash(&mut self, survives: Survives, random: &mut Random) -> bool {
        let changes = std::mem::take(&mut self.unsynced_names);
        let kept = match survives {
            Survives::All => changes.len(),
            Survives::Nothing => 0,
            Survives::Some | Survives::Beginnings => random.below(changes.len() + 1),
        };
        changes[..kept].iter().for_each(|name| change(&mut self.durable_names, name));
        self.names = self.durable_names.clone();
        self.forget_files();
        let mut torn = false;
        for file in self.files.values_mut() {
            for write in std::mem::take(&mut file.unsynced) {
                let sectors = write.bytes.len().div_ceil(SECTOR);
                let begun = random.below(sectors + 1);
                let kept: Vec<bool> = (0..sectors)
                    .map(|nth| match survives {
                        Survives::All => true,
                        Survives::Nothing => false,
                        Survives::Some => random.permille(500),
                        Survives::Beginnings => nth < begun,
                    })
                    .collect();
                torn |= kept.contains(&true) && kept.contains(&false);
                for (nth, sector) in write.bytes.chunks(SECTOR).enumerate().filter(|(nth, _)| kept[*nth]) {
                    file.put(write.offset + nth * SECTOR, sector);
                }
            }
        }
        (self.power_for, self.fails_after) = (None, None);
        if self.cuts.pop_front_if(|calls| *calls == 0).is_some() {
            self.planned_cuts += 1;
        }
        torn
    }

    fn make(&mut self, path: &Path, bytes: &[u8]) {
        let id = self.names.get(path).copied().unwrap_or(self.next_file + 1);
        if id > self.next_file {
            self.next_file = id;
            self.rename(Name::Given(path.to_owned(), id));
        }
        let unsynced = vec![Unsynced { offset: 0, bytes: bytes.to_vec() }];
        self.files.insert(id, File { durable: vec![0; bytes.len()], unsynced, ..File::default() });
    }

    fn write(&mut self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let file = self.file_mut(path).ok_or(Fault::Missing)?;
        file.unsynced.push(Unsynced { offset: offset as usize, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync(&mut self, path: &Path) -> Result<(), Fault> {
        let file = self.file_mut(path).ok_or(Fault::Missing)?;
        for write in std::mem::take(&mut file.unsynced) {
            if write.bytes.len() < file.durable.len() {
                let (begin, end) = (write.offset, write.offset + write.bytes.len());
                // A header that is written anew says nothing of the batches.
                file.writes += u64::from(begin > 0);
                let whole =
                    |at: usize| Old { write: file.writes, offset: at, bytes: file.durable[at..at + BLOCK].to_vec() };
                let old: Vec<Old> = (begin..end).step_by(BLOCK).map(whole).collect();
                file.old.extend(old);
            }
            file.put(write.offset, &write.bytes);
        }
        Ok(())
    }

    fn rename(&mut self, name: Name) {
        change(&mut self.names, &name);
        self.unsynced_names.push(name);
    }

    fn file_mut(&mut self, path: &Path) -> Option<&mut File> {
        self.files.get_mut(self.names.get(path)?)
    }

    /// Files without a name, now and after a crash, are no more.
    fn forget_files(&mut self) {
        let pending = self.unsynced_names.iter().filter_map(|name| match name {
            Name::Given(_, id) => Some(*id),
            Name::Moved(..) | Name::Gone(_) => None,
        });
        let named = self.names.values().chain(self.durable_names.values()).copied();
        let named: std::collections::BTreeSet<u64> = named.chain(pending).collect();
        self.files.retain(|id, _| named.contains(id));
    }
}

/// Counts down; true when it has come to its end.
fn runs_out(calls: &mut u64) -> bool {
    if *calls == 0 {
        return true;
    }
    *calls -= 1;
    false
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Disk for SimDisk {
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let first = |path: &PathBuf| {
            let name = path.strip_prefix(dir).ok()?.components().next()?;
            Some(name.as_os_str().to_string_lossy().into_owned())
        };
        let mut names: Vec<String> = self.names.keys().filter_map(first).collect();
        names.dedup();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }

    /// What is written and not synced can be read: by the process that wrote it.
    fn read_at(&self, path: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
        let id = self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let file = self.files.get(id).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = file.durable.clone();
        file.unsynced.iter().for_each(|write| put(&mut bytes, write.offset, &write.bytes));
        let begin = bytes.len().min(offset as usize);
        let end = bytes.len().min(begin.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)));
        Ok(FileBytes::from(bytes[begin..end].to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
        disk.read_at(Path::new(path), 0, u64::MAX).ok().map(|bytes| bytes.to_vec())
    }

    fn with_file() -> SimDisk {
        let mut disk = SimDisk::default();
        for call in [Call::Make("/a".into(), vec![1; 2 * BLOCK]), Call::Sync("/a".into()), Call::SyncDir] {
            disk.call(&call).expect("there is power");
        }
        disk
    }

    #[test]
    fn what_is_synced_survives_and_the_rest_in_sectors() {
        let mut disk = with_file();
        disk.call(&Call::Write("/a".into(), 0, vec![2; BLOCK])).expect("there is power");
        disk.call(&Call::Sync("/a".into())).expect("there is power");
        disk.call(&Call::Write("/a".into(), BLOCK as u64, vec![3; BLOCK])).expect("there is power");
        let torn = disk.crash(Survives::Some, &mut Random::new(1, 1));
        let bytes = read(&disk, "/a").expect("it has its name");
        assert!(torn && bytes[..BLOCK].iter().all(|byte| *byte == 2));
        assert!(bytes[BLOCK..].chunks(SECTOR).all(|sector| sector == [1; SECTOR] || sector == [3; SECTOR]));
    }

    #[test]
    fn a_name_counts_once_its_directory_is_synced() {
        let mut disk = with_file();
        disk.call(&Call::Rename("/a".into(), "/b".into())).expect("there is power");
        assert!(read(&disk, "/b").is_some());
        disk.crash(Survives::Nothing, &mut Random::new(1, 1));
        assert!(read(&disk, "/a").is_some() && read(&disk, "/b").is_none());
    }

    #[test]
    fn after_the_power_is_gone_nothing_succeeds() {
        let mut disk = with_file();
        disk.power_for = Some(1);
        assert_eq!(disk.call(&Call::SyncDir), Ok(()));
        assert_eq!(disk.call(&Call::SyncDir), Err(Fault::Power));
        assert_eq!(disk.call(&Call::SyncDir), Err(Fault::Power));
    }
}
