//! Reading everything back at a start: all cores' logs, into all groups, and the plan for going on.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mutant::Mutant;

use crate::chain::{CoreLog, link, read};
use crate::disk::{Disk, FileBytes};
use crate::error::{Damage, RecoveryError, TornTail};
use crate::floors::Floors;
use crate::groups::{GroupLog, Groups};
use crate::ids::{BatchSeq, CoreId, Epoch, GroupId, LogIdentity, Position, RaftIndex, SegmentSeq};
use crate::record::Record;
use crate::scan::{SegmentScan, Wanted, scan_for};
use crate::sector::{BLOCK, SECTOR};
use crate::segment::{FORMAT_VERSION, FileKind, HeaderFault, SegmentHeader, file_name, kind_of};
use crate::tail::MAX_IN_FLIGHT;

/// A segment of an earlier start. It goes when every group in it has been compacted beyond what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// The core whose log it is in.
    pub core: CoreId,
    /// Its number.
    pub seq: SegmentSeq,
    /// The segment that the file was made for.
    pub birth: SegmentSeq,
    /// Its file.
    pub file: PathBuf,
    /// Size of the file in blocks.
    pub blocks: u32,
    /// It is the first one of its start.
    pub opens_epoch: bool,
    /// Every group with a record in it, and the highest index of its entries there (0: none).
    pub groups: BTreeMap<GroupId, RaftIndex>,
}

/// A formatted file without a place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spare {
    /// Its file.
    pub file: PathBuf,
    /// The segment that it was made for.
    pub birth: SegmentSeq,
    /// Its size in blocks.
    pub blocks: u32,
}

/// A header to be written in the place of the one that a segment has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHeader {
    /// The segment's file.
    pub file: PathBuf,
    /// Names no segment behind it.
    pub header: SegmentHeader,
}

/// How one core's log goes on.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The core.
    pub core: CoreId,
    /// How many cores this start has.
    pub cores: u16,
    /// This start.
    pub epoch: Epoch,
    /// The last segment that counts.
    pub previous: SegmentSeq,
    /// The last batch that counts.
    pub resumed_after: BatchSeq,
    /// The number of this start's first batch.
    pub first_batch: BatchSeq,
    /// The number of this start's first segment.
    pub next_segment: SegmentSeq,
    /// Segments to give up once compacted: those of this core's log oldest first, and those of cores that this start
    /// does not have.
    pub inherited: Vec<Inherited>,
    /// Of segments that name one which this start does not need. To be written, durably, before any of `spares` and `litter`
    /// loses its name: the next start would miss it.
    pub headers: Vec<NewHeader>,
    /// Files of this core's folder to recycle, to be taken in this order.
    pub spares: Vec<Spare>,
    /// Files to delete: left from a crash while one was being made.
    pub litter: Vec<PathBuf>,
    /// What the logs of this start tell each other.
    pub(crate) floors: Floors,
}

/// Everything that was read back.
#[derive(Debug)]
pub struct Recovered {
    /// Every group that ever wrote a record which is still there.
    pub groups: BTreeMap<GroupId, GroupLog>,
    /// The unfinished writes that were dropped. For the log only.
    pub torn: Vec<TornTail>,
    /// The start that has to go on from here.
    pub epoch: Epoch,
    /// Bytes read.
    pub bytes: u64,
    logs: BTreeMap<CoreId, Tail>,
}

/// Where one core's log ends.
#[derive(Debug, Default)]
struct Tail {
    /// The newest start that has a segment in it.
    epoch: Epoch,
    last: BatchSeq,
    last_segment: SegmentSeq,
    highest_batch: BatchSeq,
    highest_segment: SegmentSeq,
    inherited: Vec<Inherited>,
    headers: Vec<NewHeader>,
    spares: Vec<Spare>,
    litter: Vec<PathBuf>,
}

impl Recovered {
    /// The newest start that wrote a core's log; 0 if there is none.
    pub(crate) fn newest_epoch(&self, core: CoreId) -> Epoch {
        self.logs.get(&core).map_or(Epoch::default(), |tail| tail.epoch)
    }

