//! Surgery on the files of a log: what recovery must refuse, and what it must not.

mod common;

use std::path::PathBuf;

use common::{
    MemDisk, MemLog, UnderWay, core_dir, damage, entry, indices, mark, new_log, new_log_of, payload,
    payloads_are_right, position, received,
};
use log::sector::{BLOCK, SECTOR, seal};
use log::segment::file_name;
use log::{CoreId, GroupId, RaftIndex, RecoveryError, SegmentHeader, SegmentSeq, scan_segment};
use proptest::prelude::*;

/// The header and the six blocks of [`three_batches`], and one more.
const SMALL: u64 = 8 * BLOCK as u64;

/// A log with batches of 1, 3 and 2 blocks, the last of three entries.
fn three_batches() -> (MemDisk, MemLog, Vec<UnderWay>) {
    let (mut disk, mut log) = new_log_of(SMALL);
    let writes = vec![
        log.batch(&mut disk, &[(1, 1, 100)]),
        log.batch(&mut disk, &[(1, 2, 5000), (2, 1, 4000)]),
        log.batch(&mut disk, &[(1, 3, 3000), (2, 2, 1000), (1, 4, 300)]),
    ];
    assert_eq!(writes.iter().map(|write| write.bytes.len() / BLOCK).collect::<Vec<_>>(), [1, 3, 2]);
    (disk, log, writes)
}

fn sector_of(write: &UnderWay, bit: usize) -> u64 {
    write.ticket.offset + (bit / 8 / SECTOR * SECTOR) as u64
}

#[test]
fn an_undamaged_log_comes_back() {
    let (disk, _, _) = three_batches();
    let recovered = disk.recover().expect("good");
    assert_eq!(indices(&recovered, 1), [1, 2, 3, 4]);
    assert_eq!(indices(&recovered, 2), [1, 2]);
    assert!(payloads_are_right(&recovered) && recovered.torn.is_empty());
}

