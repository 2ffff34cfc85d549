//! One core's log, told in order: batches, and where something is missing between them.
//!
//! The numbers of batches are consecutive within a start of the process, and a later start says up to which batch it counted.
//! So what is missing shows, wherever the damage is. Where it does not show what is missing, and since when, everything that
//! it could be counts as missing.

use std::path::{Path, PathBuf};

use super::segment::{Find, Hole, Reading, read};
use crate::disk::{Disk, FileBytes};
use crate::error::RecoveryError;
use crate::ids::{BatchSeq, CoreId, Epoch, LogIdentity, SegmentSeq};
use crate::recovery::{check_header, core_dir};
use crate::scan::inspect_all;
use crate::sector::{BLOCK, BLOCK_SECTORS, FileSeed, SectorVerdict};
use crate::segment::{FileKind, SegmentHeader, file_name, kind_of};
use crate::tail::{Evidence, weigh};

/// What happened to the groups of a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// This was written.
    Batch(Vec<Find>),
    /// All that the batch before this one held is known: what the log was when that was written.
    Whole,
    /// Something may have been written that is lost.
    Gap,
    /// The oldest segments of the log are not there: given up, or lost.
    Front,
}

/// One core's log.
#[derive(Debug)]
pub(super) struct CoreStory {
    pub(super) core: CoreId,
    /// Where its files are.
    dir: PathBuf,
    /// In the order in which it was written. A gap that may be of several starts is in each.
    pub(super) events: Vec<(Epoch, Event)>,
    /// What segments tell of which it is not known when they were written: each has its own. It counts for what is true at all
    /// times, and in `events` there is a gap for it.
    pub(super) adrift: Vec<Vec<Event>>,
    /// The newest start that it surely has something of.
    pub(super) newest: Epoch,
    /// A part at its end is missing of which it is not known of which start it is.
    pub(super) ends_in_doubt: bool,
    /// The last segment is one that was made ready and not used yet.
    has_next: bool,
    /// The newest start that a header speaks of, and how many logs it had.
    pub(super) newest_start: (Epoch, u16),
    pub(super) highest_batch: BatchSeq,
    pub(super) highest_segment: SegmentSeq,
    pub(super) bytes: u64,
    /// What is wrong, for people.
    pub(super) losses: Vec<String>,
}

impl CoreStory {
    /// Whether something was written that can be read.
    pub(super) fn has_batches(&self) -> bool {
        self.events.iter().any(|(_, event)| matches!(event, Event::Batch(_)))
    }

    /// To be called of the logs that go on: behind a segment that is written to one is made ready at once. If there is none, the
    /// newest ones may be gone.
    pub(super) fn doubt_end_unless_ready(&mut self) {
        if !self.has_next && !self.ends_in_doubt {
            let dir = self.dir.display();
            self.losses.push(format!("{dir}: no segment is ready behind the newest one: newer ones may be gone"));
            self.ends_in_doubt = true;
        }
    }

    /// Something is missing before `next`. It is of the last start seen, of the next one, or of any in between; where none was
    /// seen, of any before.
    fn misses(&mut self, next: Option<&Stretch>) {
        match next {
            Some(Stretch::Run { epoch, .. }) => {
                let each = self.newest.get().max(1)..=epoch.get();
                self.events.extend(each.map(|epoch| (Epoch::new(epoch), Event::Gap)));
            }
            Some(Stretch::Missing | Stretch::Adrift(_)) => {}
            None => self.ends_in_doubt = true,
        }
    }
}

/// One file.
struct Part {
    seq: SegmentSeq,
    /// None: it was not as it was written, and what can be told without it was.
    header: Option<SegmentHeader>,
    reading: Reading,
}

/// One place in the row of segments.
enum Link {
    Part(Part),
    /// A segment that is not there, or of which nothing can be told; and which.
    Missing(SegmentSeq),
}

/// Segments in a row of one start, or something missing.
enum Stretch {
    Run {
        epoch: Epoch,
        opener: Option<SegmentHeader>,
        parts: Vec<Part>,
    },
    /// A segment that does not say of which start it is, and nor do its neighbours.
    Adrift(Part),
    Missing,
}

