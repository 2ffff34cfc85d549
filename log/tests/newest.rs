//! The newest segments of a log are missed when they are gone, and the whole log of a core as well, also of one that the newest start
//! does not have; and nothing else ever is: the power can go after every single change of the disk, also within the starts that follow.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{DIR, Dice, MemDisk, MemLog, Watched, entry, mark, new_log_of, payload, position, reopen};
use log::sector::{BLOCK, SECTOR};
use log::segment::file_name;
use log::{BegunLogs, CoreId, GroupId, RaftIndex, Recovered, RecoveryError, SegmentHeader, SegmentSeq};

const GROUPS: u16 = 2;
/// A header, and room for little more.
const SMALL: u64 = 5 * BLOCK as u64;
/// Of entries, in turn; the last is larger than a segment.
const SIZES: [usize; 5] = [100, 3000, 9000, 700, 30_000];
/// Entries of a group that its snapshots leave in the log.
const KEPT: u64 = 4;

/// What a group was promised, and its newest snapshot.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    acknowledged: u64,
    snapshot: u64,
}

/// A disk, and what must be on it.
struct Moment {
    disk: MemDisk,
    groups: BTreeMap<u16, Group>,
    noted: Option<BegunLogs>,
}

impl Moment {
    fn read_back(&self, disk: &MemDisk) -> Result<Recovered, RecoveryError> {
        let recovered = disk.recover_on(&|group| {
            let snapshot = self.groups.get(&group.get()).map_or(0, |group| group.snapshot);
            (snapshot > 0).then(|| position(snapshot, 1))
        })?;
        self.noted.map_or(Ok(()), |noted| noted.check(Path::new(DIR), &recovered))?;
        Ok(recovered)
    }

    /// Whether everything that was promised is in what was read.
    fn is_kept_in(&self, recovered: &Recovered) -> bool {
        let last = |group: &u16| {
            let log = recovered.groups.get(&GroupId::new(*group));
            log.and_then(|log| log.entries.last()).map_or(0, |entry| entry.index.get())
        };
        self.groups.iter().all(|(group, known)| last(group).max(known.snapshot) >= known.acknowledged)
    }

    /// A sound disk is not refused.
    fn check(&self, name: &str) {
        match self.read_back(&self.disk) {
            Ok(recovered) => assert!(self.is_kept_in(&recovered), "{name}: lost"),
            Err(error) => panic!("{name}: {error}\n{:?}", self.disk.files.keys().collect::<Vec<_>>()),
        }
    }

    /// However many of a core's newest segments are gone: that is noticed, or they held nothing. How often it was noticed.
    fn check_without_newest(&self, name: &str) -> usize {
        let mut refused = 0;
        // Without a note, nothing says that the first start has begun.
        for core in 0..self.noted.map_or(0, |_| 3) {
            let dir = common::core_dir(CoreId::new(core));
            let is_segment =
                |file: &&PathBuf| file.starts_with(&dir) && file.extension().is_some_and(|end| end == "log");
            let segments: Vec<&PathBuf> = self.disk.files.keys().filter(is_segment).collect();
            let mut bad = self.disk.clone();
            for lost in segments.into_iter().rev() {
                bad.files.remove(lost);
                match self.read_back(&bad) {
                    Ok(recovered) => assert!(self.is_kept_in(&recovered), "{name}: {} is not missed", lost.display()),
                    Err(_) => refused += 1,
                }
            }
        }
        refused
    }
}

