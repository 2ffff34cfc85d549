//! Reading on behind damage: all that is whole is found, nothing that is not is taken, and what a gap hides counts as hidden.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::{DIR, IDENTITY, MemDisk, MemLog, SEGMENT_BYTES, core_dir, entry, hard_state, new_log, payload, position};
use log::batch::BATCH_HEADER;
use log::record::RECORD_HEADER;
use log::segment::file_name;
use log::{BegunLogs, CoreId, Epoch, Facts, GroupId, RaftIndex, SECTOR, SECTOR_PAYLOAD, Salvage, SegmentSeq, salvage};
use proptest::prelude::*;

const GROUPS: u16 = 3;

fn read(disk: &MemDisk) -> Salvage {
    read_noted(disk, None)
}

fn read_noted(disk: &MemDisk, noted: Option<BegunLogs>) -> Salvage {
    let groups = (0..GROUPS).map(|group| (GroupId::new(group), RaftIndex::new(1))).collect();
    salvage(disk, Path::new(DIR), IDENTITY, &groups, noted, SEGMENT_BYTES).expect("readable")
}

fn facts(salvage: &Salvage, group: u16) -> &Facts {
    &salvage.groups[&GroupId::new(group)]
}

/// One batch as it was written: where, and its entries as group, index and size of the payload, behind so many ends of logs.
struct Written {
    file: PathBuf,
    sector: usize,
    ends: usize,
    entries: Vec<(u16, u64, usize)>,
}

/// A log of these batches, each a list of groups and sizes.
fn log_of(batches: &[Vec<(u16, usize)>]) -> (MemDisk, MemLog, Vec<Written>) {
    let (mut disk, mut log) = new_log();
    let mut next = [2; GROUPS as usize];
    let mut written = Vec::new();
    for batch in batches {
        let (mut entries, before) = (Vec::new(), next);
        for (group, size) in batch {
            let index = &mut next[usize::from(*group)];
            entries.push((*group, *index, *size));
            *index += 1;
        }
        let write = log.batch(&mut disk, &entries);
        // The first batch of a segment begins with the ends of the logs that go on in it.
        let goes_on = |group: &u16| before[usize::from(*group)] > 2;
        let groups: BTreeSet<u16> = batch.iter().map(|(group, _)| *group).filter(goes_on).collect();
        let ends = if write.ticket.offset == log::BLOCK as u64 { groups.len() } else { 0 };
        written.push(Written { file: write.file, sector: write.ticket.offset as usize / SECTOR, ends, entries });
    }
    (disk, log, written)
}

/// What must be found: of each entry, whether its content is.
fn expected(written: &[Written], bad: &BTreeSet<(PathBuf, usize)>) -> BTreeMap<(u16, u64), bool> {
    let mut expected = BTreeMap::new();
    for batch in written {
        let good = |from: usize, length: usize| {
            let sectors = from / SECTOR_PAYLOAD..(from + length).div_ceil(SECTOR_PAYLOAD);
            sectors.into_iter().all(|sector| !bad.contains(&(batch.file.clone(), batch.sector + sector)))
        };
        let mut from = BATCH_HEADER + batch.ends * RECORD_HEADER;
        // Without its first sector nobody knows where it ends.
        for (group, index, size) in batch.entries.iter().take_while(|_| good(0, 1)) {
            if !good(from, RECORD_HEADER) {
                break;
            }
            expected.insert((*group, *index), good(from, RECORD_HEADER + size));
            from += (RECORD_HEADER + size).next_multiple_of(8);
        }
    }
    expected
}

fn found(salvage: &Salvage) -> BTreeMap<(u16, u64), bool> {
    let mut found = BTreeMap::new();
    for (group, facts) in &salvage.groups {
        for (position, known) in &facts.entries {
            let content = known.entry.as_ref();
            let right =
                |entry: &log::Entry| entry.payload == payload(group.get(), entry.index.get(), entry.payload.len());
            assert!(content.is_none_or(right), "{group}, {position:?}");
            found.insert((group.get(), position.index.get()), content.is_some());
        }
    }
    found
}

