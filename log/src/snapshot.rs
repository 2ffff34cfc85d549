//! Snapshot files: one group's state in chunks, whole or not there.
//!
//! ```text
//!  head     0       8         12      14  16      24     32    36
//!           | magic | version | group | 0 | index | term | crc |
//!  chunk    0       4        8        12    16
//!           | magic | number | length | crc | payload, zeroes up to a multiple of 8
//!  trailer  0       4   8        16          24    28
//!           | magic | 0 | chunks | bytes     | sum | crc |
//! ```
//! Little endian, one after the other, then zeroes up to a multiple of 4096. The head's `crc` is CRC-32C over bytes
//! 0..32. A chunk's begins with the head's, so that a chunk of another snapshot does not fit, and covers the chunk's bytes
//! 0..12 and its payload. The trailer's `sum` is CRC-32C over all payloads in a row, its `crc` begins with the head's and
//! covers bytes 0..28. A file gets its name after it is durable, so that a name stands for a whole file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::disk::{Disk, OsDisk};
use crate::ids::{GroupId, Position, RaftIndex};
use crate::sector::BLOCK;

mod read;
mod write;

pub(crate) use read::verify;
pub use read::{read_snapshot, visit_snapshot, visit_snapshot_on};
pub use write::write_snapshot;

/// Largest chunk: small enough that writing one never holds a core up.
pub const SNAPSHOT_CHUNK_MAX: usize = 256 << 10;

const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"uetcdsnp";
const CHUNK_MAGIC: u32 = u32::from_le_bytes(*b"uCnk");
const TRAILER_MAGIC: u32 = u32::from_le_bytes(*b"uEnd");
const HEAD: usize = 36;
const CHUNK_HEAD: usize = 16;
const TRAILER: usize = 32;

/// What a snapshot covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// Whose state.
    pub group: GroupId,
    /// Up to which entry.
    pub position: Position,
}

/// A snapshot's file, as its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Whose state.
    pub group: GroupId,
    /// Up to which entry.
    pub index: RaftIndex,
    /// The second file of the same position.
    pub copy: bool,
    /// The file.
    pub path: PathBuf,
}

/// Why a snapshot cannot be used. The file is left as it is.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// Its content is not what was written.
    #[error(
        "snapshot {} is damaged at offset {offset}: {what}. It was not loaded and not changed; an older one and the log, or \
         a peer's, takes its place",
        .file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// It was written by a build with another format.
    #[error("snapshot {} has format version {found}, this build reads version {VERSION}. Start the version of uetcd that wrote it", .file.display())]
    UnknownVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The disk or the directory refused.
    #[error("cannot use snapshot {}: {source}. Check the disk, and the owner and mode of the data directory", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The bytes of a snapshot file, piece by piece, in the order in which they are written.
#[derive(Debug)]
pub struct SnapshotEncoder {
    seed: u32,
    chunks: u64,
    bytes: u64,
    sum: u32,
    /// Bytes of the file so far.
    length: u64,
}

impl SnapshotEncoder {
    /// Appends the head to `out`.
    pub fn new(head: SnapshotHead, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&head.group.get().to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&head.position.index.get().to_le_bytes());
        out.extend_from_slice(&head.position.term.to_le_bytes());
        let seed = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&seed.to_le_bytes());
        Self { seed, chunks: 0, bytes: 0, sum: 0, length: HEAD as u64 }
    }

    /// Appends a chunk, of at most [`SNAPSHOT_CHUNK_MAX`] bytes.
    pub fn chunk(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        assert!(payload.len() <= SNAPSHOT_CHUNK_MAX, "a chunk of {} bytes", payload.len());
        let start = out.len();
        out.extend_from_slice(&CHUNK_MAGIC.to_le_bytes());
        out.extend_from_slice(&(self.chunks as u32).to_le_bytes());
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(self.seed, &out[start..]), payload);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(payload);
        let length = (CHUNK_HEAD + payload.len()).next_multiple_of(8);
        out.resize(start + length, 0);
        self.length += length as u64;
        self.chunks += 1;
        self.bytes += payload.len() as u64;
        self.sum = crc32c::crc32c_append(self.sum, payload);
    }

    /// Appends the trailer and what fills up the last block. Nothing may follow.
    pub fn finish(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&TRAILER_MAGIC.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.chunks.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.sum.to_le_bytes());
        let crc = crc32c::crc32c_append(self.seed, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        let end = self.length + TRAILER as u64;
        out.resize(start + TRAILER + (end.next_multiple_of(BLOCK as u64) - end) as usize, 0);
    }
}

