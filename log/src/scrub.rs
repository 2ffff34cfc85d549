//! Reading again what is there already, while the node runs: rot in a file that nobody reads is noticed while the state in
//! memory is still whole and can be written anew.
//!
//! Nothing here stops the files from being recycled or removed meanwhile, and none of that may look like damage. It
//! leans on two rules of the writing side. A segment that is not among the newest [`UNSETTLED`] of its core is durable in
//! full: batches become durable in order, at most two are under way, and each of the two segments that were written
//! after it has one at least. And a segment's name is never used twice: when the file still has it *after* it was read,
//! the file was that segment all the time.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, FileBytes};
use crate::error::{Damage, RecoveryError};
use crate::ids::{BatchSeq, CoreId, Epoch, LogIdentity, SegmentSeq};
use crate::recovery::{check_header, core_dir, cores_below, scan_whole};
use crate::scan::SegmentScan;
use crate::sector::{BLOCK, BLOCK_SECTORS, SECTOR, SectorVerdict, inspect};
use crate::segment::{FileKind, SegmentHeader, kind_of};
use crate::snapshot::{SnapshotError, SnapshotFile, verify};
use crate::steps::FileSteps;

/// The newest segments of a core are left alone: one is made ready ahead, one is being written, and of the one before
/// the last batch may still be under way.
const UNSETTLED: usize = 3;

/// Read at a time, so that a log write never waits for more than this.
const STEP_BYTES: u64 = 256 << 10;

/// What became of a file that was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Every byte is as it was written.
    Sound,
    /// It was given up, recycled or removed meanwhile.
    Gone,
    /// It was read twice and is damaged.
    Damaged(Damage),
    /// A snapshot of another version of the format, which this build can not use.
    Newer,
}

/// A segment that is durable in full and not written any more.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The core whose log it is in.
    pub core: CoreId,
    /// Its number.
    pub seq: SegmentSeq,
    /// Its file.
    pub file: PathBuf,
    identity: LogIdentity,
    /// What comes after it proves that everything up to this batch was durable.
    promised: BatchSeq,
}

/// The segments below `dir` (`DATA/member/wal`) that can be checked, by core, the oldest first. Blocks; reads the begin of
/// every segment.
pub fn sealed_segments(disk: &dyn Disk, dir: &Path, identity: LogIdentity) -> Result<Vec<Sealed>, RecoveryError> {
    let mut listed = Vec::new();
    for core in cores_below(disk, dir)? {
        listed.push(list(disk, &core_dir(dir, core), core, identity)?);
    }
    let now = listed.iter().flatten().filter_map(|segment| Some(segment.header?.epoch)).max().unwrap_or_default();
    Ok(listed.iter().flat_map(|segments| sealed(segments, now, identity)).collect())
}

/// A segment, as far as its begin tells.
struct Listed {
    core: CoreId,
    seq: SegmentSeq,
    file: PathBuf,
    /// None: it can not be read.
    header: Option<SegmentHeader>,
    /// The first batch written to it, if there is one.
    first: Option<BatchSeq>,
}

fn list(disk: &dyn Disk, dir: &Path, core: CoreId, identity: LogIdentity) -> Result<Vec<Listed>, RecoveryError> {
    let names = disk.names(dir).map_err(|source| RecoveryError::Io { file: dir.to_owned(), source })?;
    let mut listed = Vec::new();
    for name in names {
        let FileKind::Segment(seq) = kind_of(&name) else { continue };
        let file = dir.join(name);
        let begin = match disk.read(&file, 2 * BLOCK as u64) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            begin => begin.unwrap_or_default(),
        };
        let header = check_header(&begin, &file, core, identity, seq).ok();
        let first = header.and_then(|header| first_batch(&header, &begin));
        listed.push(Listed { core, seq, file, header, first });
    }
    listed.sort_by_key(|segment| segment.seq);
    Ok(listed)
}

fn first_batch(header: &SegmentHeader, begin: &[u8]) -> Option<BatchSeq> {
    let sector = begin.get(BLOCK..BLOCK + SECTOR)?;
    match inspect(sector, header.seed(), BLOCK_SECTORS as u32, header.seq) {
        SectorVerdict::Current(seq) => Some(seq),
        SectorVerdict::Stale | SectorVerdict::Rotten => None,
    }
}

/// Those of one core's segments that nobody writes to, when `now` is the present start.
fn sealed(segments: &[Listed], now: Epoch, identity: LogIdentity) -> impl Iterator<Item = Sealed> {
    let settled = segments.len().saturating_sub(UNSETTLED);
    let is_sealed =
        move |(place, segment): &(usize, &Listed)| *place < settled || segment.header.is_some_and(|h| h.epoch < now);
    segments.iter().enumerate().filter(is_sealed).map(move |(_, segment)| Sealed {
        core: segment.core,
        seq: segment.seq,
        file: segment.file.clone(),
        identity,
        promised: promised(segments, segment.seq),
    })
}

