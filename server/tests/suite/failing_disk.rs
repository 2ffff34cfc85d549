//! A write to the log fails, or cannot be made durable, or the machine loses power: what was acknowledged is there after the next start.

use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use crate::durability::Writer;
use crate::harness::{Call, Ended, FaultyDisk, Files, PATIENCE, Plan, Rng, Server, env_number, eventually, uetcd_only};

/// Failures, or power cuts, unless `SUITE_FAULTS` says otherwise.
const ROUNDS: u64 = 8;
/// How soon the process is gone after the failure, in milliseconds, unless `SUITE_GONE_MS` says otherwise: it has nothing more to do, but
/// the machine may be busy.
const GONE_MS: u64 = 5_000;
/// The exit statuses for a failed write of the log, and for a failure in preparing its files.
const LOG_FAILED: [i32; 2] = [10, 12];

/// Which call fails in a round: early ones in turn, then any.
pub(crate) fn position(round: u64, rng: &mut Rng) -> u64 {
    [1, 1, 2, 2, 3, 5, 8, 13].get(round as usize).copied().unwrap_or_else(|| 1 + rng.below(300))
}

/// How many failures are tried.
pub(crate) fn rounds() -> u64 {
    env_number("SUITE_FAULTS", ROUNDS)
}

/// The process has ended as one does whose log can not be written any more, and at once: how soon.
pub(crate) fn assert_stopped(ended: &Ended, disk: &FaultyDisk) -> Duration {
    let since = disk.failed().map(|failed| failed.elapsed());
    assert!(LOG_FAILED.contains(&ended.code()), "status {}: {ended:?}", ended.code());
    assert!(ended.stderr.contains("Input/output error"), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    let limit = Duration::from_millis(env_number("SUITE_GONE_MS", GONE_MS));
    assert!(since.is_some_and(|since| since < limit), "ended {since:?} after the failure: {}", ended.stderr);
    since.expect("it has failed")
}

/// Says how soon the process was gone each time.
pub(crate) fn tell(what: &str, mut gone: Vec<Duration>) {
    gone.sort();
    let (median, last) = (gone[gone.len() / 2], gone[gone.len() - 1]);
    println!("failures: {} of {what}, gone after {median:.1?} in the median, {last:.1?} at most", gone.len());
}

/// A server whose writers are waited for, which go on as long as it does.
struct EndsInAnyCase(u32);

impl Drop for EndsInAnyCase {
    fn drop(&mut self) {
        if thread::panicking() {
            // SAFETY: the process is a child that nobody has waited for.
            unsafe { libc::kill(self.0.cast_signed(), libc::SIGKILL) };
        }
    }
}

/// Starts a node over and over, each time until `end` has ended it under load, and checks after each start what was acknowledged.
/// Snapshots are made after so many changes: few, so that segments are given up and prepared, too.
fn rounds_of(snapshot_count: &str, mut end: impl FnMut(&mut Server, &FaultyDisk, u64, &mut Rng)) {
    let mut rng = Rng::new(env_number("SUITE_SEED", 1));
    let plan = Plan::new().args(["--cores", "2", "--snapshot-count", snapshot_count]);
    let disk = FaultyDisk::mount(&plan.home().join("disk"));
    let plan = plan.data_dir(&disk.data()).on_quiet_ports();
    let mut writers = Writer::some();
    let newest = AtomicU64::new(0);
    for round in 0..rounds() {
        let mut server = plan.start();
        for writer in &mut writers {
            writer.check(&mut server.client());
        }
        thread::scope(|scope| {
            for writer in &mut writers {
                let (client, newest) = (server.client(), &newest);
                scope.spawn(move || writer.run(client, newest));
            }
            thread::sleep(Duration::from_millis(20 + rng.below(200)));
            let _ends = EndsInAnyCase(server.pid());
            end(&mut server, &disk, round, &mut rng);
        });
        disk.cut_power(&mut rng);
    }
    let server = plan.start();
    for writer in &mut writers {
        writer.check(&mut server.client());
    }
    disk.assert_read_from_device();
    let attempts: u64 = writers.iter().map(Writer::attempts).sum();
    println!("{attempts} writes, the last acknowledged at index {}", newest.into_inner());
    assert!(attempts > 20 * rounds(), "hardly anything was written");
}

fn failures_of(call: Call) {
    let mut gone = Vec::new();
    rounds_of("500", |server, disk, round, rng| {
        disk.fail(Files::Log, call, position(round, rng));
        eventually("the call fails", PATIENCE, || disk.failed());
        let ended = server.wait();
        gone.push(assert_stopped(&ended, disk));
    });
    tell(if call == Call::Write { "a write" } else { "an fsync" }, gone);
}

#[test]
fn a_failed_write_ends_the_process_and_loses_nothing_acknowledged() {
    uetcd_only!("etcd's log is elsewhere");
    failures_of(Call::Write);
}

#[test]
fn a_failed_fsync_ends_the_process_and_loses_nothing_acknowledged() {
    uetcd_only!("etcd's log is elsewhere");
    failures_of(Call::Sync);
}

#[test]
fn power_cuts_under_load_lose_nothing_acknowledged() {
    uetcd_only!("etcd's log is elsewhere");
    rounds_of("500", |server, _, _, _| {
        server.signal(libc::SIGKILL);
        server.wait();
    });
}

/// A snapshot can be written again: that it failed is said, and ends nothing.
#[test]
fn a_snapshot_that_can_not_be_written_is_tried_again() {
    uetcd_only!("etcd's snapshots are made differently");
    let mut failed = 0;
    rounds_of("20", |server, disk, round, rng| {
        let call = if round.is_multiple_of(2) { Call::Write } else { Call::Sync };
        disk.fail(Files::Snapshots, call, 1 + rng.below(4));
        eventually("the call fails", PATIENCE, || disk.failed());
        server.wait_for_log("It is tried again when due");
        let saved = || server.client().metric("etcd_snapshot_save_total_durations_seconds_count");
        let before = saved();
        eventually("another snapshot is made", PATIENCE, || (saved() > before).then_some(()));
        assert!(server.alive(), "{}", server.log());
        failed += 1;
        server.signal(libc::SIGKILL);
        server.wait();
    });
    println!("failures: {failed} of a snapshot, which was made again");
}
