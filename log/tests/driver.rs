//! The log and the snapshots on a real disk, through glommio.

mod common;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{IDENTITY, entry, hard_state, indices, mark, payload, payloads_are_right, position};
use glommio::timer::sleep;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use log::{
    BatchSeq, BegunLogs, Checked, CoreId, DataDir, DirError, Epoch, GroupId, LogError, LogOptions, LogWriter, OsDisk,
    RaftIndex, Recovered, RecoveryError, Seen, SegmentSeq, SnapshotError, SnapshotHead, SnapshotWriter, check_snapshot,
    list_snapshots, prune_snapshots, read_snapshot, recover, set_aside,
};

const SEGMENT_BYTES: u64 = 256 << 10;
const GROUP: GroupId = GroupId::new(1);

/// A folder that goes with the test.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    fn below(parent: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("uetcd-log-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary folder");
        Self(dir)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        // Best effort: a leftover in the temporary folder harms nothing.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// glommio 0.9 may sleep for ever when its preempt timer fires before a round's first task: here it is too long to.
fn executor() -> LocalExecutor {
    const PREEMPT: Duration = Duration::from_mins(1);
    let builder = LocalExecutorBuilder::new(Placement::Unbound).io_memory(1 << 20).preempt_timer(PREEMPT);
    builder.make().expect("an executor")
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() }
}

fn recovered(dir: &Path) -> Recovered {
    recover(&OsDisk::default(), dir, IDENTITY, &|_| None).expect("a good log")
}

async fn open(dir: &Path, recovered: Recovered) -> LogWriter {
    let groups = recovered.groups.clone();
    let resume = recovered.resume(1).remove(0);
    let groups = groups.iter().map(|(group, log)| (*group, log));
    LogWriter::open(dir, IDENTITY, resume, groups, options()).await.expect("it opens")
}

fn push(writer: &mut LogWriter, index: u64, size: usize) {
    writer.push(&entry(1, 1, index, &payload(1, index, size)));
}

/// Submits what is gathered, however long the log is busy.
async fn submit(writer: &mut LogWriter) -> BatchSeq {
    let (watch, mut seen) = (writer.watch(), Seen::default());
    loop {
        if let Some(seq) = writer.submit().expect("it can be written") {
            return seq;
        }
        std::future::poll_fn(|cx| watch.poll_progress(cx, &mut seen)).await.expect("no failure");
    }
}

fn file_count(dir: &Path) -> usize {
    dir.join("0").read_dir().expect("the folder").count()
}

#[test]
fn what_was_durable_comes_back_after_every_start() {
    for parent in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        let dir = TestDir::below(&parent);
        let mut last = 0;
        for start in 1..=3 {
            let found = recovered(&dir.0);
            assert_eq!(indices(&found, 1), (1..=last).collect::<Vec<_>>(), "{}, start {start}", parent.display());
            assert!(payloads_are_right(&found) && found.torn.is_empty());
            assert_eq!(found.epoch.get(), start);
            executor().run(async {
                let mut writer = open(&dir.0, found).await;
                for _ in 0..100 {
                    last += 1;
                    push(&mut writer, last, (last as usize * 977) % 20_000);
                    submit(&mut writer).await;
                }
                let seq = {
                    writer.push(&hard_state(1, start, 7, last));
                    submit(&mut writer).await
                };
                writer.watch().durable(seq).await.expect("durable");
                assert_eq!(writer.durable_upto(), seq);
                writer.close().await.expect("closed");
            });
        }
        let state = recovered(&dir.0).groups[&GROUP].hard_state.expect("a hard state");
        assert_eq!((state.term, state.vote, state.commit), (3, 7, RaftIndex::new(last)));
    }
}