fn a_batch() -> impl Strategy<Value = Vec<(u16, usize)>> {
    let size = prop_oneof![6 => 0..300_usize, 3 => 300..3000_usize, 1 => 3000..9000_usize];
    proptest::collection::vec((0..GROUPS, size), 1..5)
}

proptest! {
    #[test]
    fn all_that_is_whole_is_found_and_nothing_else(
        batches in proptest::collection::vec(a_batch(), 20..60),
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..6),
        headers in proptest::collection::vec(any::<prop::sample::Index>(), 0..2),
    ) {
        let (mut disk, _, written) = log_of(&batches);
        let whole = read(&disk);
        prop_assert!(whole.losses.is_empty());
        prop_assert_eq!(found(&whole), expected(&written, &BTreeSet::new()));
        let mut bad = BTreeSet::new();
        for (batch, sector, flip) in places {
            let batch = batch.get(&written);
            let used = batch.entries.iter().map(|(.., size)| (RECORD_HEADER + size).next_multiple_of(8)).sum::<usize>();
            let sector = batch.sector + sector.index((BATCH_HEADER + used).div_ceil(SECTOR_PAYLOAD));
            if flip {
                disk.flip(&batch.file, sector * SECTOR * 8 + 77);
            } else {
                disk.write(&batch.file, (sector * SECTOR) as u64, &[0; SECTOR]);
            }
            // Twice flipped is as it was.
            if !bad.insert((batch.file.clone(), sector)) {
                disk.write(&batch.file, (sector * SECTOR) as u64, &[0; SECTOR]);
            }
        }
        // What a header says its neighbours say as well, but for the newest one's and where they are damaged themselves.
        let last = written.last().expect("some").file.clone();
        for header in headers.iter().filter(|_| bad.is_empty()) {
            let file = header.get(&written).file.clone();
            if file != last {
                disk.write(&file, 0, &[0; SECTOR]);
            }
        }
        let salvaged = read(&disk);
        let (found, expected_at_least) = (found(&salvaged), expected(&written, &bad));
        prop_assert!(found.keys().eq(expected_at_least.keys()));
        // Of a sector with nothing but zeroes of the payload in it, nothing is lost when it is zeroed.
        prop_assert!(found.iter().zip(&expected_at_least).all(|((_, is), (_, must_be))| is >= must_be));
        // Nor is padding a loss.
        let lost = found != expected(&written, &BTreeSet::new());
        let headerless = bad.is_empty() && headers.iter().any(|header| header.get(&written).file != last);
        prop_assert_eq!(salvaged.losses.is_empty(), !lost && !headerless, "{:?}", salvaged.losses);
    }
}

#[test]
fn the_end_of_a_log_is_known_by_the_last_entry_behind_a_gap() {
    let (mut disk, mut log, written) = log_of(&[vec![(0, 10)], vec![(1, 10)], vec![(0, 10), (1, 10)], vec![(0, 10)]]);
    log.appender.push(&hard_state(0, 4, 2, 3));
    log.write(&mut disk);
    let bad = &written[2];
    disk.write(&bad.file, (bad.sector * SECTOR) as u64, &[0; SECTOR]);
    let salvaged = read(&disk);
    let (known, hidden) = (facts(&salvaged, 0).end, facts(&salvaged, 1).end);
    assert_eq!((known.tip, known.term), (Some(position(4, 1)), Some(4)));
    assert_eq!((hidden.tip, hidden.last, hidden.term), (None, None, None));
    assert!(known.is_at_most(position(4, 1)) && known.is_at_most(position(2, 2)) && !known.is_at_most(position(3, 1)));
    assert!(!hidden.is_at_most(position(u64::MAX, u64::MAX)));
    assert_eq!(facts(&salvaged, 0).entries[&position(4, 1)].after, None, "what it follows is lost");
}

