//! A log on a simulated disk: the real appender, the real recovery, and files in memory whose sectors are written, lost,
//! flipped and swapped at will.

#![allow(dead_code, reason = "every test file uses a part of this")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use log::sector::BLOCK;
use log::segment::{file_name, format_block, spare_name};
use log::{
    Appender, BatchSeq, Closed, CoreId, Disk, EntryType, FileBytes, GroupId, GroupLog, HardState, LogIdentity,
    NewHeader, Position, RaftIndex, Record, Recovered, RecoveryError, Resume, SegmentHeader, Start, WriteTicket,
    recover,
};

pub(crate) const IDENTITY: LogIdentity = LogIdentity { cluster: 0xc1, member: 0xa1 };
pub(crate) const DIR: &str = "/log";
pub(crate) const SEGMENT_BYTES: u64 = 16 * BLOCK as u64;

/// Deterministic, and good enough.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }
}

/// The files of a simulated disk.
#[derive(Debug)]
pub(crate) struct MemDisk {
    /// Whose log it is.
    pub(crate) identity: LogIdentity,
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// What a power cut could leave: told of the files after each change, one by one.
    pub(crate) watched: Option<Watched>,
}

/// The files as they were after each change.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) moments: Vec<MemDisk>,
}

impl Clone for MemDisk {
    /// The files; nobody watches the copy.
    fn clone(&self) -> Self {
        Self { identity: self.identity, files: self.files.clone(), watched: None }
    }
}

impl Default for MemDisk {
    fn default() -> Self {
        Self { identity: IDENTITY, files: BTreeMap::new(), watched: None }
    }
}

impl Disk for MemDisk {
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for file in self.files.keys() {
            if let Some(first) = file.strip_prefix(dir).ok().and_then(|rest| rest.components().next()) {
                names.push(first.as_os_str().to_string_lossy().into_owned());
            }
        }
        names.dedup();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }

    fn read_at(&self, file: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
        let bytes = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        let begin = bytes.len().min(offset as usize);
        let end = bytes.len().min(begin.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)));
        Ok(FileBytes::from(bytes[begin..end].to_vec()))
    }
}

impl MemDisk {
    pub(crate) fn write(&mut self, file: &Path, offset: u64, bytes: &[u8]) {
        let file = self.files.get_mut(file).expect("the file exists");
        file[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        self.changed();
    }

    pub(crate) fn insert(&mut self, file: PathBuf, bytes: Vec<u8>) {
        self.files.insert(file, bytes);
        self.changed();
    }

    pub(crate) fn rename(&mut self, from: &Path, to: PathBuf) {
        let bytes = self.files.remove(from).expect("the file exists");
        self.insert(to, bytes);
    }

    pub(crate) fn remove(&mut self, file: &Path) {
        self.files.remove(file).expect("the file exists");
        self.changed();
    }

    fn changed(&mut self) {
        if self.watched.is_some() {
            let moment = self.clone();
            self.watched.iter_mut().for_each(|watched| watched.moments.push(moment.clone()));
        }
    }

    pub(crate) fn flip(&mut self, file: &Path, bit: usize) {
        self.files.get_mut(file).expect("the file exists")[bit / 8] ^= 1 << (bit % 8);
    }

    pub(crate) fn swap(&mut self, a: (&Path, usize), b: (&Path, usize), length: usize) {
        let one = self.files[a.0][a.1..a.1 + length].to_vec();
        let two = self.files[b.0][b.1..b.1 + length].to_vec();
        self.write(a.0, a.1 as u64, &two);
        self.write(b.0, b.1 as u64, &one);
    }

    pub(crate) fn recover(&self) -> Result<Recovered, RecoveryError> {
        self.recover_on(&|_| None)
    }

    pub(crate) fn recover_on(
        &self,
        base: &(dyn Fn(GroupId) -> Option<Position> + Sync),
    ) -> Result<Recovered, RecoveryError> {
        recover(self, Path::new(DIR), self.identity, base)
    }
}

/// A batch that is being written.
pub(crate) struct UnderWay {
    pub(crate) ticket: WriteTicket,
    pub(crate) file: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// One core's log on a [`MemDisk`]: the driver's part, without a driver.
pub(crate) struct MemLog {
    pub(crate) core: CoreId,
    pub(crate) appender: Appender,
    spares: Vec<(PathBuf, SegmentHeader)>,
}

impl MemLog {
    pub(crate) fn open(
        disk: &mut MemDisk,
        resume: Resume,
        groups: &BTreeMap<GroupId, GroupLog>,
        segment_bytes: u64,
    ) -> Self {
        for NewHeader { file, header } in &resume.headers {
            write_header(disk, file, header);
        }
        for file in &resume.litter {
            disk.remove(file);
        }
        let core = resume.core;
        let mut spares = Vec::new();
        for spare in &resume.spares {
            let header = SegmentHeader::decode(&disk.files[&spare.file]).expect("a spare has a header");
            let path = core_dir(core).join(spare_name(spare.birth));
            if path != spare.file {
                disk.rename(&spare.file, path.clone());
            }
            spares.push((path, header));
        }
        let appender = Appender::new(Start { identity: disk.identity, resume, segment_bytes });
        let mut log = Self { core, appender, spares };
        log.maintain(disk);
        for (group, state) in groups {
            for record in state.state_records(*group) {
                log.appender.push(&record);
            }
        }
        log.write(disk);
        log
    }