#[test]
fn two_batches_are_under_way_at_a_time_and_become_durable_in_order() {
    let dir = TestDir::new();
    let synced = Rc::new(RefCell::new(0));
    executor().run(async {
        let count = synced.clone();
        let options = LogOptions { on_synced: Some(Rc::new(move |_| *count.borrow_mut() += 1)), ..options() };
        let resume = recovered(&dir.0).resume(1).remove(0);
        let mut writer = LogWriter::open(&dir.0, IDENTITY, resume, [], options).await.expect("it opens");
        let before = writer.durable_upto();
        let mut started = Vec::new();
        for index in 1..=3 {
            push(&mut writer, index, 100_000 / index as usize);
            started.extend(writer.submit().expect("it can be written"));
        }
        assert_eq!(started.len(), 2, "the third waits");
        assert!(writer.pending_bytes() > 0 && writer.durable_upto() == before);
        writer.watch().durable(started[1]).await.expect("durable");
        let third = submit(&mut writer).await;
        assert_eq!(third, started[1].next());
        writer.watch().durable(third).await.expect("durable");
        writer.close().await.expect("closed");
    });
    assert_eq!(*synced.borrow(), 3);
    assert_eq!(indices(&recovered(&dir.0), 1), [1, 2, 3]);
}

#[test]
fn a_batch_larger_than_a_segment_is_written() {
    let dir = TestDir::new();
    executor().run(async {
        let mut writer = open(&dir.0, recovered(&dir.0)).await;
        for (index, size) in [(1, 100), (2, 3_000_000), (3, 100)] {
            push(&mut writer, index, size);
            let seq = submit(&mut writer).await;
            writer.watch().durable(seq).await.expect("durable");
        }
        writer.close().await.expect("closed");
    });
    assert_eq!(indices(&recovered(&dir.0), 1), [1, 2, 3]);
}

#[test]
fn compacted_segments_are_recycled() {
    let dir = TestDir::new();
    let mut last = 0;
    executor().run(async {
        let mut writer = open(&dir.0, recovered(&dir.0)).await;
        for _ in 0..12 {
            for _ in 0..40 {
                last += 1;
                push(&mut writer, last, 10_000);
                submit(&mut writer).await;
            }
            writer.push(&mark(1, last, 1));
            let seq = submit(&mut writer).await;
            writer.watch().durable(seq).await.expect("durable");
            writer.compact(&[(GROUP, RaftIndex::new(last))]);
            assert!(writer.size_bytes() <= 4 * SEGMENT_BYTES, "{}", writer.size_bytes());
        }
        writer.close().await.expect("closed");
    });
    assert!(file_count(&dir.0) <= 4, "{} files", file_count(&dir.0));
    let found = recover(&OsDisk::default(), &dir.0, IDENTITY, &|_| Some(position(last, 1))).expect("a good log");
    assert_eq!(indices(&found, 1), Vec::<u64>::new());
    assert!(matches!(
        recover(&OsDisk::default(), &dir.0, IDENTITY, &|_| None),
        Err(RecoveryError::MissingEntries { .. })
    ));
}

#[test]
fn a_condemned_segment_is_removed_once_nothing_needs_it() {
    let dir = TestDir::new();
    executor().run(async {
        let mut writer = open(&dir.0, recovered(&dir.0)).await;
        let mut last = 0;
        while writer.size_bytes() < 5 * SEGMENT_BYTES {
            last += 1;
            push(&mut writer, last, 10_000);
            submit(&mut writer).await;
        }
        let (core, segment) = (CoreId::new(0), SegmentSeq::new(1));
        let pins = writer.condemn(core, segment).expect("it is in this log");
        let upto = pins[&GROUP];
        assert!(upto > RaftIndex::new(1) && upto < RaftIndex::new(last), "{pins:?}");
        writer.push(&mark(1, upto.get(), 1));
        let seq = submit(&mut writer).await;
        writer.compact(&[(GROUP, upto)]);
        writer.watch().durable(seq).await.expect("durable");
        assert_eq!(writer.condemn(core, segment), None, "given up");
        writer.close().await.expect("closed");
    });
    let names: Vec<String> =
        dir.0.join("0").read_dir().expect("the folder").map(|entry| name_of(&entry.expect("an entry"))).collect();
    assert!(!names.iter().any(|name| name.starts_with("0000000000000001")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("spare")), "not even to be recycled: {names:?}");
}