    /// How the logs go on when this start has `cores` cores: one [`Resume`] for each, in order.
    pub fn resume(self, cores: u16) -> Vec<Resume> {
        assert!(cores > 0);
        let mut logs = self.logs;
        for (core, orphan) in logs.split_off(&CoreId::new(cores)) {
            let heir = logs.entry(CoreId::new(core.get() % cores)).or_default();
            heir.inherited.extend(orphan.inherited);
            heir.headers.extend(orphan.headers);
            heir.litter.extend(orphan.litter);
            heir.litter.extend(orphan.spares.into_iter().map(|spare| spare.file));
        }
        let floors = Floors::default();
        let resume = |core| logs.remove(&core).unwrap_or_default().resume(core, cores, self.epoch, floors.clone());
        (0..cores).map(CoreId::new).map(resume).collect()
    }
}

impl Tail {
    fn resume(self, core: CoreId, cores: u16, epoch: Epoch, floors: Floors) -> Resume {
        // Writes under way at the crash may have left no trace, or land late: their numbers are not used again either.
        let first_batch = BatchSeq::new(self.highest_batch.get() + MAX_IN_FLIGHT as u64 + 1);
        Resume {
            core,
            cores,
            epoch,
            previous: self.last_segment,
            resumed_after: self.last,
            first_batch,
            next_segment: self.highest_segment.next(),
            inherited: self.inherited,
            headers: self.headers,
            spares: self.spares,
            litter: self.litter,
            floors,
        }
    }
}

/// Reads all logs below `dir` (`DATA/member/log`) back. Changes nothing on the disk.
///
/// `base` names, for each group, the snapshot that its state will be loaded from (the newest one that reads well), or
/// `None` to start from nothing. Entries after it are returned; that none is missing up to the newest mark and commit is
/// checked, so that a lost snapshot or segment is an error here and not an older state later.
///
/// A directory that does not exist yet is an empty log.
pub fn recover(
    disk: &dyn Disk,
    dir: &Path,
    identity: LogIdentity,
    base: &(dyn Fn(GroupId) -> Option<Position> + Sync),
) -> Result<Recovered, RecoveryError> {
    let mut found = Vec::new();
    for core in cores_below(disk, dir)? {
        found.push(CoreFiles::find(disk, dir, core, identity)?);
    }
    let mut recovered =
        Recovered { groups: BTreeMap::new(), torn: Vec::new(), epoch: Epoch::new(1), bytes: 0, logs: BTreeMap::new() };
    let mut order = Vec::new();
    let mut read =
        scan_all(disk, &found, &|group, index| base(group).is_none_or(|base| index > base.index))?.into_iter();
    for core in found {
        let newest = core.chain.iter().chain(&core.passed_over).map(|header| header.epoch.get()).max().unwrap_or(0);
        recovered.epoch = recovered.epoch.max(Epoch::new(newest + 1));
        recovered.bytes += core.chain.iter().map(SegmentHeader::size_bytes).sum::<u64>();
        let (log, mut tail) = core.read(read.by_ref().take(core.chain.len()).collect())?;
        tail.epoch = Epoch::new(newest);
        recovered.torn.extend(log.torn);
        order.extend(log.batches.into_iter().map(|placed| (core.core, placed)));
        recovered.logs.insert(core.core, tail);
    }
    // Within an epoch a group lives on one core, so only the order of epochs matters between cores.
    if !mutant::is(Mutant::StartsOutOfOrder) {
        order.sort_by_key(|(core, placed)| (placed.epoch, *core, placed.batch.header.seq));
    }
    let mut groups = Groups::default();
    for (core, placed) in order {
        groups
            .take(placed.epoch, core, &placed.batch)
            .map_err(|damage| Damage { file: core_dir(dir, core).join(file_name(placed.segment)), ..damage })?;
    }
    recovered.groups = groups.finish(base)?;
    Ok(recovered)
}

/// The folder of one core's log within `DATA/member/log`.
pub(crate) fn core_dir(dir: &Path, core: CoreId) -> PathBuf {
    dir.join(core.to_string())
}

pub(crate) fn cores_below(disk: &dyn Disk, dir: &Path) -> Result<Vec<CoreId>, RecoveryError> {
    let names = match disk.names(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(|source| RecoveryError::Io { file: dir.to_owned(), source })?,
    };
    // Only the name that we would give counts: "00" must not be read as a second log of core 0.
    let core = |name: &String| name.parse().ok().map(CoreId::new).filter(|core| core.to_string() == *name);
    let mut cores: Vec<CoreId> = names.iter().filter_map(core).collect();
    cores.sort_unstable();
    Ok(cores)
}

/// The files in one core's folder, sorted by what they are.
struct CoreFiles {
    core: CoreId,
    dir: PathBuf,
    chain: Vec<SegmentHeader>,
    passed_over: Vec<SegmentHeader>,
    spares: Vec<(PathBuf, SegmentHeader)>,
    litter: Vec<PathBuf>,
}