/// What a batch says of the commit goes with the log behind that batch, if all of it is known.
#[test]
fn entries_that_stood_when_the_commit_was_noted_are_committed() {
    let (mut disk, mut log, _) = log_of(&[vec![(0, 10)], vec![(0, 10)]]);
    let committed = |disk: &MemDisk| -> Vec<(u64, u64)> {
        facts(&read(disk), 0).committed.iter().map(|at| (at.index.get(), at.term)).collect()
    };
    // In one batch with what overrides an entry, and before it.
    log.appender.push(&hard_state(0, 2, 0, 3));
    let payloads = [payload(0, 3, 20), payload(0, 4, 20)];
    log.appender.push(&entry(0, 2, 3, &payloads[0]));
    log.appender.push(&entry(0, 2, 4, &payloads[1]));
    let write = log.write(&mut disk).expect("written");
    assert_eq!(committed(&disk), [(2, 1), (3, 2)]);
    log.appender.push(&hard_state(0, 2, 0, 4));
    log.write(&mut disk);
    assert_eq!(committed(&disk), [(2, 1), (3, 2), (4, 2)]);
    disk.write(&write.file, write.ticket.offset, &[0; SECTOR]);
    assert_eq!(committed(&disk), [], "what stands is not known any more");
}

#[test]
fn a_stored_value_that_looks_like_a_batch_is_none() {
    let (disk, _, written) = log_of(&[vec![(0, 10)], vec![(1, 700)]]);
    // The blocks of a real batch, as a client that has seen the disk could store them; of the number that it will have.
    let of = &written[1];
    let real: Vec<u8> = (0..2)
        .flat_map(|sector| disk.files[&of.file][(of.sector + sector) * SECTOR..][..SECTOR_PAYLOAD].to_vec())
        .collect();
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(0, 2, 10)]);
    let mut value = vec![7; 4 * 8 * SECTOR_PAYLOAD];
    let block = 8 * SECTOR_PAYLOAD;
    value[2 * block - BATCH_HEADER - RECORD_HEADER..][..real.len()].copy_from_slice(&real);
    log.appender.push(&entry(0, 1, 3, &value));
    let write = log.write(&mut disk).expect("written");
    disk.write(&write.file, write.ticket.offset, &vec![0; 2 * log::BLOCK]);
    log.batch(&mut disk, &[(0, 4, 10)]);
    let salvaged = read(&disk);
    assert_eq!(found(&salvaged), BTreeMap::from([((0, 2), true), ((0, 4), true)]));
}

#[test]
fn a_log_that_is_gone_hides_everything() {
    let (disk, _, _) = log_of(&[vec![(0, 10)], vec![(1, 10)]]);
    let noted = BegunLogs { epoch: Epoch::new(1), logs: 2 };
    assert_eq!(facts(&read_noted(&disk, Some(BegunLogs { logs: 1, ..noted })), 0).end.tip, Some(position(2, 1)));
    let salvaged = read_noted(&disk, Some(noted));
    assert_eq!(salvaged.losses.len(), 1);
    assert_eq!(facts(&salvaged, 2).end, log::End::default(), "it may have lived there");
    assert_eq!(facts(&salvaged, 0).end.tip, Some(position(2, 1)), "it lived elsewhere");
}

#[test]
fn a_segment_that_is_gone_leaves_a_gap() {
    let batches: Vec<Vec<(u16, usize)>> = (0..30).map(|_| vec![(0, 3000), (1, 3000)]).collect();
    let (mut disk, _, written) = log_of(&batches);
    let gone = core_dir(CoreId::new(0)).join(file_name(SegmentSeq::new(2)));
    let lost: Vec<u64> = written.iter().filter(|batch| batch.file == gone).map(|batch| batch.entries[0].1).collect();
    disk.files.remove(&gone);
    let salvaged = read(&disk);
    let known = &facts(&salvaged, 0).entries;
    assert!(!lost.is_empty() && lost.iter().all(|index| !known.contains_key(&position(*index, 1))));
    let next = lost.last().expect("some") + 1;
    assert_eq!(known[&position(next, 1)].after, Some(1), "the segment behind repeats it");
    assert_eq!(known[&position(next + 1, 1)].after, Some(1));
    assert_eq!(facts(&salvaged, 0).end.tip, Some(position(31, 1)));
}