fn name_of(entry: &std::fs::DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

#[test]
fn damage_on_the_disk_is_seen_through_direct_reads() {
    let dir = TestDir::new();
    executor().run(async {
        let mut writer = open(&dir.0, recovered(&dir.0)).await;
        push(&mut writer, 1, 10_000);
        let seq = submit(&mut writer).await;
        writer.watch().durable(seq).await.expect("durable");
        writer.close().await.expect("closed");
    });
    let file = dir.0.join("0/0000000000000001.log");
    let mut bytes = std::fs::read(&file).expect("the segment");
    bytes[4096 + 600] ^= 1;
    std::fs::write(&file, bytes).expect("written back");
    match recover(&OsDisk::default(), &dir.0, IDENTITY, &|_| None) {
        Err(RecoveryError::Damaged(damage)) => {
            assert_eq!((damage.file, damage.offset), (file, 4096 + 512));
            assert_eq!((damage.group, damage.index), (Some(GROUP), Some(RaftIndex::new(1))));
        }
        other => panic!("{other:?}"),
    }
}

/// A tmpfs of a given size, where the test may mount one.
struct SmallDisk(TestDir);

impl SmallDisk {
    fn new(bytes: u64) -> Option<Self> {
        let dir = TestDir::new();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "uetcd-log-test"]).arg(&dir.0).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0.0).status();
    }
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    let Some(disk) = SmallDisk::new(5 * SEGMENT_BYTES / 2) else {
        eprintln!("not allowed to mount a small disk here: not tested");
        return;
    };
    let dir = &disk.0.0;
    let mut last = 0;
    executor().run(async {
        let mut writer = open(dir, recovered(dir)).await;
        while !writer.is_full() {
            // Whether there is space for a segment is known before the one before it runs out.
            while writer.is_tidying() {
                sleep(Duration::from_millis(1)).await;
            }
            last += 1;
            push(&mut writer, last, 4000);
            let seq = submit(&mut writer).await;
            writer.watch().durable(seq).await.expect("durable");
            writer.tick();
            assert!(last < 1000, "it never was full");
        }
        // What must be written still is.
        writer.push(&mark(1, last, 1));
        let seq = submit(&mut writer).await;
        writer.watch().durable(seq).await.expect("durable");
        // Space comes back: the first segment is no longer needed.
        writer.compact(&[(GROUP, RaftIndex::new(last))]);
        let mut ticks = 0;
        while writer.is_full() {
            sleep(Duration::from_millis(5)).await;
            writer.tick();
            ticks += 1;
            assert!(ticks < 1000, "it stays full");
        }
        for _ in 0..40 {
            last += 1;
            push(&mut writer, last, 100);
            submit(&mut writer).await;
        }
        writer.close().await.expect("closed");
    });
    // A start finds no space at all.
    let filler = dir.join("filler");
    let mut bytes = vec![1; 1 << 20];
    while std::fs::write(&filler, &bytes).is_err() {
        bytes.truncate(bytes.len() - 4096);
    }
    let base = |_| Some(position(last - 40, 1));
    let found = recover(&OsDisk::default(), dir, IDENTITY, &base).expect("a good log");
    assert_eq!(indices(&found, 1).len(), 40);
    executor().run(async {
        let mut writer = open(dir, found).await;
        push(&mut writer, last + 1, 100);
        let seq = submit(&mut writer).await;
        writer.watch().durable(seq).await.expect("durable");
        sleep(Duration::from_millis(20)).await;
        assert!(writer.is_full());
        std::fs::remove_file(&filler).expect("removed");
        writer.push(&mark(1, last + 1, 1));
        let seq = submit(&mut writer).await;
        writer.watch().durable(seq).await.expect("durable");
        writer.compact(&[(GROUP, RaftIndex::new(last + 1))]);
        while writer.is_full() {
            writer.tick();
            sleep(Duration::from_millis(5)).await;
        }
        writer.close().await.expect("closed");
    });
}

