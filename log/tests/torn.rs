//! Crashes: what was under way is dropped, what was promised stays, and the log goes on.

mod common;

use std::collections::BTreeMap;

use common::{
    MemDisk, MemLog, SEGMENT_BYTES, UnderWay, damage, entry, hard_state, indices, mark, new_log, open_all, payload,
    payloads_are_right, received, reopen, seq,
};
use log::sector::{BLOCK, SECTOR};
use log::{GroupId, HardState, RaftIndex};

fn gather(log: &mut MemLog, index: u64, size: usize) {
    log.appender.push(&entry(1, 1, index, &payload(1, index, size)));
}

fn begin(log: &mut MemLog, index: u64, size: usize) -> UnderWay {
    gather(log, index, size);
    log.begin().expect("the disk is not busy")
}

/// Writes the sectors of `write` that `keep` names.
fn write_part(disk: &mut MemDisk, write: &UnderWay, keep: impl Fn(usize) -> bool) {
    for (number, sector) in write.bytes.chunks_exact(SECTOR).enumerate() {
        if keep(number) {
            disk.write(&write.file, write.ticket.offset + (number * SECTOR) as u64, sector);
        }
    }
}

/// Starts, checks what is there, writes on, and starts again.
fn goes_on_with(disk: &MemDisk, want: &[u64], name: &str) {
    let mut disk = disk.clone();
    let recovered = disk.recover().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(indices(&recovered, 1), want, "{name}");
    assert!(payloads_are_right(&recovered), "{name}");
    let mut log = reopen(&mut disk, recovered, 1, SEGMENT_BYTES).remove(0);
    let next = want.last().unwrap_or(&0) + 1;
    log.batch(&mut disk, &[(1, next, 700)]);
    let mut want = want.to_vec();
    want.push(next);
    let again = disk.recover().unwrap_or_else(|error| panic!("{name}, afterwards: {error}"));
    assert_eq!(indices(&again, 1), want, "{name}, afterwards");
    assert!(again.torn.is_empty(), "{name}: a torn tail is dropped once");
}

/// A log in which the segments are formatted, or hold the batches of an earlier life where the next ones go.
fn logs() -> [(&'static str, MemDisk, MemLog, Vec<u64>); 2] {
    let (mut fresh_disk, mut fresh) = new_log();
    fresh.batch(&mut fresh_disk, &[(1, 1, 5000)]);
    let (mut disk, mut log) = new_log();
    let mut last = 0;
    // The second time round, in the middle of a recycled segment.
    while log.appender.durable_upto() < seq(60) || log.appender.room_bytes() < 40_000 {
        last += 1;
        log.batch(&mut disk, &[(1, last, 3000)]);
        log.appender.push(&mark(1, last - 1, 1));
        log.write(&mut disk);
        log.appender.compact(&[(GroupId::new(1), RaftIndex::new(last - 1))]);
        log.maintain(&mut disk);
    }
    let kept = indices(&disk.recover_on(&|_| Some(common::position(last - 1, 1))).expect("good"), 1);
    [("formatted", fresh_disk, fresh, vec![1]), ("recycled", disk, log, kept)]
}

#[test]
fn the_last_batch_cut_at_every_sector_is_dropped() {
    for (name, disk, mut log, kept) in logs() {
        let last = *kept.last().expect("entries");
        let base = move |_| (name == "recycled").then(|| common::position(last - 1, 1));
        let write = begin(&mut log, last + 1, 9000);
        let sectors = write.bytes.len() / SECTOR;
        for cut in 0..=sectors {
            for (way, keep) in [("kept", true), ("lost", false)] {
                let mut crashed = disk.clone();
                write_part(&mut crashed, &write, |number| (number < cut) == keep);
                let name = format!("{name}, the first {cut} sectors {way}");
                let recovered = crashed.recover_on(&base).unwrap_or_else(|error| panic!("{name}: {error}"));
                let whole = if keep { cut == sectors } else { cut == 0 };
                let nothing = if keep { cut == 0 } else { cut == sectors };
                let mut want = kept.clone();
                want.extend(whole.then_some(last + 1));
                assert_eq!(indices(&recovered, 1), want, "{name}");
                assert_eq!(recovered.torn.len(), usize::from(!whole && !nothing), "{name}");
                if let Some(torn) = recovered.torn.first() {
                    let written = if keep { cut } else { sectors - cut };
                    assert_eq!((&torn.file, torn.offset), (&write.file, write.ticket.offset), "{name}");
                    assert_eq!((torn.bytes, torn.batch), ((written * SECTOR) as u64, write.ticket.seq), "{name}");
                }
            }
        }
    }
}

#[test]
fn the_log_goes_on_after_every_cut() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 5000)]);
    let write = begin(&mut log, 2, 9000);
    for cut in 0..write.bytes.len() / SECTOR {
        let mut crashed = disk.clone();
        write_part(&mut crashed, &write, |number| number < cut);
        goes_on_with(&crashed, &[1], &format!("cut at {cut}"));
    }
}

