//! Writing a log anew where there is no executor: before a start, beside the one whose place it is to take.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::appender::{Appender, Start};
use crate::dir::{FILE_MODE, make_dir, sync_dir};
use crate::floors::Floors;
use crate::groups::GroupLog;
use crate::ids::{BatchSeq, CoreId, Epoch, GroupId, LogIdentity, Position, SegmentSeq};
use crate::record::Record;
use crate::recovery::{Resume, core_dir};
use crate::salvage::Salvage;
use crate::sector::BLOCK;
use crate::segment::{DEFAULT_SEGMENT_BYTES, SegmentHeader, file_name, format_block};
use crate::tail::MAX_IN_FLIGHT;

/// Bytes of records that are gathered into one batch.
const BATCH_BYTES: usize = 1 << 20;

/// One group's log as it is to be.
#[derive(Clone, Copy, Debug)]
pub struct Rewritten<'a> {
    /// The group.
    pub group: GroupId,
    /// Its log.
    pub log: &'a GroupLog,
    /// Where the entries begin: at the log's base, or at an older snapshot.
    pub from: Position,
}

/// Writes all groups into one log, that of core 0, below `dir`; durable when it returns. Blocks. The numbers are such as no log of
/// the member has had that `salvage` was read from. `pace` is told of every group that is written.
pub fn rewrite(
    dir: &Path,
    identity: LogIdentity,
    salvage: &Salvage,
    groups: &[Rewritten<'_>],
    pace: &mut dyn FnMut(GroupId),
) -> io::Result<()> {
    let core = CoreId::new(0);
    let folder = core_dir(dir, core);
    make_dir(&folder)?;
    let resume = Resume {
        core,
        cores: 1,
        epoch: Epoch::new(salvage.newest.get() + 1),
        previous: SegmentSeq::NONE,
        resumed_after: BatchSeq::NONE,
        first_batch: BatchSeq::new(salvage.highest_batch.get() + MAX_IN_FLIGHT as u64 + 1),
        next_segment: salvage.highest_segment.next(),
        inherited: Vec::new(),
        headers: Vec::new(),
        spares: Vec::new(),
        litter: Vec::new(),
        floors: Floors::default(),
    };
    let appender = Appender::new(Start { identity, resume, segment_bytes: DEFAULT_SEGMENT_BYTES });
    let mut writer = Writer { folder: &folder, appender, files: BTreeMap::new() };
    for rewritten in groups {
        writer.group(rewritten)?;
        pace(rewritten.group);
    }
    writer.flush()?;
    // As in every log: without a segment that is ready nobody could tell that no newer ones were there.
    if !writer.appender.has_next() {
        writer.prepare()?;
    }
    for file in writer.files.values() {
        file.sync_all()?;
    }
    sync_dir(&folder)?;
    sync_dir(dir)
}

struct Writer<'a> {
    folder: &'a Path,
    appender: Appender,
    files: BTreeMap<SegmentSeq, File>,
}

impl Writer<'_> {
    fn group(&mut self, Rewritten { group, log, from }: &Rewritten<'_>) -> io::Result<()> {
        // Also said before the entries: what the first of them follows.
        self.push(&Record::SnapshotMark { group: *group, position: *from })?;
        for entry in &log.entries {
            let record = Record::Entry {
                group: *group,
                term: entry.term,
                index: entry.index,
                entry_type: entry.entry_type,
                first: entry.first,
                count: entry.count,
                payload: &entry.payload,
            };
            self.push(&record)?;
        }
        log.state_records(*group).try_for_each(|record| self.push(&record))
    }

    fn push(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.appender.push(record);
        if self.appender.pending_bytes() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what is gathered.
    fn flush(&mut self) -> io::Result<()> {
        while self.appender.pending_bytes() > 0 {
            let Some(ticket) = self.appender.begin_write() else {
                self.prepare()?;
                continue;
            };
            let mut bytes = vec![0; ticket.length];
            self.appender.encode(&ticket, &mut bytes);
            self.file(ticket.segment)?.write_all_at(&bytes, ticket.offset)?;
            self.appender.written(ticket.seq);
        }
        Ok(())
    }

    fn file(&self, seq: SegmentSeq) -> io::Result<&File> {
        self.files.get(&seq).ok_or_else(|| io::Error::other(format!("segment {seq} is not there")))
    }

    /// Makes the segment ready that the appender waits for.
    fn prepare(&mut self) -> io::Result<()> {
        let Some(wanted) = self.appender.wants_segment() else {
            return Err(io::Error::other("the log can not go on"));
        };
        self.files.insert(wanted.seq, make(self.folder, &wanted)?);
        if let Some(before) = self.appender.naming(wanted.seq) {
            let mut block = [0; BLOCK];
            before.encode(&mut block);
            self.file(before.seq)?.write_all_at(&block, 0)?;
        }
        self.appender.prepared(wanted);
        Ok(())
    }
}

/// A new segment with every sector formatted.
fn make(folder: &Path, header: &SegmentHeader) -> io::Result<File> {
    let path = folder.join(file_name(header.seq));
    let file = OpenOptions::new().create_new(true).write(true).mode(FILE_MODE).open(path)?;
    let mut bytes = vec![0; header.size_bytes() as usize];
    for (block, number) in bytes.chunks_exact_mut(BLOCK).zip(0..) {
        format_block(block, header.seed(), number, header.birth);
    }
    header.encode(&mut bytes[..BLOCK]);
    file.write_all_at(&bytes, 0)?;
    Ok(file)
}