/// Starts once more, and writes on. What the disk was after every change.
fn live_on(from: &Moment, cores: u16, batches: usize) -> Vec<Moment> {
    let recovered = from.read_back(&from.disk).expect("the log is good");
    let begun = BegunLogs { epoch: recovered.epoch, logs: cores.min(GROUPS) };
    let mut disk = from.disk.clone();
    disk.watched = Some(Watched::default());
    let (mut groups, mut noted, mut moments) = (from.groups.clone(), from.noted, Vec::new());
    let mut take = |disk: &mut MemDisk, groups: &BTreeMap<u16, Group>, noted| {
        let watched = disk.watched.as_mut().map(|watched| std::mem::take(&mut watched.moments));
        moments.extend(watched.into_iter().flatten().map(|disk| Moment { disk, groups: groups.clone(), noted }));
    };
    for (group, log) in &recovered.groups {
        // What came back without having been promised counts from now on.
        let last = log.entries.last().map_or(0, |entry| entry.index.get());
        let known: &mut Group = groups.entry(group.get()).or_default();
        known.acknowledged = known.acknowledged.max(last);
    }
    let mut logs = reopen(&mut disk, recovered, cores, SMALL);
    take(&mut disk, &groups, noted);
    // Each log has something in it.
    if is_complete(&groups) {
        noted = Some(begun);
    }
    for batch in 0..batches {
        let group = batch as u16 % GROUPS;
        let log = &mut logs[usize::from(group % cores)];
        let index = groups.entry(group).or_default().acknowledged + 1;
        append(&mut disk, log, group, index);
        take(&mut disk, &groups, noted);
        let known = groups.entry(group).or_default();
        known.acknowledged = index;
        if is_complete(&groups) {
            noted = Some(begun);
        }
        let known = groups.entry(group).or_default();
        if index > known.snapshot + 2 * KEPT {
            known.snapshot = index - KEPT;
            log.appender.push(&mark(group, known.snapshot, 1));
            log.appender.compact(&[(GroupId::new(group), RaftIndex::new(known.snapshot))]);
        }
        for log in &mut logs {
            log.maintain(&mut disk);
        }
        take(&mut disk, &groups, noted);
    }
    moments
}

fn is_complete(groups: &BTreeMap<u16, Group>) -> bool {
    groups.values().filter(|group| group.acknowledged > 0).count() == usize::from(GROUPS)
}

/// Writes an entry, its first sector before the others.
fn append(disk: &mut MemDisk, log: &mut MemLog, group: u16, index: u64) {
    let bytes = payload(group, index, SIZES[index as usize % SIZES.len()]);
    log.appender.push(&entry(group, 1, index, &bytes));
    log.maintain(disk);
    let write = log.begin().expect("nothing is under way");
    disk.write(&write.file, write.ticket.offset, &write.bytes[..SECTOR]);
    log.finish(disk, &write);
}

fn nothing() -> Moment {
    Moment { disk: MemDisk::default(), groups: BTreeMap::new(), noted: None }
}

/// Starts with these numbers of cores, one after the other, of which each writes so many batches.
fn lives(cores: &[u16], batches: usize) -> Vec<Moment> {
    let mut moments = vec![nothing()];
    for cores in cores {
        let more = live_on(moments.last().expect("a beginning"), *cores, batches);
        moments.extend(more);
    }
    moments
}

