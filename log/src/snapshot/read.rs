//! Reading a snapshot: step by step from the device, every byte verified.

use std::io;
use std::path::Path;

use bytes::Bytes;
use mutant::Mutant;

use super::{
    CHUNK_HEAD, CHUNK_MAGIC, HEAD, MAGIC, SNAPSHOT_CHUNK_MAX, SnapshotError, SnapshotHead, TRAILER, TRAILER_MAGIC,
    VERSION, file_of,
};
use crate::disk::{Disk, OsDisk};
use crate::ids::{GroupId, Position, RaftIndex, is_counted};
use crate::sector::{BLOCK, u16_at, u32_at, u64_at};
use crate::steps::FileSteps;

/// What a start reads at a time: large enough for a disk's full speed.
const STEP_BYTES: u64 = 2 << 20;

/// Reads a whole snapshot from the device and verifies every byte of it. Blocks.
///
/// Takes the file's size in memory, and a few MiB.
pub fn read_snapshot(path: &Path) -> Result<(SnapshotHead, Vec<Bytes>), SnapshotError> {
    let mut chunks = Vec::new();
    let head = visit_snapshot(path, &mut |chunk| chunks.push(Bytes::copy_from_slice(chunk)))?;
    Ok((head, chunks))
}

/// As [`read_snapshot`], with a few MiB of memory: every chunk is handed to `visit`. What is wrong with the file may be found
/// when some have been. Blocks.
pub fn visit_snapshot(path: &Path, visit: &mut dyn FnMut(&[u8])) -> Result<SnapshotHead, SnapshotError> {
    visit_snapshot_on(&OsDisk::new(1), path, visit)
}

