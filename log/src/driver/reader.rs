//! Reading entries again, in the background, that this start has written.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glommio::io::OpenOptions;

use super::system;
use super::writer::LogWatch;
use crate::groups::Entry;
use crate::ids::{GroupId, RaftIndex, SegmentSeq};
use crate::record::Record;
use crate::scan::{Batch, scan_part};
use crate::sector::BLOCK;
use crate::segment::file_name;
use crate::whereabouts::{Place, Range};

/// How much of the log is kept as it was read, in bytes: all groups of a core that catch somebody up at the same time read
/// the same stretches.
const KEPT_BYTES: usize = 8 << 20;

/// A longer stretch has a giant batch, and is not read: taking it apart would hold up the core.
const READ_BYTES_MAX: u64 = 4 << 20;

/// Stretches looked at for one answer.
const LOOKED_AT: usize = 8;

/// Reads one core's log while it is written. It waits for nothing but the disk.
#[derive(Clone)]
pub struct LogReader {
    watch: LogWatch,
    dir: PathBuf,
    kept: Rc<RefCell<Kept>>,
}

/// The newest at the end.
#[derive(Default)]
struct Kept {
    stretches: VecDeque<Stretch>,
    bytes: usize,
    /// Something was read since the last [`LogReader::tidy`].
    in_use: bool,
}

struct Stretch {
    seq: SegmentSeq,
    block: u32,
    bytes: usize,
    batches: Rc<Vec<Batch>>,
}

impl Kept {
    fn get(&mut self, seq: SegmentSeq, block: u32) -> Option<Rc<Vec<Batch>>> {
        self.in_use = true;
        let found = self.stretches.iter().find(|kept| (kept.seq, kept.block) == (seq, block))?;
        Some(Rc::clone(&found.batches))
    }

    fn keep(&mut self, stretch: Stretch) {
        self.bytes += stretch.bytes;
        self.stretches.push_back(stretch);
        while let Some(oldest) = self.stretches.pop_front_if(|_| self.bytes > KEPT_BYTES) {
            self.bytes -= oldest.bytes;
        }
    }
}

impl LogReader {
    /// `dir` is the core's own folder.
    pub(super) fn new(watch: LogWatch, dir: PathBuf) -> Self {
        Self { watch, dir, kept: Rc::default() }
    }

    /// Entries of `group` from `first` on, in a row: at most up to `upto`, and not many more than `max_bytes` of payload.
    /// They must be durable. Empty if `first` is not to be had (any more).
    pub async fn entries(&self, group: GroupId, first: RaftIndex, upto: RaftIndex, max_bytes: usize) -> Vec<Entry> {
        let mut row = Row { first, upto, entries: Vec::new(), bytes: 0 };
        for _ in 0..LOOKED_AT {
            let next = row.next();
            if next > upto || row.bytes >= max_bytes {
                break;
            }
            let Some((place, range)) = self.watch.find(group, next) else { break };
            let Ok(batches) = self.batches(&place).await else { break };
            row.take(group, range, &batches, max_bytes);
            if row.next() == next {
                break;
            }
        }
        row.entries
    }

    /// The oldest entry of a group that is to be had.
    pub fn first(&self, group: GroupId) -> Option<RaftIndex> {
        self.watch.first(group)
    }

    /// Lets go of what was kept, if nothing was read since the last call.
    pub(super) fn tidy(&self) {
        let mut kept = self.kept.borrow_mut();
        if !std::mem::take(&mut kept.in_use) {
            *kept = Kept::default();
        }
    }

    async fn batches(&self, place: &Place) -> io::Result<Rc<Vec<Batch>>> {
        let Place { header, block, blocks, is_whole } = *place;
        let kept = self.kept.borrow_mut().get(header.seq, block);
        if let Some(batches) = kept {
            return Ok(batches);
        }
        let (at, length) = (u64::from(block) * BLOCK as u64, u64::from(blocks) * BLOCK as u64);
        if length > READ_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the batch is a giant"));
        }
        let path = self.dir.join(file_name(header.seq));
        let bytes = read(&path, at, length as usize).await?;
        let batches = Rc::new(scan_part(&path, header, block, &bytes));
        let read: usize = batches.iter().map(|batch| batch.header.blocks()).sum();
        if is_whole && read == blocks as usize {
            let (seq, bytes, batches) = (header.seq, bytes.len(), Rc::clone(&batches));
            self.kept.borrow_mut().keep(Stretch { seq, block, bytes, batches });
        }
        Ok(batches)
    }
}

/// An answer in the making.
struct Row {
    first: RaftIndex,
    upto: RaftIndex,
    entries: Vec<Entry>,
    bytes: usize,
}

impl Row {
    fn next(&self) -> RaftIndex {
        self.entries.last().map_or(self.first, |entry| entry.index.next())
    }

    /// Takes what a stretch has. A later entry overrides an earlier one of the same index, so that all of it is looked at
    /// before any of it counts.
    fn take(&mut self, group: GroupId, range: Range, batches: &[Batch], max_bytes: usize) {
        let mut found: VecDeque<Entry> = VecDeque::new();
        let (from, upto) = (self.next(), self.upto.min(range.last));
        for record in batches.iter().flat_map(|batch| &batch.records) {
            let Record::Entry { group: of, term, index, entry_type, first, count, .. } = record.as_record() else {
                continue;
            };
            if of != group || index < from || index > upto {
                continue;
            }
            while found.pop_back_if(|last| last.index >= index).is_some() {}
            found.push_back(Entry { term, index, entry_type, first, count, payload: record.payload().clone() });
        }
        for entry in found {
            if entry.index != self.next() || self.bytes >= max_bytes {
                break;
            }
            self.bytes += entry.payload.len();
            self.entries.push(entry);
        }
    }
}

async fn read(path: &Path, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).dma_open(path).await.map_err(system)?;
    let read = file.read_at_aligned(at, length).await.map_err(system).map(|read| read.to_vec());
    // Nothing was written: a failed close loses nothing.
    let _ = file.close().await;
    read
}