/// How far a start's batches count.
#[derive(Clone, Copy)]
enum Until {
    /// Up to this one, says the next start.
    Counted(BatchSeq),
    /// The next start would say, and can not be read.
    Unknown,
    /// There is no next start.
    End,
}

/// Reads what there is of `core`'s log below `dir`.
pub(super) fn tell(
    disk: &dyn Disk,
    dir: &Path,
    core: CoreId,
    identity: LogIdentity,
    segment_bytes: u64,
) -> Result<CoreStory, RecoveryError> {
    let dir = core_dir(dir, core);
    let mut story = CoreStory {
        core,
        dir: dir.clone(),
        events: Vec::new(),
        adrift: Vec::new(),
        newest: Epoch::default(),
        ends_in_doubt: false,
        has_next: false,
        newest_start: (Epoch::default(), 0),
        highest_batch: BatchSeq::NONE,
        highest_segment: SegmentSeq::NONE,
        bytes: 0,
        losses: Vec::new(),
    };
    let names = disk.names(&dir).map_err(|source| RecoveryError::Io { file: dir.clone(), source })?;
    let mut seqs: Vec<SegmentSeq> = Vec::new();
    for name in names {
        match kind_of(&name) {
            FileKind::Segment(seq) => seqs.push(seq),
            // It was not part of the log when it was set aside; only its number must not be used again.
            FileKind::Spare(birth) => story.highest_segment = story.highest_segment.max(birth),
            FileKind::Stranger => {}
        }
    }
    seqs.sort_unstable();
    let of = FilesOf { identity, core, segment_bytes };
    let outline = outline(disk, &dir, of, seqs, &mut story)?;
    let row = row(disk, &dir, outline, &mut story)?;
    let stretches = stretches(row, &mut story.losses, &dir);
    narrate(stretches, &mut story);
    Ok(story)
}

/// A file of the row, before all of it is read.
enum Outline {
    Segment(SegmentHeader),
    Headless(Part),
    Missing(SegmentSeq),
}

/// What the files of a core's log have in common.
#[derive(Clone, Copy)]
struct FilesOf {
    identity: LogIdentity,
    core: CoreId,
    /// The size that a segment usually has.
    segment_bytes: u64,
}

/// The segments that make up the log, newest first.
fn outline(
    disk: &dyn Disk,
    dir: &Path,
    of: FilesOf,
    mut seqs: Vec<SegmentSeq>,
    story: &mut CoreStory,
) -> Result<Vec<Outline>, RecoveryError> {
    let mut row = Vec::new();
    // None: the segment behind does not say.
    let mut wanted = seqs.last().copied();
    let newest = wanted.unwrap_or_default();
    story.highest_segment = story.highest_segment.max(wanted.unwrap_or_default());
    while let Some(seq) = seqs.pop() {
        if wanted.is_some_and(|wanted| seq > wanted) {
            continue;
        }
        if let Some(gone) = wanted.filter(|wanted| seq < *wanted) {
            row.push(Outline::Missing(gone));
        }
        let file = dir.join(file_name(seq));
        let begin =
            disk.read(&file, BLOCK as u64).map_err(|source| RecoveryError::Io { file: file.clone(), source })?;
        match check_header(&begin, &file, of.core, of.identity, seq) {
            Ok(header) => {
                // It was ready, and may have been written to.
                if row.is_empty() && header.next > newest {
                    row.push(Outline::Missing(header.next));
                }
                wanted = Some(header.previous);
                row.push(Outline::Segment(header));
            }
            Err(RecoveryError::Damaged(damage)) => {
                wanted = None;
                story.losses.push(damage.to_string());
                let bytes = whole(disk, &file, story)?;
                match without_header(of, seq, &bytes) {
                    // Made ready, and never used: it holds nothing.
                    Some(part) if part.reading.is_unused() => story.has_next |= row.is_empty(),
                    part => row.push(part.map_or(Outline::Missing(seq), Outline::Headless)),
                }
            }
            Err(other) => return Err(other),
        }
    }
    Ok(row)
}