#[test]
fn of_two_under_way_the_second_falls_with_the_first() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10)]);
    let (first, second) = (begin(&mut log, 2, 5000), begin(&mut log, 3, 5000));
    assert!(log.begin().is_none());
    let sectors = first.bytes.len() / SECTOR;
    for lost in 0..sectors {
        let mut crashed = disk.clone();
        write_part(&mut crashed, &first, |number| number != lost);
        write_part(&mut crashed, &second, |_| true);
        goes_on_with(&crashed, &[1], &format!("sector {lost} of the first is lost"));
    }
    let mut crashed = disk.clone();
    write_part(&mut crashed, &second, |_| true);
    goes_on_with(&crashed, &[1], "the first did not begin");
    let mut crashed = disk.clone();
    write_part(&mut crashed, &second, |number| number > 2);
    goes_on_with(&crashed, &[1], "the first did not begin, the second has lost its head");
    write_part(&mut crashed, &first, |_| true);
    goes_on_with(&crashed, &[1, 2], "the second is torn");
}

#[test]
fn a_later_batch_that_began_after_the_sync_proves_the_loss() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10)]);
    let before = disk.clone();
    let first = begin(&mut log, 2, 5000);
    log.finish(&mut disk, &first);
    let second = begin(&mut log, 3, 5000);
    // The first was acknowledged and is not there; the second says so.
    let mut lying = before.clone();
    write_part(&mut lying, &second, |_| true);
    assert_eq!(damage(&lying).offset, first.ticket.offset);
    // Its head is enough: the rest may be torn.
    let mut lying = before.clone();
    write_part(&mut lying, &second, |number| number == 0);
    assert_eq!(damage(&lying).offset, first.ticket.offset);
    let mut lying = before.clone();
    write_part(&mut lying, &first, |number| number != 4);
    write_part(&mut lying, &second, |number| number < 3);
    assert_eq!(damage(&lying).offset, first.ticket.offset);
}

#[test]
fn one_sector_of_the_next_but_one_proves_the_loss() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10)]);
    let before = disk.clone();
    let (first, second) = (begin(&mut log, 2, 5000), begin(&mut log, 3, 5000));
    log.finish(&mut disk, &first);
    let third = begin(&mut log, 4, 5000);
    let mut lying = before.clone();
    write_part(&mut lying, &second, |number| number == 7);
    write_part(&mut lying, &third, |number| number == 7);
    assert_eq!(damage(&lying).offset, first.ticket.offset);
}

#[test]
fn rot_in_an_unfinished_write_is_not_a_torn_write() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10)]);
    let write = begin(&mut log, 2, 5000);
    write_part(&mut disk, &write, |number| number < 8);
    let bad = write.ticket.offset + 3 * SECTOR as u64;
    disk.write(&write.file, bad, &[7; SECTOR]);
    assert_eq!(damage(&disk).offset, bad);
}

#[test]
fn a_crash_while_changing_over_to_the_next_segment() {
    let (mut disk, mut log) = new_log();
    let mut last = 0;
    while log.appender.room_bytes() > 2 * BLOCK as u64 {
        last += 1;
        log.batch(&mut disk, &[(1, last, 3000)]);
    }
    let kept: Vec<u64> = (1..=last).collect();
    // The first still fits the old segment, the second opens the new one.
    let (first, second) = (begin(&mut log, last + 1, 3000), begin(&mut log, last + 2, 7000));
    assert_ne!(first.file, second.file);
    for (name, one, two, extra) in [
        ("neither", 0, 0, 0),
        ("half of the first", 3, 0, 0),
        ("the first", 8, 0, 1),
        ("the first and half of the second", 8, 3, 1),
        ("both", 8, 99, 2),
        ("only the second", 0, 99, 0),
        ("half of the first, and the second", 3, 99, 0),
    ] {
        let mut crashed = disk.clone();
        write_part(&mut crashed, &first, |number| number < one);
        write_part(&mut crashed, &second, |number| number < two);
        let mut want = kept.clone();
        want.extend((1..=extra).map(|more| last + more));
        goes_on_with(&crashed, &want, name);
    }
}