/// The name of a group's snapshot at `index`. A `copy` is a second file of the same position: what a damaged first one
/// falls back to when nothing has happened since.
pub fn snapshot_file_name(group: GroupId, index: RaftIndex, copy: bool) -> String {
    format!("{group}-{:016x}{}{SUFFIX}", index.get(), if copy { COPY } else { "" })
}

const SUFFIX: &str = ".snap";
const COPY: &str = ".copy";
/// What a snapshot's name ends in while it is written.
pub(crate) const TEMPORARY: &str = ".tmp";
/// What the name of a damaged one ends in.
const BROKEN: &str = ".broken";
/// Damaged snapshots of a group that are kept to be looked at.
const BROKEN_MAX: usize = 2;

/// Whose snapshot a name stands for; true for a copy.
pub(crate) fn parse_snapshot_name(name: &str) -> Option<(GroupId, RaftIndex, bool)> {
    let stem = name.strip_suffix(SUFFIX)?;
    let (stem, copy) = stem.strip_suffix(COPY).map_or((stem, false), |stem| (stem, true));
    let (group, index) = stem.split_once('-')?;
    let (group, index) = (GroupId::new(group.parse().ok()?), RaftIndex::new(u64::from_str_radix(index, 16).ok()?));
    // Only the name that we would give counts.
    (snapshot_file_name(group, index, copy) == name).then_some((group, index, copy))
}

fn file_of(path: PathBuf) -> Option<SnapshotFile> {
    let (group, index, copy) = parse_snapshot_name(path.file_name()?.to_str()?)?;
    Some(SnapshotFile { group, index, copy, path })
}

/// The snapshots in `dir` (`DATA/member/snap`), by group, the newest of a group first. What does not look like one is
/// passed over. Blocks.
pub fn list_snapshots(dir: &Path) -> io::Result<Vec<SnapshotFile>> {
    list_snapshots_on(&OsDisk::new(1), dir)
}

/// As [`list_snapshots`], on any disk.
pub fn list_snapshots_on(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<SnapshotFile>> {
    let names = disk.names(dir)?.into_iter();
    let mut files: Vec<SnapshotFile> = names.filter_map(|name| file_of(dir.join(name))).collect();
    files.sort_by(|a, b| a.group.cmp(&b.group).then(b.index.cmp(&a.index)).then(a.copy.cmp(&b.copy)));
    Ok(files)
}

/// The highest index in the name of a snapshot of each group, damaged ones and those that were set aside included. Blocks.
pub fn highest_snapshots(dir: &Path) -> io::Result<BTreeMap<GroupId, RaftIndex>> {
    let mut highest: BTreeMap<GroupId, RaftIndex> = BTreeMap::new();
    for name in OsDisk::new(1).names(dir)? {
        let name = name.strip_suffix(BROKEN).unwrap_or(&name);
        if let Some((group, index, _)) = parse_snapshot_name(name) {
            let known = highest.entry(group).or_default();
            *known = index.max(*known);
        }
    }
    Ok(highest)
}

/// Takes a damaged snapshot out of the way, as etcd does: it does not count any more, and is there to be looked at. Blocks.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(BROKEN);
    let aside = PathBuf::from(aside);
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

/// Removes what no start will use: unfinished snapshots, and of each group's damaged ones ([`set_aside`]) all but the newest
/// two. Returns how many files went. Blocks; for when no snapshot is being written.
pub fn tidy_snapshots(dir: &Path) -> io::Result<usize> {
    let (mut litter, mut broken) = (Vec::new(), Vec::new());
    for entry in dir.read_dir()? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.strip_suffix(TEMPORARY).and_then(parse_snapshot_name).is_some() {
            litter.push(path);
        } else if let Some(key) = name.strip_suffix(BROKEN).and_then(parse_snapshot_name) {
            broken.push((key, path));
        }
    }
    broken.sort_by(|(a, _), (b, _)| b.cmp(a));
    for same in broken.chunk_by(|((a, ..), _), ((b, ..), _)| a == b) {
        litter.extend(same.iter().skip(BROKEN_MAX).map(|(_, path)| path.clone()));
    }
    for path in &litter {
        std::fs::remove_file(path)?;
    }
    Ok(litter.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_snapshots() {
        for (name, want) in [
            ("3-0000000000000007.snap", Some((3, 7))),
            ("15-00000000000000ff.snap", Some((15, 255))),
            ("3-7.snap", None),
            ("03-0000000000000007.snap", None),
            ("3-0000000000000007.snap.tmp", None),
            ("3-00000000000000FF.snap", None),
            ("x", None),
        ] {
            let got = file_of(PathBuf::from(name)).map(|file| (file.group.get(), file.index.get()));
            assert_eq!(got, want, "{name}");
        }
    }
}