/// The same with what is in them, oldest first.
fn row(disk: &dyn Disk, dir: &Path, outline: Vec<Outline>, story: &mut CoreStory) -> Result<Vec<Link>, RecoveryError> {
    let mut row: Vec<Link> = Vec::new();
    for outline in outline.into_iter().rev() {
        let part = match outline {
            Outline::Missing(seq) => {
                row.push(Link::Missing(seq));
                continue;
            }
            Outline::Headless(part) => part,
            Outline::Segment(header) => {
                let promised = header.first_batch.max(header.resumed_after);
                story.highest_batch = story.highest_batch.max(promised);
                story.newest_start = story.newest_start.max((header.epoch, header.cores));
                let bytes = whole(disk, &dir.join(file_name(header.seq)), story)?;
                with_header(header, before(header, row.last()), &bytes)
            }
        };
        story.highest_batch = story.highest_batch.max(part.reading.highest());
        row.push(Link::Part(part));
    }
    story.has_next |= matches!(row.last(), Some(Link::Part(part)) if part.reading.is_unused());
    Ok(row)
}

fn whole(disk: &dyn Disk, file: &Path, story: &mut CoreStory) -> Result<FileBytes, RecoveryError> {
    let bytes = disk.read(file, u64::MAX).map_err(|source| RecoveryError::Io { file: file.to_owned(), source })?;
    story.bytes += bytes.len() as u64;
    Ok(bytes)
}

/// The number of the batch before the first in this segment, if the one before it surely ends with that.
fn before(header: SegmentHeader, earlier: Option<&Link>) -> Option<BatchSeq> {
    if header.opens_epoch() {
        return Some(header.first_batch.previous());
    }
    match earlier {
        Some(Link::Part(earlier)) if earlier.seq == header.previous && earlier.reading.end.is_none() => {
            earlier.reading.batches.last().map(|(_, batch)| batch.seq)
        }
        _ => None,
    }
}

fn whole_blocks(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len() / BLOCK * BLOCK]
}

fn with_header(header: SegmentHeader, before: Option<BatchSeq>, bytes: &[u8]) -> Part {
    let bytes = whole_blocks(bytes);
    let bytes = &bytes[..bytes.len().min(header.size_bytes() as usize)];
    let mut reading = read(header.seed(), header.seq, before, bytes);
    if (bytes.len() as u64) < header.size_bytes() {
        reading.doubt_end();
    }
    Part { seq: header.seq, header: Some(header), reading }
}

/// The header says for which segment the file was made, and the checksums of all sectors begin with that. It can be found
/// by trying. None: not even so can anything be read.
///
/// How large it was only the header says. One of the usual size was not cut short, for what was larger begins with a batch that
/// does not fit; of any other size that is not known, nor what was behind its last batch.
fn without_header(of: FilesOf, seq: SegmentSeq, bytes: &[u8]) -> Option<Part> {
    /// What has to verify for the file to be known: one sector may by chance.
    const ENOUGH: usize = 3;
    let is_uncut = bytes.len() as u64 == of.segment_bytes;
    let bytes = whole_blocks(bytes);
    let good = |seed: FileSeed, blocks: &[u8]| {
        let verdicts = inspect_all(seed, seq, 0, blocks);
        verdicts.iter().filter(|verdict| **verdict != SectorVerdict::Rotten).count()
    };
    // The blocks nearest to the begin are enough to find out, unless they are gone, too.
    let begin = &bytes[..bytes.len().min(2 * BLOCK)];
    let seeds = || (1..=seq.get()).rev().map(|birth| FileSeed::new(of.identity, of.core, SegmentSeq::new(birth)));
    let seed = seeds().find(|seed| good(*seed, begin) >= ENOUGH)?;
    let mut reading = read(seed, seq, None, bytes);
    if !is_uncut {
        reading.doubt_end();
    }
    // Where the first batch would begin must be readable, or nobody knows what was there.
    let first = inspect_all(seed, seq, 0, begin).get(BLOCK_SECTORS).copied();
    let is_known = !reading.batches.is_empty() || first == Some(SectorVerdict::Stale);
    is_known.then_some(Part { seq, header: None, reading })
}

