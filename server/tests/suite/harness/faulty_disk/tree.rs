//! Files in memory that know what of them is durable.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::mem;
use std::path::{Path, PathBuf};

use crate::harness::Rng;

/// What is durable or not as a whole, in bytes.
const BLOCK: usize = 4096;

/// The number of the directory that all others are in.
pub(super) const ROOT: u64 = 1;

/// All files and directories, by number. Sizes and permissions are durable at once; what is written is not before it is synced, and a name
/// not before its directory is.
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// The changes of names that were not synced, oldest first: a file system with a journal keeps their order.
    changes: Vec<Vec<Before>>,
}

/// What a name stood for before a change.
struct Before {
    directory: u64,
    name: OsString,
    number: Option<u64>,
}

pub(super) struct Node {
    pub(super) permissions: u16,
    pub(super) content: Content,
}

pub(super) enum Content {
    Directory(BTreeMap<OsString, u64>),
    File(File),
}

/// What readers see, and what the disk has in its place.
#[derive(Default)]
pub(super) struct File {
    bytes: Vec<u8>,
    /// Per block that was written since the last sync, what the disk has.
    unsynced: BTreeMap<usize, Vec<u8>>,
    /// As `unsynced`, of blocks whose sync has failed. The kernel takes them for clean: no later sync writes them.
    lost: BTreeMap<usize, Vec<u8>>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node { permissions: 0o755, content: Content::Directory(BTreeMap::new()) };
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, changes: Vec::new() }
    }

    pub(super) fn node(&mut self, number: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&number)
    }

    pub(super) fn file(&mut self, number: u64) -> Option<&mut File> {
        match &mut self.nodes.get_mut(&number)?.content {
            Content::File(file) => Some(file),
            Content::Directory(_) => None,
        }
    }

    pub(super) fn directory(&mut self, number: u64) -> Option<&mut BTreeMap<OsString, u64>> {
        match &mut self.nodes.get_mut(&number)?.content {
            Content::Directory(names) => Some(names),
            Content::File(_) => None,
        }
    }

    /// Enters a new node under a name that nothing has.
    pub(super) fn add(&mut self, parent: u64, name: &OsStr, node: Node) -> Option<u64> {
        let number = self.next;
        let change = vec![self.set(parent, name, Some(number))?];
        self.changes.push(change);
        self.nodes.insert(number, node);
        self.next += 1;
        Some(number)
    }

    /// Moves what has a name to another, in place of what has that. What has no name any more stays until nobody can have it open.
    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Option<()> {
        let number = *self.directory(from.0)?.get(from.1)?;
        let change = vec![self.set(to.0, to.1, Some(number))?, self.set(from.0, from.1, None)?];
        self.changes.push(change);
        Some(())
    }

    /// Takes a name away from what has it.
    pub(super) fn remove(&mut self, parent: u64, name: &OsStr) -> Option<()> {
        self.directory(parent)?.get(name)?;
        let change = vec![self.set(parent, name, None)?];
        self.changes.push(change);
        Some(())
    }

    /// Has a name stand for a node, or for nothing.
    fn set(&mut self, directory: u64, name: &OsStr, number: Option<u64>) -> Option<Before> {
        let names = self.directory(directory)?;
        let before = match number {
            Some(number) => names.insert(name.to_owned(), number),
            None => names.remove(name),
        };
        Some(Before { directory, name: name.to_owned(), number: before })
    }

    /// The names in a directory are on the disk, with all that were changed before the last of them.
    pub(super) fn sync_names(&mut self, directory: u64) {
        let is_here = |change: &Vec<Before>| change.iter().any(|before| before.directory == directory);
        let last = self.changes.iter().rposition(is_here);
        self.changes.drain(..last.map_or(0, |last| last + 1));
    }

    /// Where a node is; empty for one without a name.
    pub(super) fn path(&self, wanted: u64) -> PathBuf {
        self.search(ROOT, Path::new("/"), wanted).unwrap_or_default()
    }

    fn search(&self, below: u64, path: &Path, wanted: u64) -> Option<PathBuf> {
        let Content::Directory(names) = &self.nodes.get(&below)?.content else { return None };
        names.iter().find_map(|(name, &number)| {
            let path = path.join(name);
            if number == wanted { Some(path) } else { self.search(number, &path, wanted) }
        })
    }

    /// A power cut: of what was not synced, each block is there or not, and of the names those that were changed first. Nobody has
    /// anything open afterwards.
    pub(super) fn lose_unsynced(&mut self, rng: &mut Rng) {
        let kept = rng.below(self.changes.len() as u64 + 1) as usize;
        let lost = self.changes.split_off(kept);
        self.changes.clear();
        for Before { directory, name, number } in lost.into_iter().rev().flat_map(|change| change.into_iter().rev()) {
            self.set(directory, &name, number);
        }
        let mut named = vec![ROOT];
        let mut at = 0;
        while let Some(&number) = named.get(at) {
            named.extend(self.directory(number).into_iter().flat_map(|names| names.values().copied()));
            at += 1;
        }
        self.nodes.retain(|number, _| named.contains(number));
        for node in self.nodes.values_mut() {
            if let Content::File(file) = &mut node.content {
                file.lose_unsynced(rng);
            }
        }
    }
}