#[test]
fn what_a_start_dropped_stays_dropped() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10)]);
    let (torn, whole) = (begin(&mut log, 2, 5000), begin(&mut log, 3, 100));
    write_part(&mut disk, &torn, |number| number < 8);
    write_part(&mut disk, &whole, |_| true);
    let mut log = open_all(&mut disk, 1, SEGMENT_BYTES).remove(0);
    log.batch(&mut disk, &[(1, 2, 20)]);
    // A write that was under way at the crash lands late.
    write_part(&mut disk, &torn, |_| true);
    let recovered = disk.recover().expect("good");
    assert_eq!(indices(&recovered, 1), [1, 2]);
    assert_eq!(recovered.groups[&GroupId::new(1)].entries[1].payload.len(), 20);
}

#[test]
fn numbers_are_never_used_again() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10)]);
    let mut highest = log.appender.durable_upto();
    for _ in 0..4 {
        let (first, second) = (begin(&mut log, 2, 5000), begin(&mut log, 3, 100));
        write_part(&mut disk, &second, |_| true);
        log = open_all(&mut disk, 1, SEGMENT_BYTES).remove(0);
        assert!(log.appender.next_batch() > second.ticket.seq && first.ticket.seq > highest);
        highest = second.ticket.seq;
    }
}

#[test]
fn votes_outlive_the_segments_that_they_were_cast_in() {
    let (mut disk, mut log) = new_log();
    log.appender.push(&hard_state(2, 7, 9, 0));
    log.write(&mut disk);
    for index in 1..=60 {
        log.batch(&mut disk, &[(1, index, 3000)]);
    }
    log.appender.push(&mark(1, 60, 1));
    log.write(&mut disk);
    log.appender.compact(&[(GroupId::new(1), RaftIndex::new(60))]);
    log.maintain(&mut disk);
    assert!(!disk.files.contains_key(&common::core_dir(log.core).join("0000000000000001.log")));
    let recovered = disk.recover_on(&|group| (group.get() == 1).then(|| common::position(60, 1))).expect("good");
    let vote = HardState { term: 7, vote: 9, commit: RaftIndex::new(0) };
    assert_eq!(recovered.groups[&GroupId::new(2)].hard_state, Some(vote));
}

#[test]
fn nothing_is_given_up_before_its_mark_is_durable() {
    let (mut disk, mut log) = new_log();
    for index in 1..=40 {
        log.batch(&mut disk, &[(1, index, 3000)]);
    }
    let pinned = log.appender.oldest_pin().expect("entries pin it");
    assert_eq!(pinned.0, GroupId::new(1));
    let size = log.appender.size_bytes();
    log.appender.compact(&[(GroupId::new(1), RaftIndex::new(40))]);
    assert_eq!(log.appender.size_bytes(), size);
    log.appender.push(&mark(1, 40, 1));
    log.write(&mut disk);
    assert!(log.appender.size_bytes() < size && log.appender.oldest_pin().is_none());
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 100)]);
    let write = log.batch(&mut disk, &[(1, 2, 200_000)]);
    assert!(write.bytes.len() as u64 > SEGMENT_BYTES);
    log.batch(&mut disk, &[(1, 3, 100)]);
    goes_on_with(&disk, &[1, 2, 3], "oversize");
    // As the very first batch, too.
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 200_000)]);
    goes_on_with(&disk, &[1], "oversize at once");
}

#[test]
fn groups_move_when_the_number_of_cores_changes() {
    let mut disk = MemDisk::default();
    let mut next: BTreeMap<u16, u64> = BTreeMap::new();
    for cores in [3, 2, 5, 1, 4, 4] {
        let mut logs = open_all(&mut disk, cores, SEGMENT_BYTES);
        for round in 0..6 {
            for group in 0..8_u16 {
                let index = next.entry(group).or_insert(0);
                *index += 1;
                let log = &mut logs[usize::from(group % cores)];
                log.batch(&mut disk, &[(group, *index, 200 * round)]);
            }
        }
        let recovered = disk.recover().expect("good");
        for (group, last) in &next {
            assert_eq!(indices(&recovered, *group), (1..=*last).collect::<Vec<_>>(), "{cores} cores, group {group}");
        }
        assert!(payloads_are_right(&recovered));
    }
}

#[test]
fn segments_of_cores_that_are_gone_are_given_up_too() {
    let mut disk = MemDisk::default();
    let mut logs = open_all(&mut disk, 3, SEGMENT_BYTES);
    logs[2].batch(&mut disk, &[(2, 1, 100)]);
    let recovered = disk.recover().expect("good");
    let mut log = reopen(&mut disk, recovered, 1, SEGMENT_BYTES).remove(0);
    let of_core_2 = |disk: &MemDisk| disk.files.keys().filter(|file| file.starts_with("/log/2")).count();
    assert!(of_core_2(&disk) > 0);
    log.appender.push(&mark(2, 1, 1));
    log.write(&mut disk);
    log.maintain(&mut disk);
    log.appender.compact(&[(GroupId::new(2), RaftIndex::new(1))]);
    log.maintain(&mut disk);
    assert_eq!(of_core_2(&disk), 0);
    assert!(disk.recover_on(&|_| Some(common::position(1, 1))).is_ok());
}