/// As [`visit_snapshot`], from any disk.
pub fn visit_snapshot_on(
    disk: &dyn Disk,
    path: &Path,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<SnapshotHead, SnapshotError> {
    verify(FileSteps::new(disk, path, STEP_BYTES, &mut |_| {}), visit)
}

/// Reads a snapshot to its end and hands every verified chunk to `visit`. Damage may be found after some were.
pub(crate) fn verify(steps: FileSteps<'_>, visit: &mut dyn FnMut(&[u8])) -> Result<SnapshotHead, SnapshotError> {
    let path = steps.file();
    let mut reader = Reader::new(steps);
    let head = reader.run(visit).map_err(|fault| fault.of(path, reader.at()))?;
    match file_of(path.to_owned()) {
        Some(name) if (name.group, name.index) != (head.group, head.position.index) => {
            Err(SnapshotError::Damaged { file: path.to_owned(), offset: 0, what: "its head does not fit its name" })
        }
        _ => Ok(head),
    }
}

/// Why reading ended before the end.
enum Fault {
    Io(io::Error),
    Version(u32),
    Rotten(&'static str),
}

impl Fault {
    fn of(self, path: &Path, offset: u64) -> SnapshotError {
        let file = path.to_owned();
        match self {
            Self::Io(source) => SnapshotError::Io { file, source },
            Self::Version(found) => SnapshotError::UnknownVersion { file, found },
            Self::Rotten(what) => SnapshotError::Damaged { file, offset, what },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The place in the file, and the sums of what was read.
struct Reader<'a> {
    steps: FileSteps<'a>,
    seed: u32,
    chunks: u64,
    bytes: u64,
    sum: u32,
}

impl<'a> Reader<'a> {
    fn new(steps: FileSteps<'a>) -> Self {
        Self { steps, seed: 0, chunks: 0, bytes: 0, sum: 0 }
    }

    /// Where what is read next begins, in bytes.
    fn at(&self) -> u64 {
        self.steps.at()
    }

    fn run(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<SnapshotHead, Fault> {
        let head = self.head()?;
        while self.chunk(visit)? {}
        self.trailer()?;
        Ok(head)
    }

    fn head(&mut self) -> Result<SnapshotHead, Fault> {
        let rotten = Fault::Rotten("its head is not as it was written");
        let Some(head) = self.steps.ahead(HEAD)?.get(..HEAD) else { return Err(rotten) };
        let seed = crc32c::crc32c(&head[..HEAD - 4]);
        if head[..8] != MAGIC || u32_at(head, HEAD - 4) != seed || !is_counted(u64_at(head, 16)) {
            return Err(rotten);
        }
        let version = u32_at(head, 8);
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        let position = Position { index: RaftIndex::new(u64_at(head, 16)), term: u64_at(head, 24) };
        let head = SnapshotHead { group: GroupId::new(u16_at(head, 12)), position };
        self.seed = seed;
        self.steps.pass(HEAD);
        Ok(head)
    }

    /// False: there is no further chunk.
    fn chunk(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Fault> {
        let rotten = Fault::Rotten("a chunk is not as it was written");
        let ahead = self.steps.ahead(CHUNK_HEAD)?;
        if ahead.len() < 4 || u32_at(ahead, 0) != CHUNK_MAGIC {
            return Ok(false);
        }
        if ahead.len() < CHUNK_HEAD {
            return Err(rotten);
        }
        let length = u32_at(ahead, 8) as usize;
        if length > SNAPSHOT_CHUNK_MAX || u64::from(u32_at(ahead, 4)) != self.chunks {
            return Err(rotten);
        }
        let (end, padded) = (CHUNK_HEAD + length, (CHUNK_HEAD + length).next_multiple_of(8));
        let Some(chunk) = self.steps.ahead(padded)?.get(..padded) else { return Err(rotten) };
        let payload = &chunk[CHUNK_HEAD..end];
        let crc = crc32c::crc32c_append(self.seed, &chunk[..CHUNK_HEAD - 4]);
        let crc = crc32c::crc32c_append(crc, payload);
        let looked_at = !mutant::is(Mutant::SnapshotUnchecked);
        if looked_at && crc != u32_at(chunk, CHUNK_HEAD - 4) || chunk[end..].iter().any(|byte| *byte != 0) {
            return Err(rotten);
        }
        self.chunks += 1;
        self.bytes += length as u64;
        self.sum = crc32c::crc32c_append(self.sum, payload);
        visit(payload);
        self.steps.pass(padded);
        Ok(true)
    }

    fn trailer(&mut self) -> Result<(), Fault> {
        let at = self.at();
        // One byte more than there may be.
        let rest = self.steps.ahead(TRAILER + BLOCK)?;
        let length = ((at + TRAILER as u64).next_multiple_of(BLOCK as u64) - at) as usize;
        let good = rest.len() == length
            && u32_at(rest, 0) == TRAILER_MAGIC
            && u32_at(rest, 28) == crc32c::crc32c_append(self.seed, &rest[..28])
            && u64_at(rest, 8) == self.chunks
            && u64_at(rest, 16) == self.bytes
            && (u32_at(rest, 24) == self.sum || mutant::is(Mutant::SnapshotUnchecked))
            && rest[TRAILER..].iter().all(|byte| *byte == 0);
        if good { Ok(()) } else { Err(Fault::Rotten("it does not end as it was written")) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SnapshotEncoder;
    use super::*;
    use crate::disk::FileBytes;

    /// A disk of one file.
    struct OneFile(Vec<u8>);

    impl Disk for OneFile {
        fn names(&self, _: &Path) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }

        fn read_at(&self, _: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
            let rest = &self.0[self.0.len().min(offset as usize)..];
            Ok(FileBytes::from(rest[..rest.len().min(limit as usize)].to_vec()))
        }
    }

    fn snapshot(group: u16, chunks: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let position = Position { index: RaftIndex::new(7), term: 3 };
        let mut encoder = SnapshotEncoder::new(SnapshotHead { group: GroupId::new(group), position }, &mut out);
        for chunk in chunks {
            encoder.chunk(chunk, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    fn read(bytes: Vec<u8>) -> Result<(SnapshotHead, Vec<Bytes>), SnapshotError> {
        let (disk, mut chunks, mut pace) = (OneFile(bytes), Vec::new(), |_| {});
        let mut reader = Reader::new(FileSteps::new(&disk, Path::new("x"), BLOCK as u64, &mut pace));
        let head = reader.run(&mut |chunk| chunks.push(Bytes::copy_from_slice(chunk)));
        head.map(|head| (head, chunks)).map_err(|fault| fault.of(Path::new("x"), reader.at()))
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
}
