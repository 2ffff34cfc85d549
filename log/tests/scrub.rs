//! Checking files that are in use: rot is found wherever it is, and nothing that the log does is taken for rot.

mod common;

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};

use common::{DIR, IDENTITY, MemDisk, MemLog, SEGMENT_BYTES, core_dir, mark, new_log, new_log_of, open_all};
use log::sector::{BLOCK, SECTOR};
use log::{
    Checked, CoreId, Damage, Disk, FileBytes, GroupId, RaftIndex, Sealed, SegmentHeader, SegmentSeq, check_segment,
    sealed_segments,
};

fn sealed(disk: &MemDisk) -> Vec<Sealed> {
    sealed_segments(disk, Path::new(DIR), IDENTITY).expect("the folder can be read")
}

fn check(disk: &dyn Disk, segment: &Sealed) -> Checked {
    check_segment(disk, segment, &mut |_| {}).expect("nothing else goes wrong")
}

fn damage_in(disk: &MemDisk, segment: &Sealed) -> Damage {
    match check(disk, segment) {
        Checked::Damaged(damage) => damage,
        checked => panic!("{checked:?}"),
    }
}

/// A log of several segments: batches of one to four blocks up to this entry.
fn long_log() -> (MemDisk, MemLog, u64) {
    long_log_of(SEGMENT_BYTES)
}

fn long_log_of(segment_bytes: u64) -> (MemDisk, MemLog, u64) {
    let (mut disk, mut log) = new_log_of(segment_bytes);
    let mut last = 0;
    while log.appender.size_bytes() < 7 * segment_bytes {
        last += 1;
        log.batch(&mut disk, &[(1, last, (last as usize * 977) % 15_000)]);
    }
    (disk, log, last)
}

fn file(number: u32) -> PathBuf {
    core_dir(CoreId::new(0)).join(log::segment::file_name(SegmentSeq::new(number)))
}

fn compact(disk: &mut MemDisk, log: &mut MemLog, upto: u64) {
    log.appender.push(&mark(1, upto, 1));
    log.write(disk);
    log.appender.compact(&[(GroupId::new(1), RaftIndex::new(upto))]);
    log.maintain(disk);
}

#[test]
fn the_newest_segments_are_left_alone_until_the_next_start() {
    let (mut disk, log, _) = long_log();
    let all = disk.files.len();
    let listed = sealed(&disk);
    assert_eq!(listed.iter().map(|segment| segment.seq.get()).collect::<Vec<_>>(), (1..=4).collect::<Vec<_>>());
    assert_eq!(all, 7);
    drop(log);
    open_all(&mut disk, 1, SEGMENT_BYTES);
    let listed: Vec<u32> = sealed(&disk).iter().map(|segment| segment.seq.get()).collect();
    assert_eq!(listed, (1..=6).collect::<Vec<_>>(), "what an earlier start has written");
}

#[test]
fn an_undamaged_log_is_sound() {
    let (mut disk, mut log, mut last) = long_log();
    for start in 0..3 {
        let listed = sealed(&disk);
        assert!(listed.len() >= 4, "start {start}");
        for segment in &listed {
            assert_eq!(check(&disk, segment), Checked::Sound, "start {start}, {segment:?}");
        }
        log = open_all(&mut disk, 1, SEGMENT_BYTES).remove(0);
        last += 1;
        log.batch(&mut disk, &[(1, last, 100)]);
    }
    // A write that a crash has cut off, and that the start after it has dropped.
    log.appender.push(&common::entry(1, 1, last + 1, &[7; 9000]));
    let write = log.begin().expect("the disk is not busy");
    disk.write(&write.file, write.ticket.offset + 3 * SECTOR as u64, &write.bytes[3 * SECTOR..5 * SECTOR]);
    open_all(&mut disk, 1, SEGMENT_BYTES);
    for segment in &sealed(&disk) {
        assert_eq!(check(&disk, segment), Checked::Sound, "{segment:?}");
    }
}

#[test]
fn a_flip_in_any_sector_is_found() {
    let (mut disk, ..) = long_log();
    let segment = sealed(&disk).remove(1);
    for sector in 0..SEGMENT_BYTES as usize / SECTOR {
        let bit = sector * SECTOR * 8 + (sector * 2731) % (SECTOR * 8);
        // The header's zeroes are covered by its checksum, like the rest.
        disk.flip(&segment.file, bit);
        let damage = damage_in(&disk, &segment);
        disk.flip(&segment.file, bit);
        assert_eq!((&damage.file, damage.offset), (&segment.file, (sector * SECTOR) as u64), "bit {bit}");
    }
}