/// What overrode an entry can be compacted while the entry still lies in the log of the core that the group has left.
#[test]
fn what_was_overridden_does_not_come_back_with_an_old_cores_log() {
    // Group 1 moves to core 1; group 2, which nothing ever compacts, keeps the old log of core 0.
    for (name, replaced) in [("overridden", false), ("replaced by a snapshot", true)] {
        let mut disk = MemDisk::default();
        let mut log = open_all(&mut disk, 1, SEGMENT_BYTES).remove(0);
        log.batch(&mut disk, &[(1, 1, 10), (1, 2, 10), (1, 3, 10), (1, 4, 10), (2, 1, 10)]);
        let mut logs = open_all(&mut disk, 2, SEGMENT_BYTES);
        let log = &mut logs[1];
        if replaced {
            log.appender.push(&received(1, 2, 2));
        } else {
            for index in 2..=3 {
                log.appender.push(&entry(1, 2, index, &payload(1, index, 20)));
            }
            log.write(&mut disk);
            log.appender.push(&mark(1, 2, 2));
        }
        log.write(&mut disk);
        // Idle but for its hard state, until the segment that says so is compacted.
        for _ in 0..60 {
            log.appender.push(&hard_state(1, 2, 1, 2));
            log.write(&mut disk);
        }
        log.appender.compact(&[(GroupId::new(1), RaftIndex::new(3 - u64::from(replaced)))]);
        log.maintain(&mut disk);
        let recovered = disk.recover_on(&|group| (group.get() == 1).then(|| common::position(2, 2))).expect(name);
        let want: &[u64] = if replaced { &[] } else { &[3] };
        assert_eq!(indices(&recovered, 1), want, "{name}");
        assert!(recovered.groups[&GroupId::new(1)].entries.iter().all(|entry| entry.term == 2), "{name}");
    }
}

#[test]
fn a_segment_with_groups_of_other_cores_waits_for_their_logs() {
    let mut disk = MemDisk::default();
    let mut log = open_all(&mut disk, 1, SEGMENT_BYTES).remove(0);
    log.batch(&mut disk, &[(1, 1, 10), (2, 1, 10)]);
    let old = common::core_dir(log.core).join("0000000000000001.log");
    let mut logs = open_all(&mut disk, 2, SEGMENT_BYTES);
    for (group, gone) in [(2_u16, false), (1, true)] {
        let log = &mut logs[usize::from(group % 2)];
        log.appender.compact(&[(GroupId::new(group), RaftIndex::new(1))]);
        log.appender.push(&mark(group, 1, 1));
        log.write(&mut disk);
        logs[0].maintain(&mut disk);
        assert_eq!(!disk.files.contains_key(&old), gone, "after group {group}");
    }
    assert!(disk.recover_on(&|_| Some(common::position(1, 1))).is_ok());
}

#[test]
fn what_was_overridden_pins_nothing_once_that_is_durable() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10), (1, 2, 10), (1, 3, 10)]);
    log.appender.push(&entry(1, 2, 2, b""));
    log.write(&mut disk);
    log.appender.push(&mark(1, 2, 2));
    log.write(&mut disk);
    let size = log.appender.size_bytes();
    while log.appender.size_bytes() == size {
        log.appender.push(&hard_state(1, 2, 1, 2));
        log.write(&mut disk);
    }
    assert_eq!(log.appender.oldest_pin(), Some((GroupId::new(1), RaftIndex::new(2))));
    log.appender.compact(&[(GroupId::new(1), RaftIndex::new(2))]);
    assert_eq!(log.appender.oldest_pin(), None);
    assert_eq!(log.appender.size_bytes(), size);
}

#[test]
fn segments_that_were_never_written_to_may_go_one_by_one() {
    // Of a core without groups: its first segment, and the one that was made ready after it.
    let mut disk = MemDisk::default();
    let resume = disk.recover().expect("the log is good").resume(1).remove(0);
    MemLog::open(&mut disk, resume, &BTreeMap::new(), SEGMENT_BYTES);
    let resume = disk.recover().expect("the log is good").resume(1).remove(0);
    // Before that, the first one's header must name the other no more.
    assert_eq!(resume.headers.len(), 1);
    common::write_header(&mut disk, &resume.headers[0].file, &resume.headers[0].header);
    let spares = resume.spares;
    assert_eq!(spares.len(), 2);
    for gone in 0..=spares.len() {
        let mut disk = disk.clone();
        spares[..gone].iter().for_each(|spare| drop(disk.files.remove(&spare.file)));
        assert!(disk.recover().is_ok(), "a crash after {gone} of them are gone");
    }
}