/// The last batch that must be in segment `seq`, as far as the one after it tells.
fn promised(segments: &[Listed], seq: SegmentSeq) -> BatchSeq {
    let promise = |later: &Listed| {
        let header = later.header.filter(|header| header.previous == seq)?;
        // What a start found and went on from was there.
        if header.opens_epoch() { Some(header.resumed_after) } else { later.first.map(BatchSeq::previous) }
    };
    segments.iter().filter_map(promise).max().unwrap_or(BatchSeq::NONE)
}

/// Reads a segment from the device, in steps after each of which `pace` is told the bytes read, and verifies it: every
/// sector, every record, and that no batch is missing. Blocks. An error is one that says nothing about the disk.
pub fn check_segment(disk: &dyn Disk, segment: &Sealed, pace: &mut dyn FnMut(u64)) -> io::Result<Checked> {
    twice(|| {
        let damage = match read_all(disk, &segment.file, pace) {
            Ok(bytes) => damage_of(segment, &bytes),
            Err((at, error)) => Some(unreadable(&segment.file, at, error)?),
        };
        let Some(damage) = damage else { return Ok(Checked::Sound) };
        still_there(disk, &segment.file).map(|there| if there { Checked::Damaged(damage) } else { Checked::Gone })
    })
}

/// As [`check_segment`], of a snapshot.
pub fn check_snapshot(disk: &dyn Disk, snapshot: &SnapshotFile, pace: &mut dyn FnMut(u64)) -> io::Result<Checked> {
    twice(|| {
        let verified = verify(FileSteps::new(disk, &snapshot.path, STEP_BYTES, pace), &mut |_| {});
        let damage = match verified {
            Ok(_) => return Ok(Checked::Sound),
            Err(SnapshotError::UnknownVersion { .. }) => return Ok(Checked::Newer),
            Err(SnapshotError::Damaged { offset, what, .. }) => Damage::new(&snapshot.path, offset, what),
            Err(SnapshotError::Io { source, .. }) => unreadable(&snapshot.path, 0, source)?,
        };
        let damage = Damage { group: Some(snapshot.group), index: Some(snapshot.index), ..damage };
        still_there(disk, &snapshot.path).map(|there| if there { Checked::Damaged(damage) } else { Checked::Gone })
    })
}

/// Damage counts when it is found twice: what a cable or the memory did to one reading is not on the disk.
fn twice(mut look: impl FnMut() -> io::Result<Checked>) -> io::Result<Checked> {
    let not_found = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(Checked::Gone),
        _ => Err(error),
    };
    match look().or_else(not_found)? {
        Checked::Damaged(_) => look().or_else(not_found),
        checked => Ok(checked),
    }
}

fn read_all(disk: &dyn Disk, file: &Path, pace: &mut dyn FnMut(u64)) -> Result<FileBytes, (u64, io::Error)> {
    let mut steps = FileSteps::new(disk, file, STEP_BYTES, pace);
    let mut wanted = 0;
    loop {
        let at = wanted as u64;
        wanted += STEP_BYTES as usize;
        let ahead = steps.ahead(wanted).map_err(|error| (at, error))?;
        if ahead.len() < wanted {
            return Ok(FileBytes::from(ahead.to_vec()));
        }
    }
}

/// What the device can not read is damaged; anything else that went wrong is handed back.
fn unreadable(file: &Path, at: u64, error: io::Error) -> io::Result<Damage> {
    match error.raw_os_error() {
        Some(libc::EIO | libc::ENODATA | libc::EBADMSG | libc::EUCLEAN) => {
            Ok(Damage::new(file, at, format!("it can not be read: {error}")))
        }
        _ => Err(error),
    }
}

fn still_there(disk: &dyn Disk, file: &Path) -> io::Result<bool> {
    match disk.read(file, BLOCK as u64) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // It is there, though it can not be read.
        Err(error) => unreadable(file, 0, error).map(|_| true),
        Ok(_) => Ok(true),
    }
}

fn damage_of(segment: &Sealed, bytes: &[u8]) -> Option<Damage> {
    let Sealed { core, seq, file, identity, promised } = segment;
    let header = match check_header(bytes, file, *core, *identity, *seq) {
        Ok(header) => header,
        Err(RecoveryError::Damaged(damage)) => return Some(damage),
        Err(_) => return Some(Damage::new(file, 0, "its header is of another member or another version")),
    };
    match scan_whole(file, &header, bytes, &|_, _| false) {
        Err(damage) => Some(damage),
        Ok(scan) => damage_in(file, scan, *promised),
    }
}

fn damage_in(file: &Path, scan: SegmentScan, promised: BatchSeq) -> Option<Damage> {
    if scan.end.damage.is_some() {
        return scan.end.damage;
    }
    if let Some(at) = scan.rot {
        return Some(Damage::new(file, at, "a sector is neither as before nor as after any write"));
    }
    let before = scan.header.first_batch.previous();
    let last = scan.batches.last().map_or(before, |batch| batch.header.seq);
    let what = || format!("batch {} was durable and is not there, or not whole", last.next());
    (last < promised).then(|| Damage::new(file, scan.end.offset, what()))
}