#[test]
fn the_newest_segments_are_missed_at_every_moment_and_no_sound_disk_is_refused() {
    let mut refused = 0;
    for (place, moment) in lives(&[1, 2, 3, 1], 24).iter().enumerate() {
        let name = format!("moment {place}");
        moment.check(&name);
        refused += moment.check_without_newest(&name);
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn a_start_after_a_power_cut_at_any_moment_may_lose_power_as_well() {
    for (place, moment) in lives(&[1, 2], 12).iter().enumerate().step_by(2) {
        let cores = 1 + place as u16 % 3;
        for (second, moment) in live_on(moment, cores, 3).iter().enumerate() {
            let name = format!("moment {place}, then {second} with {cores} cores");
            moment.check(&name);
            // All of them take long.
            if (place + second) % 9 == 0 {
                moment.check_without_newest(&name);
                let third = live_on(moment, 1 + second as u16 % 3, 0);
                third.iter().enumerate().for_each(|(at, moment)| moment.check(&format!("{name}, then {at}")));
            }
        }
    }
}

/// One core's log has entries of term 1. A start with a second core writes others over some of them there, and one without it goes
/// on, with `more` of term 3. With all files of the second core.
fn overridden(longer: bool, more: std::ops::Range<u64>) -> (MemDisk, Vec<PathBuf>) {
    let mut disk = MemDisk::default();
    let start = |disk: &mut MemDisk, cores: u16, term: u64, indices: std::ops::Range<u64>| {
        let recovered = disk.recover().expect("the log is good");
        let mut logs = reopen(disk, recovered, cores, SMALL);
        for index in indices {
            let log = &mut logs[usize::from(1 % cores)];
            log.appender.push(&entry(1, term, index, &payload(1, index, 100)));
            log.write(disk).expect("something to write");
        }
    };
    start(&mut disk, 1, 1, 1..9);
    start(&mut disk, 2, 2, 5..if longer { 11 } else { 7 });
    start(&mut disk, 1, 3, more);
    let second = common::core_dir(CoreId::new(1));
    let files = disk.files.keys().filter(|file| file.starts_with(&second)).cloned().collect();
    (disk, files)
}

#[test]
fn what_had_been_overridden_does_not_come_back_without_the_log_that_did_it() {
    for (longer, last) in [(false, 6), (true, 10)] {
        let (mut disk, second) = overridden(longer, 0..0);
        let log = |disk: &MemDisk, base| disk.recover_on(&|_| base).map(|found| found.groups[&GroupId::new(1)].clone());
        let whole = log(&disk, None).expect("the log is good");
        assert_eq!((whole.entries.len(), whole.entries[4].term), (last as usize, 2));
        assert!(!second.is_empty());
        for file in &second {
            disk.remove(file);
        }
        match log(&disk, None).expect_err("it is missed") {
            RecoveryError::MissingEntries { group, to, .. } => assert_eq!((group.get(), to.get()), (1, last)),
            other => panic!("{other:?}"),
        }
        log(&disk, Some(position(last - 1, 2))).expect_err("a snapshot below the end is not enough");
        let rest = log(&disk, Some(position(last, 2))).expect("a snapshot covers it");
        assert_eq!((rest.entries.len(), rest.last_index().get()), (0, last));
    }
}

#[test]
fn what_comes_later_does_not_join_what_is_left_before_it() {
    for more in [7..9, 9..10, 11..12] {
        let (mut disk, second) = overridden(true, more.clone());
        disk.recover().expect("the log is good");
        for file in &second {
            disk.remove(file);
        }
        match disk.recover().expect_err("it is missed") {
            RecoveryError::MissingEntries { from, .. } => assert_eq!(from.get(), 1, "{more:?}"),
            other => panic!("{other:?}"),
        }
    }
}

/// What is there of a group's log, and what must be: entries by index, and up to where a snapshot covers them.
#[derive(Clone, Debug, Default)]
struct Truth {
    entries: BTreeMap<u64, u64>,
    snapshot: Option<(u64, u64)>,
}

/// Some starts with one to three cores, each of which may override the end of the log, writes on, and now and then makes a snapshot.
fn history(seed: u64) -> (MemDisk, Truth) {
    let mut dice = Dice::of(seed);
    let (mut disk, mut truth) = (MemDisk::default(), Truth::default());
    for term in 1..=3 + dice.roll(4) {
        let base = truth.snapshot.map(|(index, term)| position(index, term));
        let recovered = disk.recover_on(&|_| base).expect("the log is good");
        let cores = 1 + dice.roll(3) as u16;
        let mut logs = reopen(&mut disk, recovered, cores, SMALL);
        let log = &mut logs[usize::from(1 % cores)];
        let last = truth.entries.keys().last().copied().unwrap_or(0);
        let floor = truth.snapshot.map_or(0, |(index, _)| index);
        let mut index = (last + 1).saturating_sub(dice.roll(12)).max(floor + 1);
        for _ in 0..dice.roll(14) {
            log.appender.push(&entry(1, term, index, &payload(1, index, SIZES[dice.roll(4) as usize])));
            truth.entries.split_off(&index);
            truth.entries.insert(index, term);
            index += 1;
            // Some share a batch.
            if !dice.once_in(3) {
                log.write(&mut disk);
            }
            let made = index.saturating_sub(5);
            if dice.once_in(12) && made > floor && truth.entries.contains_key(&made) {
                let newer = (made, truth.entries[&made]);
                truth.snapshot = truth.snapshot.max(Some(newer));
                log.appender.push(&mark(1, newer.0, newer.1));
                log.appender.compact(&[(GroupId::new(1), RaftIndex::new(newer.0))]);
            }
        }
        while log.write(&mut disk).is_some() {}
    }
    (disk, truth)
}

/// Whether what is read is all of the truth above the snapshot, and nothing else; none: it is refused.
fn is_right(disk: &MemDisk, truth: &Truth) -> Option<bool> {
    let base = truth.snapshot.map(|(index, term)| position(index, term));
    let recovered = disk.recover_on(&|_| base).ok()?;
    let entries = recovered.groups.get(&GroupId::new(1)).map_or(&[][..], |log| &log.entries);
    let found: Vec<(u64, u64)> = entries.iter().map(|entry| (entry.index.get(), entry.term)).collect();
    let above = truth.entries.range(truth.snapshot.map_or(0, |(index, _)| index) + 1..);
    Some(above.map(|(index, term)| (*index, *term)).eq(found))
}

#[test]
fn without_a_whole_log_or_its_oldest_segments_nothing_else_takes_their_place() {
    let (mut refused, mut harmless) = (0, 0);
    for seed in 0..1500 {
        let (disk, truth) = history(seed);
        assert_eq!(is_right(&disk, &truth), Some(true), "seed {seed}: a sound disk");
        let epoch = |file: &PathBuf| SegmentHeader::decode(&disk.files[file]).expect("a header").epoch;
        let is_segment = |file: &&PathBuf| file.extension().is_some_and(|end| end == "log");
        let newest = disk.files.keys().filter(is_segment).map(epoch).max();
        for core in 0..3 {
            let dir = common::core_dir(CoreId::new(core));
            let of_core = disk.files.keys().filter(|file| file.starts_with(&dir)).filter(is_segment);
            let segments: Vec<&PathBuf> = of_core.collect();
            // That a log of the newest start lacks all of that start, the note tells.
            let last = segments.last().filter(|file| Some(epoch(file)) == newest).copied();
            let mut bad = disk.clone();
            for file in segments.into_iter().take_while(|file| Some(*file) != last) {
                bad.files.remove(file);
                match is_right(&bad, &truth) {
                    None => refused += 1,
                    Some(true) => harmless += 1,
                    Some(false) => panic!("seed {seed}: core {core} up to {}", file.display()),
                }
            }
        }
    }
    assert!(refused > 500 && harmless > 100, "{refused} refused, {harmless} harmless");
}

fn segment(number: u32) -> PathBuf {
    common::core_dir(CoreId::new(0)).join(file_name(SegmentSeq::new(number)))
}

/// A log of one core, and its segments by number.
fn several() -> (MemDisk, Vec<u32>) {
    let (mut disk, mut log) = new_log_of(SMALL);
    for index in 1..=12 {
        log.batch(&mut disk, &[(1, index, 3000)]);
    }
    let number = |file: &PathBuf| SegmentHeader::decode(&disk.files[file]).expect("a header").seq.get();
    let numbers = disk.files.keys().map(number).collect();
    (disk, numbers)
}

#[test]
fn the_report_names_the_directory_the_segment_and_what_to_do() {
    let (mut disk, numbers) = several();
    for lost in numbers[1..].iter().rev() {
        disk.files.remove(&segment(*lost));
        let error = disk.recover().expect_err("it is missed");
        assert!(error.is_damage(), "the other members can stand in for it");
        match &error {
            RecoveryError::MissingNewest { file } => assert_eq!(*file, segment(*lost)),
            other => panic!("{other:?}"),
        }
        let text = error.to_string();
        for part in ["/log/0 lacks", &file_name(SegmentSeq::new(*lost)), "Nothing was changed", "Put back", "backup"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }
}

#[test]
fn a_log_that_names_none_is_accepted() {
    // As older builds have written it.
    let (mut disk, numbers) = several();
    for number in &numbers {
        let header = SegmentHeader::decode(&disk.files[&segment(*number)]).expect("a header");
        let mut block = vec![0; BLOCK];
        SegmentHeader { next: SegmentSeq::NONE, ..header }.encode(&mut block);
        disk.write(&segment(*number), 0, &block);
    }
    let newest = numbers.last().expect("several");
    disk.files.remove(&segment(*newest));
    disk.recover().expect("nothing tells of more");
}