#[test]
fn group_and_index_are_named() {
    let (mut disk, mut log) = new_log();
    let write = log.batch(&mut disk, &[(1, 1, 100), (2, 9, 5000)]);
    for index in 2..40 {
        log.batch(&mut disk, &[(1, index, 9000)]);
    }
    disk.flip(&write.file, (write.ticket.offset as usize + BLOCK) * 8);
    let damage = damage_in(&disk, &sealed(&disk)[0]);
    assert_eq!((damage.group, damage.index), (Some(GroupId::new(2)), Some(RaftIndex::new(9))));
}

#[test]
fn writes_that_never_reached_the_disk_are_found() {
    let (good, ..) = long_log();
    let segment = sealed(&good).remove(1);
    // What the blocks held before their first use is what they hold when a write was lost.
    let (mut empty, mut log) = new_log();
    log.batch(&mut empty, &[(1, 1, 10)]);
    let formatted = empty.files[&file(2)].clone();
    for block in 1..SEGMENT_BYTES as usize / BLOCK {
        let mut bad = good.clone();
        bad.write(&segment.file, (block * BLOCK) as u64, &formatted[block * BLOCK..(block + 1) * BLOCK]);
        if bad.files[&segment.file] != good.files[&segment.file] {
            damage_in(&bad, &segment);
        }
    }
    let mut bad = good.clone();
    bad.write(&segment.file, BLOCK as u64, &formatted[BLOCK..]);
    assert!(damage_in(&bad, &segment).what.contains("was durable"), "all of them");
}

#[test]
fn a_start_says_what_was_there_before_it() {
    let (mut disk, mut log) = new_log();
    let write = log.batch(&mut disk, &[(1, 1, 10)]);
    let before = disk.files[&write.file].clone();
    log.batch(&mut disk, &[(1, 2, 10)]);
    open_all(&mut disk, 1, SEGMENT_BYTES);
    let segment = sealed(&disk).remove(0);
    assert_eq!(check(&disk, &segment), Checked::Sound);
    disk.files.insert(write.file, before);
    assert!(damage_in(&disk, &segment).what.contains("was durable"));
}

#[test]
fn cut_and_exchanged_files_are_damage() {
    let (good, ..) = long_log();
    let listed = sealed(&good);
    let mut bad = good.clone();
    bad.files.get_mut(&listed[0].file).expect("it exists").truncate(5 * BLOCK + 1);
    damage_in(&bad, &listed[0]);
    let mut bad = good.clone();
    bad.files.insert(listed[0].file.clone(), good.files[&listed[1].file].clone());
    assert_eq!(damage_in(&bad, &listed[0]).offset, 0);
    let mut bad = good;
    bad.files.insert(listed[0].file.clone(), Vec::new());
    assert_eq!(damage_in(&bad, &listed[0]).offset, 0);
}

#[test]
fn a_segment_that_is_given_up_meanwhile_is_gone() {
    let (mut disk, mut log, last) = long_log();
    let listed = sealed(&disk);
    compact(&mut disk, &mut log, last);
    assert!(!disk.files.contains_key(&listed[0].file));
    assert_eq!(check(&disk, &listed[0]), Checked::Gone);
}

/// The file that was opened is recycled after so many reads: what is read then is what a new segment has written to it,
/// and the old name is gone once the reading has ended.
struct Recycled<'a> {
    before: &'a MemDisk,
    after: &'a MemDisk,
    segment: &'a Path,
    becomes: &'a Path,
    reads_before: usize,
    reads: Cell<usize>,
}

impl Disk for Recycled<'_> {
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.before.names(dir)
    }

    fn read_at(&self, file: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() <= self.reads_before {
            return self.before.read_at(file, offset, limit);
        }
        // Reading it by steps, under a name that the file still had when the step began.
        let reading_on = file == self.segment && limit > BLOCK as u64;
        if reading_on {
            self.after.read_at(self.becomes, offset, limit)
        } else {
            self.after.read_at(file, offset, limit)
        }
    }
}