/// Only the header says how large a file was.
#[test]
fn a_segment_without_its_header_hides_the_end_when_it_may_have_been_cut_short() {
    let batches: Vec<Vec<(u16, usize)>> = (0..20).map(|_| vec![(0, 3000)]).collect();
    let (disk, _, written) = log_of(&batches);
    let last = &written[written.len() - 1].file;
    let ready: Vec<PathBuf> = disk.files.keys().filter(|file| *file > last).cloned().collect();
    assert_eq!(ready.len(), 1, "the segment after it is made ready");
    for (cut, with_header) in [(false, false), (true, true), (true, false)] {
        let mut bad = disk.clone();
        if !with_header {
            bad.write(last, 0, &[0; SECTOR]);
        }
        if cut {
            // Behind a batch: what is left looks like a log that ends there.
            let bytes = bad.files.get_mut(last).expect("it is there");
            bytes.truncate(written[written.len() - 1].sector * SECTOR);
        }
        let salvaged = read(&bad);
        let want = (!cut).then(|| position(21, 1));
        assert_eq!(facts(&salvaged, 0).end.tip, want, "cut: {cut}, with its header: {with_header}");
        assert_eq!(facts(&salvaged, 0).end.term.is_some(), !cut);
    }
    // One that was made ready: cut short, nobody knows that nothing was in it.
    let mut bad = disk.clone();
    bad.write(&ready[0], 0, &[0; SECTOR]);
    assert_eq!(facts(&read(&bad), 0).end.tip, Some(position(21, 1)));
    bad.files.get_mut(&ready[0]).expect("it is there").truncate(2 * log::BLOCK);
    assert_eq!(facts(&read(&bad), 0).end.tip, None);
}

/// One that had to be larger than usual, cut to the usual size.
#[test]
fn a_batch_that_reaches_beyond_its_file_hides_the_end() {
    let (mut disk, mut log, _) = log_of(&[vec![(0, 10)]]);
    let large = log.batch(&mut disk, &[(0, 3, 2 * SEGMENT_BYTES as usize)]);
    log.batch(&mut disk, &[(0, 4, 10)]);
    disk.write(&large.file, 0, &[0; SECTOR]);
    disk.files.get_mut(&large.file).expect("it is there").truncate(SEGMENT_BYTES as usize);
    disk.files.retain(|file, _| *file <= large.file);
    assert_eq!(facts(&read(&disk), 0).end, log::End::default());
}

/// A start repeats where the log ended: what it writes first follows that, whatever a gap hides before or behind it.
#[test]
fn what_a_start_writes_first_follows_the_end_that_it_repeats() {
    let (mut disk, log, _) = log_of(&[vec![(0, 10)], vec![(0, 10)]]);
    drop(log);
    let base = |_: GroupId| Some(position(1, 1));
    let recovered = disk.recover_on(&base).expect("the log is good");
    let mut log = common::reopen(&mut disk, recovered, 1, SEGMENT_BYTES).remove(0);
    log.batch(&mut disk, &[(0, 4, 10)]);
    let lost = log.batch(&mut disk, &[(1, 2, 10)]);
    log.batch(&mut disk, &[(1, 3, 10)]);
    let after = |disk: &MemDisk| facts(&read(disk), 0).entries[&position(4, 1)].after;
    assert_eq!(after(&disk), Some(1));
    disk.write(&lost.file, lost.ticket.offset, &[0; SECTOR]);
    assert_eq!(after(&disk), Some(1));
}