impl File {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn resize(&mut self, length: usize) {
        // What was cut off comes back as zeros.
        let gone = length.div_ceil(BLOCK);
        self.unsynced.split_off(&gone);
        self.lost.split_off(&gone);
        self.bytes.resize(length, 0);
    }

    /// As much as there is of what is asked for.
    pub(super) fn read(&self, at: usize, length: usize) -> &[u8] {
        let end = self.bytes.len().min(at + length);
        &self.bytes[at.min(end)..end]
    }

    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        let end = at + data.len();
        if end > self.bytes.len() {
            self.resize(end);
        }
        for block in at / BLOCK..end.div_ceil(BLOCK) {
            // It will be written once more: what a failed sync made of it does not count any more.
            let before = self.lost.remove(&block);
            let before = before.unwrap_or_else(|| self.read(block * BLOCK, BLOCK).to_vec());
            self.unsynced.entry(block).or_insert(before);
        }
        self.bytes[at..end].copy_from_slice(data);
    }

    /// What was written is on the disk.
    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
    }

    /// What was written is not on the disk, and never will be.
    pub(super) fn fail_sync(&mut self) {
        self.lost.append(&mut self.unsynced);
    }

    fn lose_unsynced(&mut self, rng: &mut Rng) {
        for (block, before) in mem::take(&mut self.unsynced) {
            if rng.one_in(2) {
                self.restore(block, &before);
            }
        }
        for (block, before) in mem::take(&mut self.lost) {
            self.restore(block, &before);
        }
    }

    fn restore(&mut self, block: usize, before: &[u8]) {
        let start = block * BLOCK;
        // It may have been cut off, or was shorter than a block.
        let end = self.bytes.len().min(start + BLOCK);
        if start < end {
            let have = before.len().min(end - start);
            self.bytes[start..start + have].copy_from_slice(&before[..have]);
            self.bytes[start + have..end].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = File::default();
        file.write(0, bytes);
        file.sync();
        file
    }

    /// What a file may hold after power cuts, over many of them.
    fn after_cuts(make: impl Fn() -> File) -> Vec<Vec<u8>> {
        let cut = |seed| {
            let mut file = make();
            file.lose_unsynced(&mut Rng::new(seed));
            file.bytes
        };
        let mut seen: Vec<_> = (0..40).map(cut).collect();
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn what_is_not_synced_may_be_lost_block_by_block() {
        let old = vec![1; 2 * BLOCK];
        assert_eq!(after_cuts(|| file(&old)).len(), 1);
        let overwritten = || {
            let mut file = file(&old);
            file.write(BLOCK - 1, &[2, 2]);
            file
        };
        assert_eq!(after_cuts(overwritten).len(), 4);
        let synced = || {
            let mut file = overwritten();
            file.sync();
            file
        };
        assert_eq!(after_cuts(synced).len(), 1);
    }

    #[test]
    fn names_may_be_lost_from_the_newest_on_until_their_directory_is_synced() {
        let file = || Node { permissions: 0o600, content: Content::File(File::default()) };
        let named = |seed, synced| {
            let mut tree = Tree::new();
            tree.add(ROOT, OsStr::new("a"), file()).expect("the root is there");
            if synced {
                tree.sync_names(ROOT);
            }
            tree.rename((ROOT, OsStr::new("a")), (ROOT, OsStr::new("b"))).expect("it is there");
            tree.lose_unsynced(&mut Rng::new(seed));
            let names = tree.directory(ROOT).expect("the root is there").keys();
            names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let all = |synced| {
            let mut seen: Vec<_> = (0..40).map(|seed| named(seed, synced)).collect();
            seen.sort();
            seen.dedup();
            seen
        };
        assert_eq!(all(true), ["a", "b"]);
        assert_eq!(all(false), ["", "a", "b"]);
    }

    #[test]
    fn what_a_failed_sync_was_for_is_lost_also_if_the_next_one_succeeds() {
        let failed = || {
            let mut file = file(&[1; 10]);
            file.write(0, &[2; 10]);
            file.fail_sync();
            file.sync();
            assert_eq!(file.read(0, 10), [2; 10], "readers see it all the same");
            file
        };
        assert_eq!(after_cuts(failed), [vec![1; 10]]);
        let written_again = || {
            let mut file = failed();
            file.write(0, &[3; 10]);
            file.sync();
            file
        };
        assert_eq!(after_cuts(written_again), [vec![3; 10]]);
    }
}