    /// Gives segments up and makes them ready, as asked.
    pub(crate) fn maintain(&mut self, disk: &mut MemDisk) {
        loop {
            let wanted = self.appender.wants_segment();
            for closed in self.appender.take_retired() {
                self.give_up(disk, closed);
            }
            let Some(wanted) = wanted else { break };
            let header = self.prepare(disk, wanted);
            if let Some(before) = self.appender.naming(header.seq) {
                write_header(disk, &self.segment(&before), &before);
            }
            self.appender.prepared(header);
        }
    }

    fn give_up(&mut self, disk: &mut MemDisk, closed: Closed) {
        let header = match closed {
            Closed::Own(header) => header,
            Closed::Unused { header, before } => {
                write_header(disk, &self.segment(&before), &before);
                header
            }
            Closed::Inherited(segment) => return disk.remove(&segment.file),
        };
        let spare = core_dir(self.core).join(spare_name(header.birth));
        disk.rename(&self.segment(&header), spare.clone());
        self.spares.push((spare, header));
    }

    fn prepare(&mut self, disk: &mut MemDisk, wanted: SegmentHeader) -> SegmentHeader {
        let fits = self.spares.iter().position(|(_, spare)| spare.blocks == wanted.blocks);
        let (header, path) = if let Some(place) = fits {
            let (path, spare) = self.spares.swap_remove(place);
            (SegmentHeader { birth: spare.birth, ..wanted }, path)
        } else {
            let mut bytes = vec![0; wanted.size_bytes() as usize];
            for (block, number) in bytes.chunks_exact_mut(BLOCK).zip(0..) {
                format_block(block, wanted.seed(), number, wanted.birth);
            }
            let path = core_dir(self.core).join(spare_name(wanted.birth));
            disk.insert(path.clone(), bytes);
            (wanted, path)
        };
        write_header(disk, &path, &header);
        disk.rename(&path, self.segment(&header));
        header
    }

    fn segment(&self, header: &SegmentHeader) -> PathBuf {
        core_dir(self.core).join(file_name(header.seq))
    }

    /// Begins a write of what is gathered: nothing is on the disk yet.
    pub(crate) fn begin(&mut self) -> Option<UnderWay> {
        let ticket = self.appender.begin_write()?;
        let mut bytes = vec![0; ticket.length];
        self.appender.encode(&ticket, &mut bytes);
        Some(UnderWay { ticket, file: core_dir(self.core).join(file_name(ticket.segment)), bytes })
    }

    /// The durable write succeeds.
    pub(crate) fn finish(&mut self, disk: &mut MemDisk, write: &UnderWay) {
        disk.write(&write.file, write.ticket.offset, &write.bytes);
        self.appender.written(write.ticket.seq);
        self.maintain(disk);
    }

    /// Writes what is gathered, if anything is. Returns where.
    pub(crate) fn write(&mut self, disk: &mut MemDisk) -> Option<UnderWay> {
        self.maintain(disk);
        let write = self.begin()?;
        self.finish(disk, &write);
        Some(write)
    }