impl CoreFiles {
    fn find(disk: &dyn Disk, log: &Path, core: CoreId, identity: LogIdentity) -> Result<Self, RecoveryError> {
        let dir = core_dir(log, core);
        let names = disk.names(&dir).map_err(|source| RecoveryError::Io { file: dir.clone(), source })?;
        let (mut headers, mut spares, mut litter) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let file = dir.join(&name);
            match kind_of(&name) {
                FileKind::Segment(seq) => headers.push(segment_header(disk, &file, core, identity, seq)?),
                FileKind::Spare(birth) => match spare_header(disk, &file, core, identity, birth) {
                    Some(header) => spares.push((file, header)),
                    None => litter.push(file),
                },
                FileKind::Stranger => {}
            }
        }
        let (chain, passed_over) = link(&dir, headers)?;
        Ok(Self { core, dir, chain, passed_over, spares, litter })
    }

    /// What the scans of its segments, in the order of the chain, add up to.
    fn read(&self, segments: Vec<Segment>) -> Result<(CoreLog, Tail), RecoveryError> {
        let highest_batch = segments.iter().map(|segment| segment.scan.highest()).max().unwrap_or_default();
        let (scans, contents): (Vec<_>, Vec<_>) =
            segments.into_iter().map(|segment| (segment.scan, segment.groups)).unzip();
        let log = read(&self.dir, scans)?;
        let mut tail = self.tail(&log, highest_batch);
        let mut unused = Vec::new();
        let mut before: Option<&SegmentHeader> = None;
        for (header, groups) in self.chain.iter().zip(contents) {
            let file = self.dir.join(file_name(header.seq));
            if header.seq <= log.last_segment {
                let (core, opens_epoch) = (self.core, header.opens_epoch());
                let (seq, birth, blocks) = (header.seq, header.birth, header.blocks);
                tail.inherited.push(Inherited { core, seq, birth, file, blocks, opens_epoch, groups });
            } else {
                // Also where the one before does not name it: a process that was killed may have been about to write that.
                tail.headers.extend(before.map(|before| self.without_next(before)));
                unused.push(Spare { file, birth: header.birth, blocks: header.blocks });
            }
            before = Some(header);
        }
        // They lose their names in this order: what is left of the chain by a crash must have its begin.
        tail.spares.extend(unused.into_iter().rev());
        Ok((log, tail))
    }

    fn without_next(&self, header: &SegmentHeader) -> NewHeader {
        let next = if mutant::is(Mutant::UnusedStillNamed) { header.next } else { SegmentSeq::NONE };
        NewHeader { file: self.dir.join(file_name(header.seq)), header: SegmentHeader { next, ..*header } }
    }

    fn tail(&self, log: &CoreLog, highest_batch: BatchSeq) -> Tail {
        let spares = self.spares.iter().map(|(_, header)| header);
        let all = || self.chain.iter().chain(&self.passed_over).chain(spares.clone());
        let promised = all().map(|header| header.first_batch.previous().max(header.resumed_after)).max();
        let passed_over = self.passed_over.iter().map(|header| (self.dir.join(file_name(header.seq)), header));
        let spares = self.spares.iter().map(|(file, header)| (file.clone(), header)).chain(passed_over);
        let spares = spares.map(|(file, header)| Spare { file, birth: header.birth, blocks: header.blocks });
        Tail {
            epoch: Epoch::default(),
            last: log.last,
            last_segment: log.last_segment,
            highest_batch: highest_batch.max(promised.unwrap_or_default()),
            highest_segment: all().map(|header| header.seq).max().unwrap_or_default(),
            inherited: Vec::new(),
            headers: Vec::new(),
            spares: spares.collect(),
            litter: self.litter.clone(),
        }
    }
}

fn contents(scan: &SegmentScan) -> BTreeMap<GroupId, RaftIndex> {
    let mut groups = BTreeMap::new();
    for record in scan.batches.iter().flat_map(|batch| &batch.records) {
        let record = record.as_record();
        let highest: &mut RaftIndex = groups.entry(record.group()).or_default();
        if let Record::Entry { index, .. } = record {
            *highest = index.max(*highest);
        }
    }
    groups
}

