//! Damage on the disks of several members, of which each leaves something that the others have lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use log::record::Record;
use log::segment::format_block;
use log::{BLOCK, Epoch, SECTOR, SegmentHeader, scan_segment};

use crate::harness::{Rng, files_below};

/// Batches of each member that are damaged.
const PLACES: usize = 12;

/// Shard, index and term of an entry.
pub(super) type Entry = (u16, u64, u64);

/// What a member's log tells, and damage makes it forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    /// An entry.
    Entry(Entry),
    /// Which entry is before this one, the first of its term. A log shows it where nothing is missing between the two: what stood
    /// before a gap may have been overridden in it. Entries of which each is whole somewhere are no log if nobody knows this.
    Before(Entry),
}

/// A batch as it stands in a file.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    epoch: Epoch,
    pub(crate) offset: usize,
    /// Bytes of its header and records, without the stamps between them.
    pub(crate) length: usize,
    bytes: usize,
    pub(super) entries: BTreeSet<Entry>,
    /// What is lost with it.
    facts: BTreeSet<Fact>,
}

/// Every batch of a member's logs, log by log in the order written.
pub(crate) fn batches(data: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    for file in segments(data) {
        let bytes = fs::read(&file).expect("a readable log");
        let header = SegmentHeader::decode(&bytes).expect("a good log");
        for batch in scan_segment(&file, header, &bytes).batches {
            let entry = |record: Record<'_>| match record {
                Record::Entry { group, index, term, .. } => Some((group.get(), index.get(), term)),
                _ => None,
            };
            let entries: BTreeSet<Entry> =
                batch.records.iter().filter_map(|record| entry(record.as_record())).collect();
            places.push(Place {
                file: file.clone(),
                epoch: header.epoch,
                offset: batch.offset as usize,
                length: batch.header.length,
                bytes: batch.header.blocks() * BLOCK,
                facts: entries.iter().copied().map(Fact::Entry).collect(),
                entries,
            });
        }
    }
    for (entry, from, upto) in changes_of_term(&places) {
        places[from..=upto].iter_mut().for_each(|place| _ = place.facts.insert(Fact::Before(entry)));
    }
    places
}

/// The first entry of each term, and the batches from the one with the entry before it to its own. Every shard stays on its
/// executor.
fn changes_of_term(places: &[Place]) -> Vec<(Entry, usize, usize)> {
    let mut standing: BTreeMap<u16, BTreeMap<u64, (u64, usize)>> = BTreeMap::new();
    let mut changes = Vec::new();
    for (at, place) in places.iter().enumerate() {
        for &(group, index, term) in &place.entries {
            let log = standing.entry(group).or_default();
            log.split_off(&index);
            match log.get(&(index - 1)) {
                Some((before, from)) if *before != term => changes.push(((group, index, term), *from, at)),
                _ => {}
            }
            log.insert(index, (term, at));
        }
    }
    changes
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let is_segment = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "log");
    let mut files: Vec<_> = files_below(&data.join("member/wal")).into_iter().filter(is_segment).collect();
    files.sort();
    files
}

/// Changes the bytes of a file from `at` on.
fn change(file: &Path, at: usize, length: usize, change: impl Fn(&mut u8)) {
    let mut bytes = fs::read(file).expect("a readable log");
    bytes[at..at + length].iter_mut().for_each(change);
    fs::write(file, bytes).expect("a writable log");
}

pub(super) fn zero(file: &Path, at: usize, length: usize) {
    change(file, at, length, |byte| *byte = 0);
}