#[test]
fn nothing_is_taken_after_a_failed_write() {
    let Some(disk) = SmallDisk::new(4 * SEGMENT_BYTES) else {
        eprintln!("not allowed to mount a small disk here: not tested");
        return;
    };
    let dir = &disk.0.0;
    executor().run(async {
        let mut writer = open(dir, recovered(dir)).await;
        push(&mut writer, 1, 100);
        let first = submit(&mut writer).await;
        writer.watch().durable(first).await.expect("durable");
        // The space of the segment is taken away behind the log's back.
        let file = dir.join("0/0000000000000001.log");
        std::fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(0)).expect("cut");
        let mut bytes = vec![1; 4 << 20];
        while std::fs::write(dir.join("filler"), &bytes).is_err() {
            bytes.truncate(bytes.len() - 4096);
        }
        push(&mut writer, 2, 100);
        let second = submit(&mut writer).await;
        push(&mut writer, 3, 100);
        let third = writer.submit().expect("not known yet").expect("two are taken");
        for seq in [second, third] {
            let failed = writer.watch().durable(seq).await;
            assert!(matches!(failed, Err(LogError::WriteFailed { .. })), "{failed:?}");
        }
        push(&mut writer, 4, 100);
        assert!(matches!(writer.submit(), Err(LogError::WriteFailed { .. })));
        assert_eq!(writer.durable_upto(), first);
        assert!(writer.close().await.is_ok(), "there is nothing to wait for");
    });
}

#[test]
fn snapshots_are_whole_or_not_there() {
    let dir = TestDir::new();
    let chunks: Vec<Vec<u8>> = (0..9).map(|number| payload(1, number, 100_000 + number as usize)).collect();
    executor().run(async {
        for index in [5, 9, 7] {
            let mut writer = SnapshotWriter::create(&dir.0, head(index)).await.expect("created");
            for chunk in &chunks {
                writer.chunk(chunk).await.expect("written");
            }
            assert!(writer.bytes() > 0);
            writer.finish().await.expect("finished");
        }
        let given_up = SnapshotWriter::create(&dir.0, head(11)).await.expect("created");
        given_up.abort().await.expect("removed");
        let cut_off = SnapshotWriter::create(&dir.0, head(13)).await.expect("created");
        drop(cut_off);
    });
    let found: Vec<_> = list_snapshots(&dir.0).expect("a list").iter().map(|file| file.index.get()).collect();
    assert_eq!(found, [9, 7, 5], "the newest first, no unfinished ones");
    for file in list_snapshots(&dir.0).expect("a list") {
        let (head, read) = read_snapshot(&file.path).expect("whole");
        assert_eq!((head.group, head.position.index), (file.group, file.index));
        assert_eq!(read, chunks);
    }
    let removed = executor().run(async { prune_snapshots(&dir.0, GROUP, 2).await.expect("pruned") });
    assert_eq!(removed, 2, "the oldest and the one that was cut off");
    assert_eq!(dir.0.read_dir().expect("the folder").count(), 2);
}

#[test]
fn a_second_snapshot_of_a_position_is_a_copy_and_goes_first() {
    let dir = TestDir::new();
    let write = |index| {
        executor().run(async {
            let mut writer = SnapshotWriter::create(&dir.0, head(index)).await.expect("created");
            writer.chunk(b"state").await.expect("written");
            writer.finish().await.expect("finished");
            prune_snapshots(&dir.0, GROUP, 2).await.expect("pruned");
        });
    };
    let found = || -> Vec<_> {
        list_snapshots(&dir.0).expect("a list").iter().map(|file| (file.index.get(), file.copy)).collect()
    };
    write(5);
    write(5);
    assert_eq!(found(), [(5, false), (5, true)], "both are kept");
    for file in list_snapshots(&dir.0).expect("a list") {
        assert_eq!(read_snapshot(&file.path).expect("whole").0, head(5));
    }
    write(9);
    assert_eq!(found(), [(9, false), (5, false)]);
    let aside = set_aside(&dir.0.join(log::snapshot_file_name(GROUP, RaftIndex::new(9), false))).expect("renamed");
    assert!(aside.exists());
    assert_eq!(found(), [(5, false)], "what is set aside does not count");
}

