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

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use thiserror::Error;

use crate::disk::{Disk, OsDisk};
use crate::ids::{GroupId, Position, RaftIndex};
use crate::sector::{BLOCK, u16_at, u32_at, u64_at};

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
pub(crate) struct SnapshotEncoder {
    seed: u32,
    chunks: u64,
    bytes: u64,
    sum: u32,
}

impl SnapshotEncoder {
    /// Appends the head to `out`.
    pub(crate) fn new(head: SnapshotHead, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&head.group.get().to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&head.position.index.get().to_le_bytes());
        out.extend_from_slice(&head.position.term.to_le_bytes());
        let seed = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&seed.to_le_bytes());
        Self { seed, chunks: 0, bytes: 0, sum: 0 }
    }

    /// Appends a chunk, of at most [`SNAPSHOT_CHUNK_MAX`] bytes.
    pub(crate) fn chunk(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        assert!(payload.len() <= SNAPSHOT_CHUNK_MAX, "a chunk of {} bytes", payload.len());
        let start = out.len();
        out.extend_from_slice(&CHUNK_MAGIC.to_le_bytes());
        out.extend_from_slice(&(self.chunks as u32).to_le_bytes());
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(self.seed, &out[start..]), payload);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(payload);
        out.resize(start + (CHUNK_HEAD + payload.len()).next_multiple_of(8), 0);
        self.chunks += 1;
        self.bytes += payload.len() as u64;
        self.sum = crc32c::crc32c_append(self.sum, payload);
    }

    /// Appends the trailer. Nothing may follow.
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&TRAILER_MAGIC.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.chunks.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.sum.to_le_bytes());
        let crc = crc32c::crc32c_append(self.seed, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
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
    let mut files = Vec::new();
    for entry in dir.read_dir()? {
        files.extend(file_of(entry?.path()));
    }
    files.sort_by(|a, b| a.group.cmp(&b.group).then(b.index.cmp(&a.index)).then(a.copy.cmp(&b.copy)));
    Ok(files)
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

/// Reads a whole snapshot from the device and verifies every byte of it. Blocks.
///
/// Takes twice the file's size in memory at the most; the chunks share it.
pub fn read_snapshot(path: &Path) -> Result<(SnapshotHead, Vec<Bytes>), SnapshotError> {
    let bytes = OsDisk::new(1).read(path, u64::MAX);
    let bytes = bytes.map_err(|source| SnapshotError::Io { file: path.to_owned(), source })?;
    let snapshot = decode(path, Bytes::copy_from_slice(&bytes))?;
    match file_of(path.to_owned()) {
        Some(name) if (name.group, name.index) != (snapshot.0.group, snapshot.0.position.index) => {
            Err(SnapshotError::Damaged { file: path.to_owned(), offset: 0, what: "its head does not fit its name" })
        }
        _ => Ok(snapshot),
    }
}

fn decode(path: &Path, bytes: Bytes) -> Result<(SnapshotHead, Vec<Bytes>), SnapshotError> {
    let mut reader = Reader { bytes, at: 0, seed: 0, chunks: Vec::new() };
    let damaged =
        |reader: &Reader, what| SnapshotError::Damaged { file: path.to_owned(), offset: reader.at as u64, what };
    let head = match reader.head() {
        Ok(head) => head,
        Err(HeadFault::Version(found)) => return Err(SnapshotError::UnknownVersion { file: path.to_owned(), found }),
        Err(HeadFault::Rotten) => return Err(damaged(&reader, "its head is not as it was written")),
    };
    while reader.u32(0) == Some(CHUNK_MAGIC) {
        reader.chunk().ok_or("a chunk is not as it was written").map_err(|what| damaged(&reader, what))?;
    }
    reader.trailer().ok_or("it does not end as it was written").map_err(|what| damaged(&reader, what))?;
    Ok((head, reader.chunks))
}

enum HeadFault {
    Rotten,
    Version(u32),
}

struct Reader {
    bytes: Bytes,
    at: usize,
    seed: u32,
    chunks: Vec<Bytes>,
}

impl Reader {
    fn rest(&self, length: usize) -> Option<&[u8]> {
        self.bytes.get(self.at..self.at.checked_add(length)?)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.rest(at + 4).map(|bytes| u32_at(bytes, at))
    }

    fn head(&mut self) -> Result<SnapshotHead, HeadFault> {
        let head = self.rest(HEAD).ok_or(HeadFault::Rotten)?;
        let seed = crc32c::crc32c(&head[..HEAD - 4]);
        if head[..8] != MAGIC || u32_at(head, HEAD - 4) != seed {
            return Err(HeadFault::Rotten);
        }
        let version = u32_at(head, 8);
        if version != VERSION {
            return Err(HeadFault::Version(version));
        }
        let position = Position { index: RaftIndex::new(u64_at(head, 16)), term: u64_at(head, 24) };
        let head = SnapshotHead { group: GroupId::new(u16_at(head, 12)), position };
        self.seed = seed;
        self.at = HEAD;
        Ok(head)
    }

    fn chunk(&mut self) -> Option<()> {
        let length = self.u32(8)? as usize;
        if length > SNAPSHOT_CHUNK_MAX || self.u32(4)? as usize != self.chunks.len() {
            return None;
        }
        let padded = (CHUNK_HEAD + length).next_multiple_of(8);
        let chunk = self.rest(padded)?;
        let crc = crc32c::crc32c_append(self.seed, &chunk[..CHUNK_HEAD - 4]);
        let crc = crc32c::crc32c_append(crc, &chunk[CHUNK_HEAD..CHUNK_HEAD + length]);
        if crc != u32_at(chunk, CHUNK_HEAD - 4) || chunk[CHUNK_HEAD + length..].iter().any(|byte| *byte != 0) {
            return None;
        }
        let payload = self.at + CHUNK_HEAD;
        self.chunks.push(self.bytes.slice(payload..payload + length));
        self.at += padded;
        Some(())
    }

    fn trailer(&mut self) -> Option<()> {
        let trailer = self.rest(TRAILER)?;
        let sum = self.chunks.iter().fold(0, |sum, chunk| crc32c::crc32c_append(sum, chunk));
        let bytes: usize = self.chunks.iter().map(Bytes::len).sum();
        let good = u32_at(trailer, 0) == TRAILER_MAGIC
            && u32_at(trailer, 28) == crc32c::crc32c_append(self.seed, &trailer[..28])
            && u64_at(trailer, 8) == self.chunks.len() as u64
            && u64_at(trailer, 16) == bytes as u64
            && u32_at(trailer, 24) == sum;
        if !good {
            return None;
        }
        self.at += TRAILER;
        let ends_well = self.bytes.len() == self.at.next_multiple_of(BLOCK);
        (ends_well && self.bytes[self.at..].iter().all(|byte| *byte == 0)).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(group: u16, chunks: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let position = Position { index: RaftIndex::new(7), term: 3 };
        let mut encoder = SnapshotEncoder::new(SnapshotHead { group: GroupId::new(group), position }, &mut out);
        for chunk in chunks {
            encoder.chunk(chunk, &mut out);
        }
        encoder.finish(&mut out);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        out
    }

    fn read(bytes: Vec<u8>) -> Result<(SnapshotHead, Vec<Bytes>), SnapshotError> {
        decode(Path::new("x"), Bytes::from(bytes))
    }

    #[test]
    fn snapshots_come_back_as_they_were_written() {
        let large = vec![7; SNAPSHOT_CHUNK_MAX];
        for chunks in [vec![], vec![&b""[..]], vec![b"one", b"", b"three"], vec![&large, b"tail"]] {
            let (head, read) = read(snapshot(3, &chunks)).expect("whole");
            assert_eq!((head.group, head.position.index.get(), head.position.term), (GroupId::new(3), 7, 3));
            assert_eq!(read, chunks);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = snapshot(3, &[b"one", b"twotwotwo"]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(bad).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(read(good[..length].to_vec()).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn chunks_of_another_snapshot_or_in_another_order_do_not_fit() {
        let (mut ours, theirs) = (snapshot(3, &[b"one", b"two"]), snapshot(4, &[b"one", b"two"]));
        ours[HEAD..HEAD + 24].copy_from_slice(&theirs[HEAD..HEAD + 24]);
        assert!(read(ours).is_err());
        let mut swapped = snapshot(3, &[b"one", b"two"]);
        let (first, second) = (HEAD..HEAD + 24, HEAD + 24..HEAD + 48);
        let one = swapped[first].to_vec();
        swapped.copy_within(second.clone(), HEAD);
        swapped[second].copy_from_slice(&one);
        assert!(read(swapped).is_err());
    }

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