#[test]
fn a_segment_that_is_recycled_meanwhile_is_no_damage() {
    const STEPS: usize = 4;
    let (mut disk, mut log, mut last) = long_log_of(1 << 20);
    let before = disk.clone();
    // It is the one that is kept to be recycled.
    let segment = sealed(&before).remove(0);
    compact(&mut disk, &mut log, last);
    let header = |file: &PathBuf, disk: &MemDisk| SegmentHeader::decode(&disk.files[file]).expect("a header");
    let spare = disk.files.keys().find(|file| header(file, &disk).seq == segment.seq).expect("it was kept").clone();
    let birth = header(&spare, &disk).birth;
    // It goes on as a newer segment, and is written.
    let becomes = loop {
        last += 1;
        log.batch(&mut disk, &[(1, last, 9000)]);
        let now = disk.files.keys().find(|file| header(file, &disk).birth == birth).expect("it exists").clone();
        let newest = disk.files.keys().map(|file| header(file, &disk).seq.get()).max();
        let seq = header(&now, &disk).seq;
        if seq != segment.seq && newest > Some(seq.get() + 1) {
            break now;
        }
    };
    for reads_before in 0..=STEPS {
        let (before, after, file) = (&before, &disk, segment.file.as_path());
        let reads = Cell::new(0);
        let disk = Recycled { before, after, segment: file, becomes: &becomes, reads_before, reads };
        let want = if reads_before < STEPS { Checked::Gone } else { Checked::Sound };
        assert_eq!(check(&disk, &segment), want, "after {reads_before} reads");
    }
}

/// Flips a bit in what so many reads return.
struct Flaky<'a>(&'a MemDisk, Cell<usize>);

impl Disk for Flaky<'_> {
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.names(dir)
    }

    fn read_at(&self, file: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
        let mut bytes = self.0.read_at(file, offset, limit)?.to_vec();
        if let Some((left, byte)) = self.1.get().checked_sub(1).zip(bytes.get_mut(BLOCK + 9)) {
            self.1.set(left);
            *byte ^= 4;
        }
        Ok(FileBytes::from(bytes))
    }
}

#[test]
fn what_reads_well_the_second_time_is_no_damage() {
    let (disk, ..) = long_log();
    let segment = sealed(&disk).remove(0);
    assert_eq!(check(&Flaky(&disk, Cell::new(1)), &segment), Checked::Sound);
    assert!(matches!(check(&Flaky(&disk, Cell::new(9)), &segment), Checked::Damaged(_)));
}

/// Answers every read, or those behind the first block, with this error.
struct Failing<'a>(&'a MemDisk, i32);

impl Disk for Failing<'_> {
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.names(dir)
    }

    fn read_at(&self, file: &Path, offset: u64, limit: u64) -> io::Result<FileBytes> {
        if limit > BLOCK as u64 {
            Err(io::Error::from_raw_os_error(self.1))
        } else {
            self.0.read_at(file, offset, limit)
        }
    }
}

#[test]
fn what_the_device_can_not_read_is_damage_and_other_errors_are_not() {
    const EIO: i32 = 5;
    const EMFILE: i32 = 24;
    let (disk, ..) = long_log();
    let segment = sealed(&disk).remove(0);
    assert!(matches!(check(&Failing(&disk, EIO), &segment), Checked::Damaged(_)));
    let error = check_segment(&Failing(&disk, EMFILE), &segment, &mut |_| {}).expect_err("not the disk's fault");
    assert_eq!(error.raw_os_error(), Some(EMFILE));
}

#[test]
fn what_keeps_a_segment_is_known() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10), (2, 1, 10)]);
    for index in 2..40 {
        log.batch(&mut disk, &[(1, index, 9000)]);
    }
    let pins = |log: &MemLog, seq| {
        let pins = log.appender.pins_upto(CoreId::new(0), SegmentSeq::new(seq));
        pins.map(|pins| pins.iter().map(|(group, index)| (group.get(), index.get())).collect::<Vec<_>>())
    };
    let first = pins(&log, 1).expect("it is there");
    let later = pins(&log, 3).expect("it is there");
    assert!(first.len() == 2 && first[0].0 == 1 && first[1] == (2, 1), "{first:?}");
    assert!(later[0].1 > first[0].1 && later[1] == (2, 1), "with what the ones before it hold: {later:?}");
    assert_eq!(pins(&log, 99), None);
    log.appender.push(&mark(2, 1, 1));
    log.write(&mut disk);
    log.appender.compact(&[(GroupId::new(2), RaftIndex::new(1))]);
    assert_eq!(pins(&log, 3).expect("it is there"), [later[0]]);
    compact(&mut disk, &mut log, later[0].1);
    assert_eq!(pins(&log, 3), None, "given up");
}