#[test]
fn a_damaged_snapshot_is_reported_and_left_alone() {
    let dir = TestDir::new();
    let path = executor().run(async {
        let mut writer = SnapshotWriter::create(&dir.0, head(5)).await.expect("created");
        writer.chunk(b"state").await.expect("written");
        writer.finish().await.expect("finished")
    });
    let listed = list_snapshots(&dir.0).expect("listed").remove(0);
    let check = || check_snapshot(&OsDisk::default(), &listed, &mut |_| {}).expect("nothing else goes wrong");
    assert_eq!(check(), Checked::Sound);
    let mut bytes = std::fs::read(&path).expect("the file");
    bytes[40] ^= 1;
    std::fs::write(&path, &bytes).expect("written back");
    let Checked::Damaged(damage) = check() else { panic!("damage was not noticed") };
    assert_eq!((&damage.file, damage.group, damage.index), (&path, Some(GROUP), Some(RaftIndex::new(5))));
    assert!(matches!(read_snapshot(&path), Err(SnapshotError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).expect("still there"), bytes);
    // A good one under another's name is as bad.
    bytes[40] ^= 1;
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(check(), Checked::Gone);
    let other = dir.0.join(log::snapshot_file_name(GROUP, RaftIndex::new(6), false));
    std::fs::write(&other, bytes).expect("written");
    assert!(matches!(read_snapshot(&other), Err(SnapshotError::Damaged { .. })));
}

fn head(index: u64) -> SnapshotHead {
    SnapshotHead { group: GROUP, position: position(index, 2) }
}

#[test]
fn damaged_and_unfinished_snapshots_do_not_pile_up() {
    let dir = TestDir::new();
    let name = |group, index| log::snapshot_file_name(GroupId::new(group), RaftIndex::new(index), false);
    let broken = |group, index| format!("{}.broken", name(group, index));
    let unfinished = format!("{}.tmp", name(1, 9));
    let kept = [name(1, 5), broken(1, 3), broken(1, 4), broken(2, 7), "strange.tmp".to_owned()];
    for file in kept.iter().chain(&[broken(1, 1), broken(1, 2), unfinished]) {
        std::fs::write(dir.0.join(file), b"x").expect("written");
    }
    assert_eq!(log::tidy_snapshots(&dir.0).expect("tidied"), 3);
    for file in &kept {
        assert!(dir.0.join(file).exists(), "{file}");
    }
    assert_eq!(log::tidy_snapshots(&dir.0).expect("tidied"), 0);
}

#[test]
fn a_directory_belongs_to_one_process_and_remembers_whose_it_is() {
    let dir = TestDir::new();
    let data = dir.0.join("default.etcd");
    let open = DataDir::open(&data).expect("opened");
    match DataDir::open(&data) {
        Err(error @ DirError::AlreadyLocked(_)) => {
            assert!(error.to_string().contains("file already locked"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(mode_of(open.member()), 0o700);
    assert_eq!(open.read_identity().expect("readable"), None);
    open.write_identity(b"one").expect("written");
    assert_eq!(open.read_identity().expect("readable").as_deref(), Some(&b"one"[..]));
    assert_eq!(open.read_begun().expect("readable"), None);
    let begun = BegunLogs { epoch: Epoch::new(7), logs: 3 };
    open.write_begun(begun).expect("written");
    drop(open);
    let again = DataDir::open(&data).expect("opened again");
    assert_eq!(again.read_begun().expect("readable"), Some(begun));
    std::fs::write(again.member().join("identity"), b"garbage").expect("written");
    assert!(matches!(again.read_identity(), Err(DirError::Damaged { .. })));
}

fn mode_of(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

/// Indices and terms of what can be read again of a group, in answers of about `bytes`.
async fn read_again(writer: &LogWriter, group: u16, from: u64, bytes: usize) -> Vec<(u64, u64)> {
    let mut row = Vec::new();
    loop {
        let next = RaftIndex::new(row.last().map_or(from, |(index, _)| index + 1));
        let entries = writer.reader().entries(GroupId::new(group), next, RaftIndex::new(u64::MAX), bytes).await;
        if entries.is_empty() {
            return row;
        }
        for entry in entries {
            assert_eq!(entry.payload, payload(group, entry.index.get(), entry.payload.len()));
            row.push((entry.index.get(), entry.term));
        }
    }
}

#[test]
fn what_this_start_wrote_can_be_read_again() {
    let dir = TestDir::new();
    executor().run(async {
        let mut writer = open(&dir.0, recovered(&dir.0)).await;
        let (mut seq, mut written) = (BatchSeq::NONE, 0);
        for index in 1..=300 {
            for group in 1..=3 {
                let size = (index as usize * 977 + usize::from(group)) % 9_000;
                writer.push(&entry(group, 1, index, &payload(group, index, size)));
                written += size;
            }
            seq = submit(&mut writer).await;
        }
        writer.watch().durable(seq).await.expect("durable");
        assert!(written as u64 > 10 * SEGMENT_BYTES);
        for bytes in [1, 100_000, usize::MAX] {
            for group in 1..=3 {
                let row = read_again(&writer, group, 1, bytes).await;
                assert_eq!(row, (1..=300).map(|index| (index, 1)).collect::<Vec<_>>());
            }
        }
        let upto = RaftIndex::new(40);
        let some = writer.reader().entries(GROUP, RaftIndex::new(38), upto, usize::MAX).await;
        assert_eq!(some.iter().map(|entry| entry.index.get()).collect::<Vec<_>>(), [38, 39, 40]);
        // A later leader overrides the end, in a batch of its own and within one.
        for (term, index) in [(2, 299), (3, 298), (3, 299), (4, 299)] {
            writer.push(&entry(1, term, index, &payload(1, index, 10)));
            if term != 3 {
                seq = submit(&mut writer).await;
            }
        }
        writer.watch().durable(seq).await.expect("durable");
        assert_eq!(read_again(&writer, 1, 297, 1).await, [(297, 1), (298, 3), (299, 4)]);
        assert_eq!(read_again(&writer, 2, 299, 1).await, [(299, 1), (300, 1)]);
        writer.close().await.expect("closed");
    });
}

#[test]
fn what_is_given_up_or_of_an_earlier_start_can_not_be_read_again() {
    let dir = TestDir::new();
    executor().run(async {
        let mut writer = open(&dir.0, recovered(&dir.0)).await;
        let mut seq = BatchSeq::NONE;
        for index in 1..=100 {
            push(&mut writer, index, 20_000);
            seq = submit(&mut writer).await;
        }
        writer.push(&mark(1, 90, 1));
        writer.compact(&[(GROUP, RaftIndex::new(90))]);
        submit(&mut writer).await;
        writer.watch().durable(seq.next()).await.expect("durable");
        while writer.reader().first(GROUP) <= Some(RaftIndex::new(1)) || writer.is_tidying() {
            writer.tick();
            sleep(Duration::from_millis(1)).await;
        }
        let first = writer.reader().first(GROUP).expect("something is left").get();
        assert!((2..=91).contains(&first), "{first}");
        assert_eq!(read_again(&writer, 1, 1, usize::MAX).await, []);
        assert_eq!(read_again(&writer, 1, first, usize::MAX).await.len() as u64, 101 - first);
        writer.close().await.expect("closed");
    });
    let found = recover(&OsDisk::default(), &dir.0, IDENTITY, &|_| Some(position(90, 1))).expect("a good log");
    executor().run(async {
        let mut writer = open(&dir.0, found).await;
        push(&mut writer, 101, 10);
        let seq = submit(&mut writer).await;
        writer.watch().durable(seq).await.expect("durable");
        assert_eq!(read_again(&writer, 1, 100, usize::MAX).await, []);
        assert_eq!(read_again(&writer, 1, 101, usize::MAX).await, [(101, 1)]);
        writer.close().await.expect("closed");
    });
}