/// Sorts the row into what belongs to one start each.
fn stretches(row: Vec<Link>, losses: &mut Vec<String>, dir: &Path) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut row = row.into_iter().peekable();
    while let Some(link) = row.next() {
        let part = match link {
            Link::Part(part) => part,
            Link::Missing(seq) => {
                losses.push(format!("{}: nothing of it can be read", dir.join(file_name(seq)).display()));
                stretches.push(Stretch::Missing);
                continue;
            }
        };
        if let Some(header) = part.header {
            let goes_on = matches!(stretches.last(), Some(Stretch::Run { epoch, .. })
                if *epoch == header.epoch && !header.opens_epoch());
            match stretches.last_mut() {
                Some(Stretch::Run { parts, .. }) if goes_on => parts.push(part),
                _ => stretches.push(run(header, part)),
            }
            continue;
        }
        // Whose it is, its neighbours tell: the numbers of another start's batches are never the next ones.
        let first = part.reading.batches.first().filter(|(hole, _)| hole.is_none()).map(|(_, batch)| batch.seq);
        let next = match row.peek() {
            Some(Link::Part(Part { header: Some(next), .. })) if !next.opens_epoch() => Some(*next),
            _ => None,
        };
        match (stretches.last_mut(), next) {
            (Some(Stretch::Run { parts, .. }), _) if first.is_some() && first == last_of(parts).map(BatchSeq::next) => {
                parts.push(part);
            }
            (_, Some(next)) => {
                stretches.push(Stretch::Missing);
                stretches.push(run(next, part));
            }
            _ => stretches.push(Stretch::Adrift(part)),
        }
    }
    stretches
}

fn run(header: SegmentHeader, part: Part) -> Stretch {
    let opener = part.header.filter(SegmentHeader::opens_epoch);
    Stretch::Run { epoch: header.epoch, opener, parts: vec![part] }
}

fn last_of(parts: &[Part]) -> Option<BatchSeq> {
    parts.iter().rev().find_map(|part| part.reading.batches.last()).map(|(_, batch)| batch.seq)
}

/// Turns the stretches into events.
fn narrate(stretches: Vec<Stretch>, story: &mut CoreStory) {
    let mut stretches = stretches.into_iter().peekable();
    let mut is_front = true;
    while let Some(stretch) = stretches.next() {
        let until = match stretches.peek() {
            Some(Stretch::Run { opener: Some(next), .. }) => Until::Counted(next.resumed_after),
            Some(_) => Until::Unknown,
            None => Until::End,
        };
        match stretch {
            Stretch::Missing => story.misses(stretches.peek()),
            Stretch::Adrift(part) => {
                let from = story.events.len();
                let until = if matches!(until, Until::End) { Until::Unknown } else { until };
                Teller { epoch: story.newest, story }.run(None, &[part], until);
                let told = story.events.split_off(from).into_iter().map(|(_, event)| event);
                story.adrift.push(told.collect());
                story.misses(stretches.peek());
            }
            Stretch::Run { epoch, opener, parts } => {
                let joins = is_front || opener.is_some();
                let mut teller = Teller { epoch, story };
                if !joins {
                    // What was before it has a gap at its end already, or is of another start.
                    teller.gap();
                } else if opener.is_none() {
                    teller.story.events.push((epoch, Event::Front));
                }
                teller.run(opener, &parts, until);
                story.newest = story.newest.max(epoch);
            }
        }
        is_front = false;
    }
}

/// Tells of one run.
struct Teller<'a> {
    epoch: Epoch,
    story: &'a mut CoreStory,
}