#[test]
fn what_a_snapshot_covers_is_verified_all_the_same() {
    let (mut disk, _, writes) = three_batches();
    let base = |group: GroupId| (group == GroupId::new(1)).then(|| position(3, 1));
    let recovered = disk.recover_on(&base).expect("good");
    assert_eq!((indices(&recovered, 1), indices(&recovered, 2)), (vec![4], vec![1, 2]));
    assert!(payloads_are_right(&recovered));
    for write in &writes {
        for byte in 0..write.bytes.len() {
            let at = (write.ticket.offset as usize + byte) * 8;
            disk.flip(&write.file, at);
            assert!(matches!(disk.recover_on(&base), Err(RecoveryError::Damaged(_))), "byte {byte}");
            disk.flip(&write.file, at);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_whole_batch_is_named() {
    let (mut bad, _, writes) = three_batches();
    for (name, write) in [("first", &writes[0]), ("middle", &writes[1]), ("last", &writes[2])] {
        let header = SegmentHeader::decode(&bad.files[&write.file]).expect("a header");
        for bit in 0..write.bytes.len() * 8 {
            let at = write.ticket.offset as usize * 8 + bit;
            bad.flip(&write.file, at);
            // The whole recovery for one bit of each byte, the scan it rests on for all.
            let damage = match bit % 8 {
                0 => Some(damage(&bad)),
                _ => scan_segment(&write.file, header, &bad.files[&write.file]).end.damage,
            };
            bad.flip(&write.file, at);
            let Some(damage) = damage else { panic!("{name} batch, bit {bit}: not noticed") };
            assert_eq!((&damage.file, damage.offset), (&write.file, sector_of(write, bit)), "{name} batch, bit {bit}");
        }
    }
}

#[test]
fn damage_in_a_payload_names_group_and_index() {
    let (disk, _, writes) = three_batches();
    for (name, at, group, index) in [
        ("in the first entry, behind its head", 2 * SECTOR, 1, 3),
        ("in the second", 7 * SECTOR, 2, 2),
        ("in the third's sector, where the second ends", 8 * SECTOR + 3, 2, 2),
    ] {
        let mut bad = disk.clone();
        bad.flip(&writes[2].file, (writes[2].ticket.offset as usize + at) * 8);
        let damage = damage(&bad);
        assert_eq!((damage.group, damage.index), (Some(GroupId::new(group)), Some(RaftIndex::new(index))), "{name}");
    }
}

#[test]
fn damage_that_is_nobodys_is_placed_behind_what_can_be_read() {
    let (disk, _, writes) = three_batches();
    let behind = |batch: usize, at: usize| {
        let mut bad = disk.clone();
        bad.flip(&writes[batch].file, (writes[batch].ticket.offset as usize + at) * 8);
        let damage = damage(&bad);
        assert!(damage.group.is_none() != damage.behind.is_none(), "batch {batch}, byte {at}: {damage}");
        damage.behind.map(|(group, index)| (group.get(), index.get()))
    };
    assert_eq!(behind(2, 3), behind(1, writes[1].bytes.len() - SECTOR), "the head, and the padding before it");
    for (batch, write) in writes.iter().enumerate().skip(1) {
        for at in (0..write.bytes.len()).step_by(SECTOR / 4) {
            behind(batch, at);
        }
    }
}

#[test]
fn a_report_says_where_and_what_to_do() {
    let (mut disk, _, writes) = three_batches();
    disk.flip(&writes[2].file, (writes[2].ticket.offset as usize + 2 * SECTOR) * 8);
    let text = disk.recover().expect_err("damaged").to_string();
    for part in ["0000000000000001.log", "offset 21504", "group 1, index 3", "Nothing was changed", "backup", "peers"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn zeroed_sectors_are_damage() {
    let (disk, _, writes) = three_batches();
    for write in &writes {
        for sector in (0..write.bytes.len()).step_by(SECTOR) {
            let mut bad = disk.clone();
            bad.write(&write.file, write.ticket.offset + sector as u64, &[0; SECTOR]);
            assert_eq!(damage(&bad).offset, write.ticket.offset + sector as u64);
        }
        let mut bad = disk.clone();
        bad.write(&write.file, write.ticket.offset, &vec![0; write.bytes.len()]);
        assert_eq!(damage(&bad).offset, write.ticket.offset);
    }
}

#[test]
fn a_sector_that_may_begin_a_batch_is_not_taken_for_the_end() {
    let (mut disk, _, writes) = three_batches();
    let end = writes[2].ticket.offset + writes[2].bytes.len() as u64;
    disk.write(&writes[2].file, end, &[0; SECTOR]);
    assert_eq!(damage(&disk).offset, end);
}

#[test]
fn rot_where_no_batch_can_hide_does_no_harm() {
    let (mut disk, _, writes) = three_batches();
    let end = writes[2].ticket.offset + writes[2].bytes.len() as u64;
    disk.write(&writes[2].file, end + SECTOR as u64, &[0; SECTOR]);
    assert_eq!(indices(&disk.recover().expect("good"), 1), [1, 2, 3, 4]);
}

#[test]
fn swapped_blocks_are_noticed() {
    let (disk, _, writes) = three_batches();
    let file = &writes[0].file;
    let end = (writes[2].ticket.offset as usize + writes[2].bytes.len()) / BLOCK;
    for a in 1..end {
        for b in 1..8 {
            if a != b {
                let mut bad = disk.clone();
                bad.swap((file, a * BLOCK), (file, b * BLOCK), BLOCK);
                damage(&bad);
            }
        }
    }
}

#[test]
fn blocks_swapped_between_segments_are_noticed() {
    let (mut disk, mut log) = new_log();
    let mut writes = Vec::new();
    for index in 1..=20 {
        writes.push(log.batch(&mut disk, &[(1, index, 3000)]));
    }
    let (old, new) = (writes[0].file.clone(), writes[19].file.clone());
    assert_ne!(old, new);
    for block in 1..5 {
        let mut bad = disk.clone();
        bad.swap((&old, block * BLOCK), (&new, block * BLOCK), BLOCK);
        damage(&bad);
    }
    let mut bad = disk.clone();
    bad.swap((&old, 0), (&new, 0), BLOCK);
    assert_eq!(damage(&bad).offset, 0);
}

#[test]
fn a_write_that_never_reached_the_disk_is_noticed_in_the_middle() {
    let (fresh, _) = new_log_of(SMALL);
    let (disk, _, writes) = three_batches();
    for write in &writes[..2] {
        let (mut bad, at) = (disk.clone(), write.ticket.offset as usize);
        let stale = fresh.files[&write.file][at..at + write.bytes.len()].to_vec();
        bad.write(&write.file, write.ticket.offset, &stale);
        assert_eq!((damage(&bad).file, damage(&bad).offset), (write.file.clone(), write.ticket.offset));
        // In part, too.
        let mut bad = disk.clone();
        bad.write(&write.file, write.ticket.offset, &stale[..SECTOR]);
        assert_eq!(damage(&bad).offset, write.ticket.offset);
    }
}

#[test]
fn every_flipped_bit_of_a_header_is_noticed() {
    let (disk, _, writes) = three_batches();
    for bit in 0..SECTOR * 8 {
        let mut bad = disk.clone();
        bad.flip(&writes[0].file, bit);
        assert_eq!((damage(&bad).file, damage(&bad).offset), (writes[0].file.clone(), 0), "bit {bit}");
    }
}

/// Twelve batches of one entry and one block each in every segment of 16 blocks (with room for the repeated state).
fn several_segments() -> (MemDisk, MemLog, Vec<UnderWay>) {
    let (mut disk, mut log) = new_log();
    let writes: Vec<_> = (1..=50).map(|index| log.batch(&mut disk, &[(1, index, 3000)])).collect();
    assert!(writes[49].ticket.segment.get() >= 4);
    (disk, log, writes)
}

fn segment(number: u32) -> PathBuf {
    core_dir(CoreId::new(0)).join(file_name(SegmentSeq::new(number)))
}

#[test]
fn a_missing_segment_is_named() {
    let (disk, _, _) = several_segments();
    for number in [2, 3] {
        let mut bad = disk.clone();
        bad.files.remove(&segment(number));
        match bad.recover() {
            Err(RecoveryError::MissingSegment { file }) => assert_eq!(file, segment(number)),
            other => panic!("segment {number}: {other:?}"),
        }
    }
    let mut bad = disk.clone();
    bad.files.remove(&segment(1));
    match bad.recover() {
        Err(RecoveryError::MissingEntries { group, from, to }) => {
            assert_eq!((group.get(), from.get()), (1, 1));
            assert!(to.get() > 1);
        }
        other => panic!("the first segment: {other:?}"),
    }
}

#[test]
fn an_older_copy_of_a_segment_is_noticed() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 3000)]);
    let older = disk.files[&segment(1)].clone();
    for index in 2..=20 {
        log.batch(&mut disk, &[(1, index, 3000)]);
    }
    disk.files.insert(segment(1), older);
    assert_eq!((damage(&disk).file, damage(&disk).offset), (segment(1), 2 * BLOCK as u64));
}

#[test]
fn a_cut_file_is_noticed() {
    let (disk, _, writes) = three_batches();
    for length in [0, 100, SECTOR, BLOCK, writes[1].ticket.offset as usize, 8 * BLOCK - 1] {
        let mut bad = disk.clone();
        bad.files.get_mut(&writes[0].file).expect("it exists").truncate(length);
        damage(&bad);
    }
}

#[test]
fn anothers_log_and_another_format_are_refused() {
    let (disk, _, _) = three_batches();
    let header = SegmentHeader::decode(&disk.files[&segment(1)]).expect("a header");
    let identity = log::LogIdentity { member: 7, ..header.identity };
    let found = log::recover(&disk, std::path::Path::new(common::DIR), identity, &|_| None);
    assert!(matches!(found, Err(RecoveryError::Foreign { .. })), "{found:?}");

    let mut newer = disk.clone();
    let mut sector = newer.files[&segment(1)][..SECTOR].to_vec();
    sector[8] = 9;
    let crc = crc32c::crc32c(&sector[..SECTOR - 4]);
    sector[SECTOR - 4..].copy_from_slice(&crc.to_le_bytes());
    newer.write(&segment(1), 0, &sector);
    match newer.recover() {
        Err(RecoveryError::UnknownVersion { found: 9, expected: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_that_the_log_continues_must_be_there() {
    let (mut disk, mut log) = new_log();
    for index in 1..=30 {
        log.batch(&mut disk, &[(1, index, 3000)]);
    }
    log.appender.push(&mark(1, 28, 1));
    log.write(&mut disk);
    log.appender.compact(&[(GroupId::new(1), RaftIndex::new(28))]);
    log.maintain(&mut disk);
    assert!(!disk.files.contains_key(&segment(1)), "compacted");
    let with = |index| disk.recover_on(&|_| Some(common::position(index, 1)));
    assert_eq!(indices(&with(28).expect("good"), 1), [29, 30]);
    // An older snapshot does as long as the entries after it are there.
    let oldest = indices(&with(28).expect("good"), 1).len();
    assert!(oldest > 0);
    match with(1) {
        Err(RecoveryError::MissingEntries { from, .. }) => assert_eq!(from.get(), 2),
        other => panic!("{other:?}"),
    }
    assert!(matches!(disk.recover(), Err(RecoveryError::MissingEntries { .. })));
}

#[test]
fn a_received_snapshot_replaces_the_log() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10), (1, 2, 10)]);
    log.appender.push(&received(1, 50, 3));
    let bytes = payload(1, 51, 20);
    log.appender.push(&entry(1, 3, 51, &bytes));
    log.write(&mut disk);
    let recovered = disk.recover_on(&|_| Some(common::position(50, 3))).expect("good");
    assert_eq!(indices(&recovered, 1), [51]);
    assert!(matches!(disk.recover(), Err(RecoveryError::MissingEntries { .. })));
}

#[test]
fn an_entry_overrides_those_from_its_index_on() {
    let (mut disk, mut log) = new_log();
    log.batch(&mut disk, &[(1, 1, 10), (1, 2, 10), (1, 3, 10), (1, 4, 10)]);
    let bytes = payload(1, 3, 20);
    log.appender.push(&entry(1, 2, 3, &bytes));
    log.write(&mut disk);
    let recovered = disk.recover().expect("good");
    assert_eq!(indices(&recovered, 1), [1, 2, 3]);
    assert_eq!(recovered.groups[&GroupId::new(1)].entries[2].term, 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands under good checksums, and wherever: no panic, and no allocation beyond the file's size.
    #[test]
    fn any_content_can_be_scanned(
        sectors in proptest::collection::vec((8..64_usize, 0..4_u64, any::<bool>()), 0..60),
        words in proptest::collection::vec(any::<u32>(), 1..40),
    ) {
        let (mut disk, _, writes) = three_batches();
        let file = &writes[0].file;
        let header = SegmentHeader::decode(&disk.files[file]).expect("a header");
        for (number, (position, batch, raw)) in sectors.into_iter().enumerate() {
            let bytes = disk.files.get_mut(file).expect("it exists");
            let sector = &mut bytes[position * SECTOR..(position + 1) * SECTOR];
            // Some keep most of what a batch really looks like.
            let word = words[number % words.len()];
            let at = word as usize % (SECTOR - 20);
            sector[at..at + 4].copy_from_slice(&word.to_le_bytes());
            if raw {
                sector.fill(word as u8);
            }
            seal(sector, header.seed(), position as u32, header.seq, common::seq(batch + 2));
        }
        scan_segment(file, header, &disk.files[file]);
        // It may be refused or read; it must come to an end.
        let _ = disk.recover();
    }
}

/// Entries of one group, a block each, of which the log forgets all but the last ones, until a spare has been recycled and
/// written over to its end. When it is there, a sector of it rots. After every write, and in the middle of it, `look` gets
/// the disk and the entries that must be there.
fn write_over_a_spare(rot: usize, look: &mut dyn FnMut(&MemDisk, std::ops::RangeInclusive<u64>)) {
    const KEPT: u64 = 6;
    let (mut disk, mut log) = new_log_of(SMALL);
    let mut rotten = None;
    for index in 1..=40 {
        if rotten.is_none()
            && let Some(spare) =
                disk.files.keys().find(|file| file.extension().is_some_and(|end| end == "spare")).cloned()
        {
            disk.flip(&spare, rot * SECTOR * 8 + 99);
            rotten = Some(index);
        }
        log.appender.push(&entry(1, 1, index, &payload(1, index, 100)));
        log.maintain(&mut disk);
        let write = log.begin().expect("a batch is written");
        let before = index.saturating_sub(KEPT).max(1);
        if rotten.is_some() {
            let mut torn = disk.clone();
            torn.write(&write.file, write.ticket.offset, &write.bytes[..SECTOR]);
            look(&torn, before..=index - 1);
        }
        log.finish(&mut disk, &write);
        if rotten.is_some() {
            look(&disk, before..=index);
        }
        if index > KEPT {
            log.appender.push(&mark(1, index - KEPT, 1));
            log.appender.compact(&[(GroupId::new(1), RaftIndex::new(index - KEPT))]);
        }
    }
    assert!(rotten.is_some_and(|index| index < 25), "a spare is there early enough to be written over");
}

#[test]
fn rot_in_a_spare_that_is_recycled_loses_nothing() {
    let sectors = SMALL as usize / SECTOR;
    let (mut refused, mut healed) = (0, 0);
    for sector in 0..sectors {
        let mut was_refused = false;
        write_over_a_spare(sector, &mut |disk, wanted| {
            let base = position(wanted.start().saturating_sub(1), 1);
            match disk.recover_on(&|_| Some(base)) {
                Ok(recovered) => {
                    assert!(payloads_are_right(&recovered));
                    let found = indices(&recovered, 1);
                    assert!(
                        wanted.clone().all(|index| found.contains(&index)),
                        "sector {sector}: {found:?} of {wanted:?}"
                    );
                    healed += u64::from(std::mem::take(&mut was_refused));
                }
                // It is where the next batch would begin, in this segment or in the next: nobody can tell that there was none.
                Err(RecoveryError::Damaged(damage)) => {
                    assert_eq!(damage.offset, (sector * SECTOR) as u64, "{damage}");
                    was_refused = true;
                    refused += 1;
                }
                Err(error) => panic!("sector {sector}: {error}"),
            }
        });
        assert!(!was_refused, "sector {sector}: it was written over");
    }
    assert!(refused > 0 && healed > 0, "{refused} refused, {healed} healed");
}