/// Damages batches of every member, no fact on two of them, and the headers of some segments.
pub(super) fn damage_all(members: &[&Path], rng: &mut Rng) -> usize {
    let all: Vec<Vec<Place>> = members.iter().map(|data| batches(data)).collect();
    // What is before the first entry of a start, that start does not show.
    let mut lost: BTreeSet<Fact> = all.iter().flat_map(|places| between(places, |a, b| a.epoch != b.epoch)).collect();
    for (nth, all) in all.iter().enumerate() {
        // The ends of logs are hidden on one member at most: they are said where a segment begins, and by the last entries.
        let places: Vec<&Place> = if nth == 0 { all.iter().collect() } else { without_ends(all) };
        let mut mine: BTreeSet<Fact> = BTreeSet::new();
        for _ in 0..PLACES {
            let place = places[rng.below(places.len() as u64) as usize];
            if place.facts.is_disjoint(&lost) {
                damage(place, rng);
                mine.extend(place.facts.iter().copied());
            }
        }
        let files = segments(members[nth]);
        let file = &files[rng.below(files.len() as u64) as usize];
        // Without its header a segment may not be known to go on from the one before it, nor the next one from this.
        let facts = between(all, |a, b| a.file != b.file && (a.file == *file || b.file == *file));
        if facts.is_disjoint(&lost) {
            zero(file, 0, SECTOR);
            mine.extend(facts);
        }
        lost.extend(mine);
    }
    lost.iter().filter(|fact| matches!(fact, Fact::Entry(_))).count()
}

/// Which first entries of a term are behind such a border between two batches, and what is before them in front of it.
fn between(places: &[Place], is_border: impl Fn(&Place, &Place) -> bool) -> BTreeSet<Fact> {
    let spans = changes_of_term(places).into_iter();
    let crosses =
        spans.filter(|(_, from, upto)| places[*from..=*upto].windows(2).any(|two| is_border(&two[0], &two[1])));
    crosses.map(|(entry, ..)| Fact::Before(entry)).collect()
}

/// The batches of each log but for its last part, and for the first ones of segments.
fn without_ends(places: &[Place]) -> Vec<&Place> {
    let logs = places.chunk_by(|a, b| a.file.parent() == b.file.parent());
    let first: BTreeSet<(&Path, usize)> =
        places.chunk_by(|a, b| a.file == b.file).map(|of| (of[0].file.as_path(), of[0].offset)).collect();
    logs.flat_map(without_end).filter(|place| !first.contains(&(place.file.as_path(), place.offset))).collect()
}

/// One log but for its last part.
fn without_end(log: &[Place]) -> &[Place] {
    &log[..log.len() * 4 / 5]
}

fn damage(place: &Place, rng: &mut Rng) {
    let sectors = place.length.div_ceil(log::SECTOR_PAYLOAD) as u64;
    let sector = place.offset + rng.below(sectors) as usize * SECTOR;
    match rng.below(4) {
        // The last sector stays: without its stamp nobody could tell for certain where the next batch begins.
        0 => zero(&place.file, place.offset, place.bytes - SECTOR),
        1 => zero(&place.file, place.offset, SECTOR),
        2 => zero(&place.file, sector, SECTOR),
        _ => {
            let bit = 1 << rng.below(8);
            change(&place.file, sector + rng.below(SECTOR as u64) as usize, 1, |byte| *byte ^= bit);
        }
    }
}

/// Damages one batch in the middle of a member's oldest segment.
pub(super) fn damage_early(data: &Path) {
    let places = batches(data);
    let oldest: Vec<&Place> = places.iter().take_while(|place| place.file == places[0].file).collect();
    let place = oldest[oldest.len() / 2];
    zero(&place.file, place.offset, SECTOR);
}

/// Writes that a disk has acknowledged and never made: a segment looks as if nothing had ever been written to it.
pub(super) fn lose_writes(file: &Path) {
    let mut bytes = fs::read(file).expect("a readable log");
    let header = SegmentHeader::decode(&bytes).expect("a good log");
    for (block, number) in bytes.chunks_exact_mut(BLOCK).zip(0..).skip(1) {
        format_block(block, header.seed(), number, header.birth);
    }
    fs::write(file, bytes).expect("a writable log");
}