#[test]
fn of_a_directory_without_any_log_nothing_is_known() {
    let (disk, log, _) = log_of(&[vec![(0, 10)]]);
    let whole = read(&disk);
    assert!(whole.has_log);
    assert_eq!(facts(&whole, 2).end.term, Some(0), "what has never been written to has promised nothing");
    drop(log);
    let salvaged = read(&MemDisk::default());
    assert!(!salvaged.has_log);
    assert!((0..GROUPS).all(|group| facts(&salvaged, group).end == log::End::default()));
}

/// A start that wrote one segment only: without its header nothing says which start that was.
#[test]
fn a_segment_alone_in_its_start_tells_without_its_header_what_is_true_at_all_times() {
    let (mut disk, _, _) = log_of(&[vec![(0, 10)], vec![(0, 10)]]);
    let again = |disk: &mut MemDisk| {
        let recovered = disk.recover_on(&|_| Some(position(1, 1))).expect("the log is good");
        common::reopen(disk, recovered, 1, SEGMENT_BYTES).remove(0)
    };
    let mut log = again(&mut disk);
    let alone = log.batch(&mut disk, &[(0, 4, 10)]).file;
    log.batch(&mut disk, &[(0, 5, 10), (1, 2, 10)]);
    // Of a batch that never counted, nothing: its start ended before that was durable.
    let mut unfinished = disk.clone();
    log.batch(&mut unfinished, &[(0, 6, 20)]);
    let mut log = again(&mut disk);
    log.appender.push(&hard_state(0, 3, 1, 2));
    log.write(&mut disk);
    disk.files.insert(alone.clone(), unfinished.files[&alone].clone());
    assert!(read(&disk).losses.is_empty());
    disk.write(&alone, 0, &[0; SECTOR]);
    let salvaged = read(&disk);
    let known = facts(&salvaged, 0);
    let all: Vec<u64> =
        known.entries.iter().filter(|(_, known)| known.entry.is_some()).map(|(at, _)| at.index.get()).collect();
    assert_eq!(all, [2, 3, 4, 5]);
    assert_eq!((known.entries[&position(4, 1)].after, known.entries[&position(5, 1)].after), (Some(1), Some(1)));
    // Where the logs ended then is not what counts; what the next start repeats is.
    assert_eq!(
        (known.end.tip, known.end.last, known.end.term),
        (Some(position(5, 1)), Some(RaftIndex::new(5)), Some(3))
    );
    assert!(
        facts(&salvaged, 1).entries.contains_key(&position(2, 1))
            && facts(&salvaged, 1).end.tip == Some(position(2, 1))
    );
    // With nothing behind it nobody knows what is the end.
    disk.files.retain(|file, _| *file <= alone);
    let salvaged = read(&disk);
    assert!(facts(&salvaged, 0).entries.contains_key(&position(5, 1)));
    assert!((0..GROUPS).all(|group| facts(&salvaged, group).end == log::End::default()));
}

/// A segment is always ready behind the one that is written to: without one, more may have been there.
#[test]
fn newest_segments_that_are_gone_hide_the_end() {
    let batches: Vec<Vec<(u16, usize)>> = (0..30).map(|_| vec![(0, 3000)]).collect();
    let (disk, _, written) = log_of(&batches);
    assert_eq!(facts(&read(&disk), 0).end.tip, Some(position(31, 1)));
    let last = &written[written.len() - 1].file;
    for is_gone in [|file: &PathBuf, last: &PathBuf| file > last, |file: &PathBuf, last: &PathBuf| file >= last] {
        let mut left = disk.clone();
        left.files.retain(|file, _| !is_gone(file, last));
        let salvaged = read(&left);
        assert_eq!((facts(&salvaged, 0).end, salvaged.losses.len()), (log::End::default(), 1));
    }
}