fn segment_header(
    disk: &dyn Disk,
    file: &Path,
    core: CoreId,
    identity: LogIdentity,
    seq: SegmentSeq,
) -> Result<SegmentHeader, RecoveryError> {
    let sector = read_header(disk, file).map_err(|source| RecoveryError::Io { file: file.to_owned(), source })?;
    check_header(&sector, file, core, identity, seq)
}

/// The header in the first sector of segment `seq` of `core`.
pub(crate) fn check_header(
    sector: &[u8],
    file: &Path,
    core: CoreId,
    identity: LogIdentity,
    seq: SegmentSeq,
) -> Result<SegmentHeader, RecoveryError> {
    let damage = |what: &str| Err(Damage::new(file, 0, what).into());
    let header = match SegmentHeader::decode(sector) {
        Ok(header) => header,
        Err(HeaderFault::Version(found)) => {
            return Err(RecoveryError::UnknownVersion { file: file.to_owned(), found, expected: FORMAT_VERSION });
        }
        Err(HeaderFault::Rotten) => return damage("its header is not as it was written"),
        Err(HeaderFault::Absurd) => return damage("its header contradicts itself"),
    };
    if header.identity != identity {
        return Err(RecoveryError::Foreign { file: file.to_owned(), found: header.identity, expected: identity });
    }
    if header.seq != seq || header.core != core {
        return damage(&format!("its header is that of segment {} of core {}", header.seq, header.core));
    }
    Ok(header)
}

/// The header of a file that may be recycled, or `None` when the file cannot be: unfinished, or damaged.
fn spare_header(
    disk: &dyn Disk,
    file: &Path,
    core: CoreId,
    identity: LogIdentity,
    birth: SegmentSeq,
) -> Option<SegmentHeader> {
    let header = SegmentHeader::decode(&read_header(disk, file).ok()?).ok()?;
    (header.identity == identity && header.core == core && header.birth == birth).then_some(header)
}

fn read_header(disk: &dyn Disk, file: &Path) -> io::Result<FileBytes> {
    disk.read(file, BLOCK as u64)
}

/// A segment that was read.
struct Segment {
    scan: SegmentScan,
    /// Every group with a record in it, and the highest index of its entries there.
    groups: BTreeMap<GroupId, RaftIndex>,
}

/// Reads the segments of all cores at once, so that neither the disk nor a CPU waits for the end of one core's.
fn scan_all(disk: &dyn Disk, cores: &[CoreFiles], is_wanted: Wanted<'_>) -> Result<Vec<Segment>, RecoveryError> {
    let headers: Vec<&SegmentHeader> = cores.iter().flat_map(|core| &core.chain).collect();
    let of_core = |core: &CoreFiles| core.chain.iter().map(|header| core.dir.join(file_name(header.seq))).collect();
    let files: Vec<PathBuf> = cores.iter().flat_map(|core| -> Vec<PathBuf> { of_core(core) }).collect();
    let results: Mutex<Vec<Option<Result<Segment, RecoveryError>>>> =
        Mutex::new((0..files.len()).map(|_| None).collect());
    disk.visit(&files, &|place, bytes| {
        let result = scan_one(&files[place], headers[place], bytes, is_wanted);
        results.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(result);
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let unread = |place: usize| {
        let source = io::Error::other("the file was not read");
        Err(RecoveryError::Io { file: files[place].clone(), source })
    };
    results.into_iter().enumerate().map(|(place, result)| result.unwrap_or_else(|| unread(place))).collect()
}

fn scan_one(
    file: &Path,
    header: &SegmentHeader,
    bytes: io::Result<&[u8]>,
    is_wanted: Wanted<'_>,
) -> Result<Segment, RecoveryError> {
    let bytes = bytes.map_err(|source| RecoveryError::Io { file: file.to_owned(), source })?;
    let scan = scan_whole(file, header, bytes, is_wanted)?;
    Ok(Segment { groups: contents(&scan), scan })
}

/// Scans a segment of which `bytes` should be the whole file.
pub(crate) fn scan_whole(
    file: &Path,
    header: &SegmentHeader,
    bytes: &[u8],
    is_wanted: Wanted<'_>,
) -> Result<SegmentScan, Damage> {
    if bytes.len() as u64 != header.size_bytes() {
        let what = format!("the file has {} bytes, its header says {}", bytes.len(), header.size_bytes());
        let cut = (bytes.len() / SECTOR * SECTOR) as u64;
        return Err(Damage::new(file, cut.min(header.size_bytes()), what));
    }
    Ok(scan_for(file, *header, bytes, is_wanted))
}