    /// Writes one batch of these entries.
    pub(crate) fn batch(&mut self, disk: &mut MemDisk, entries: &[(u16, u64, usize)]) -> UnderWay {
        for (group, index, size) in entries {
            self.appender.push(&entry(*group, 1, *index, &payload(*group, *index, *size)));
        }
        self.write(disk).expect("a batch is written")
    }
}

/// A new log of core 0 on an empty disk.
pub(crate) fn new_log() -> (MemDisk, MemLog) {
    new_log_of(SEGMENT_BYTES)
}

pub(crate) fn new_log_of(segment_bytes: u64) -> (MemDisk, MemLog) {
    let mut disk = MemDisk::default();
    let log = open_all(&mut disk, 1, segment_bytes).remove(0);
    (disk, log)
}

/// Starts once more: one log per core, groups on `group % cores`.
pub(crate) fn open_all(disk: &mut MemDisk, cores: u16, segment_bytes: u64) -> Vec<MemLog> {
    let recovered = disk.recover().expect("the log is good");
    reopen(disk, recovered, cores, segment_bytes)
}

pub(crate) fn reopen(disk: &mut MemDisk, recovered: Recovered, cores: u16, segment_bytes: u64) -> Vec<MemLog> {
    let mut groups = recovered.groups.clone();
    let mut logs = Vec::new();
    for resume in recovered.resume(cores) {
        let core = resume.core;
        let mine = groups.extract_if(.., |group, _| group.get() % cores == core.get()).collect();
        logs.push(MemLog::open(disk, resume, &mine, segment_bytes));
    }
    logs
}

pub(crate) fn write_header(disk: &mut MemDisk, file: &Path, header: &SegmentHeader) {
    let mut block = vec![0; BLOCK];
    header.encode(&mut block);
    disk.write(file, 0, &block);
}

pub(crate) fn core_dir(core: CoreId) -> PathBuf {
    Path::new(DIR).join(core.to_string())
}

pub(crate) fn entry(group: u16, term: u64, index: u64, payload: &[u8]) -> Record<'_> {
    let (entry_type, first, count) = (EntryType::Normal, index * 10, 1);
    Record::Entry { group: GroupId::new(group), term, index: RaftIndex::new(index), entry_type, first, count, payload }
}

pub(crate) fn hard_state(group: u16, term: u64, vote: u64, commit: u64) -> Record<'static> {
    let state = HardState { term, vote, commit: RaftIndex::new(commit) };
    Record::HardState { group: GroupId::new(group), state }
}

pub(crate) fn mark(group: u16, index: u64, term: u64) -> Record<'static> {
    Record::SnapshotMark { group: GroupId::new(group), position: position(index, term) }
}

/// The mark of a snapshot that was received.
pub(crate) fn received(group: u16, index: u64, term: u64) -> Record<'static> {
    Record::SnapshotReceived { group: GroupId::new(group), position: position(index, term) }
}

pub(crate) fn position(index: u64, term: u64) -> Position {
    Position { index: RaftIndex::new(index), term }
}

/// Bytes that tell by themselves where they belong.
pub(crate) fn payload(group: u16, index: u64, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u64 ^ index.wrapping_mul(31) ^ u64::from(group) << 3) as u8).collect()
}

/// The indices of a group's entries.
pub(crate) fn indices(recovered: &Recovered, group: u16) -> Vec<u64> {
    let log = recovered.groups.get(&GroupId::new(group));
    log.into_iter().flat_map(|log| &log.entries).map(|entry| entry.index.get()).collect()
}

/// Whether every entry has the bytes it was written with.
pub(crate) fn payloads_are_right(recovered: &Recovered) -> bool {
    recovered.groups.iter().all(|(group, log)| {
        log.entries.iter().all(|entry| entry.payload == payload(group.get(), entry.index.get(), entry.payload.len()))
    })
}

pub(crate) fn seq(number: u64) -> BatchSeq {
    BatchSeq::new(number)
}

/// The damage that recovery reports, or a panic.
pub(crate) fn damage(disk: &MemDisk) -> log::Damage {
    match disk.recover() {
        Err(RecoveryError::Damaged(damage)) => damage,
        other => panic!("damage was not noticed: {other:?}"),
    }
}