impl Teller<'_> {
    fn gap(&mut self) {
        self.story.events.push((self.epoch, Event::Gap));
    }

    fn lose(&mut self, seq: SegmentSeq, what: &str) {
        self.say(seq, what);
        self.gap();
    }

    fn say(&mut self, seq: SegmentSeq, what: &str) {
        let file = self.story.dir.join(file_name(seq));
        self.story.losses.push(format!("{}: {what}", file.display()));
    }

    fn run(&mut self, opener: Option<SegmentHeader>, parts: &[Part], until: Until) {
        let mut last = opener.map(|header| header.first_batch.previous());
        // The part of the last batch: what is behind it counts as the end.
        let mut ended_in = 0;
        for (place, part) in parts.iter().enumerate() {
            for (hole, batch) in &part.reading.batches {
                if matches!(until, Until::Counted(upto) if batch.seq > upto) {
                    return self.end(last, parts, ended_in, until);
                }
                if last.is_some_and(|last| batch.seq <= last) {
                    self.lose(part.seq, &format!("batch {} stands in another batch's place", batch.seq));
                    continue;
                }
                let follows = last.map_or(hole.is_none() && place == 0, |last| batch.seq == last.next());
                if !follows {
                    match until {
                        Until::End if is_torn(last, parts, ended_in, (place, hole.as_ref())) => return,
                        // Behind the gap may be what was never finished: it says nothing that is not so, and a gap follows.
                        _ => self.lose(part.seq, &missing(last, batch.seq)),
                    }
                }
                self.story.events.push((self.epoch, Event::Batch(batch.finds.clone())));
                if batch.finds.iter().any(|find| matches!(find, Find::Hollow(..))) {
                    self.say(part.seq, &format!("a part of an entry in batch {} is lost", batch.seq));
                }
                if batch.is_whole {
                    self.story.events.push((self.epoch, Event::Whole));
                } else {
                    self.lose(part.seq, &format!("a part of batch {} is lost", batch.seq));
                }
                (last, ended_in) = (Some(batch.seq), place);
            }
        }
        self.end(last, parts, ended_in, until);
    }

    fn end(&mut self, last: Option<BatchSeq>, parts: &[Part], ended_in: usize, until: Until) {
        let seq = parts[ended_in].seq;
        match (until, last) {
            (Until::Counted(upto), last) if last.is_none_or(|last| last < upto) => {
                self.lose(seq, &format!("its last batches, up to {upto}, are lost"));
            }
            (Until::Counted(_), _) => {}
            (_, None) => self.lose(seq, "its first batch is lost"),
            // What is missing behind it is told of all the same.
            (Until::Unknown, Some(_)) => self.gap(),
            (Until::End, Some(last)) => {
                let rest = &parts[ended_in..];
                let is_rotten = rest.iter().filter_map(|part| part.reading.end.as_ref()).any(|hole| hole.is_rotten);
                if is_rotten || evidence(last.next(), rest) == Evidence::WasDurable {
                    self.lose(seq, &format!("what was behind batch {last} can not be told"));
                }
            }
        }
    }
}

/// The row breaks off behind batch `last`, in part `ended_in`, before one in part `at.0` with this hole before it. Was that
/// the end of the log, and the rest an unfinished write?
fn is_torn(last: Option<BatchSeq>, parts: &[Part], ended_in: usize, (place, hole): (usize, Option<&Hole>)) -> bool {
    let Some(last) = last else { return false };
    let between = parts[ended_in..place].iter().filter_map(|part| part.reading.end.as_ref());
    let is_rotten = between.chain(hole).any(|hole| hole.is_rotten);
    !is_rotten && evidence(last.next(), &parts[ended_in..]) != Evidence::WasDurable
}

fn missing(last: Option<BatchSeq>, next: BatchSeq) -> String {
    match last {
        Some(last) => format!("batches {} to {} are lost", last.next(), next.previous()),
        None => format!("what was before batch {next} is lost"),
    }
}

/// What the batches and leftovers of `parts` say about batch `lost`.
fn evidence(lost: BatchSeq, parts: &[Part]) -> Evidence {
    let whole = parts.iter().flat_map(|part| &part.reading.batches);
    let holes = whole.clone().filter_map(|(hole, _)| hole.as_ref());
    let holes = holes.chain(parts.iter().filter_map(|part| part.reading.end.as_ref()));
    let partly = holes.flat_map(|hole| &hole.leftovers).map(|(seq, synced)| (*seq, *synced));
    let whole = whole.map(|(_, batch)| (batch.seq, Some(batch.synced_upto)));
    whole.chain(partly).map(|(seq, synced)| weigh(lost, seq, synced)).max().unwrap_or(Evidence::Nothing)
}
