//! A log that is gone, as a whole or its newest part, is missed: what was acknowledged never vanishes without a word.

use std::fs;
use std::path::Path;

use crate::harness::{Plan, files_below, uetcd_only};

const KEYS: u64 = 20;
/// Together more than three segments of 4 MiB.
const LARGE_KEYS: u64 = 70;
const LARGE: usize = 200_000;

/// A node of two executors that has acknowledged something on each.
fn written() -> Plan {
    let server = Plan::new().args(["--cores", "2"]).start();
    let mut client = server.client();
    for n in 0..KEYS {
        client.set(&format!("/l{n}"), "1");
    }
    server.kill()
}

/// The start is refused with one line that names the directory, and changes no file.
fn check_refused(plan: &Plan, dir: &Path) {
    check_refused_with(plan, &[&dir.to_string_lossy(), "--wal-dir"]);
}

/// The start is refused with one line that has all of this in it, and changes no file.
fn check_refused_with(plan: &Plan, parts: &[&str]) {
    let before = files_below(plan.data());
    let ended = plan.try_start().err().expect("a log is missing");
    assert_eq!(ended.code(), 1, "{ended:?}");
    let told = ended.stderr.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(told, "{ended:?}");
    assert_eq!(files_below(plan.data()), before);
}

#[test]
fn a_log_that_is_gone_is_missed_and_taken_when_it_is_back() {
    uetcd_only!("the layout of the log is uetcd's own");
    let plan = written();
    let wal = plan.data().join("member/wal");
    for core in ["0", "1"] {
        let (log, aside) = (wal.join(core), plan.home().join(format!("aside-{core}")));
        fs::rename(&log, &aside).expect("moved away");
        check_refused(&plan, &log);
        fs::rename(&aside, &log).expect("moved back");
    }
    let segments: Vec<_> = files_below(&wal.join("1"));
    let aside = plan.home().join("segments");
    fs::create_dir(&aside).expect("a directory");
    let moved = |file: &Path| aside.join(file.file_name().expect("a name"));
    let is_segment = |file: &Path| file.extension().is_some_and(|extension| extension == "log");
    segments.iter().filter(|file| is_segment(file)).for_each(|file| fs::rename(file, moved(file)).expect("moved away"));
    check_refused(&plan, &wal.join("1"));
    segments.iter().filter(|file| is_segment(file)).for_each(|file| fs::rename(moved(file), file).expect("moved back"));
    let server = plan.start();
    let mut client = server.client();
    (0..KEYS).for_each(|n| assert_eq!(client.value(&format!("/l{n}")).as_deref(), Some("1")));
}

#[test]
fn the_newest_segments_are_missed_and_taken_when_they_are_back() {
    uetcd_only!("the layout of the log is uetcd's own");
    let server = Plan::new().args(["--cores", "1"]).start();
    let mut client = server.client();
    let value = |n: u64| format!("{n:03}-").repeat(LARGE / 4);
    for n in 0..LARGE_KEYS {
        client.set(&format!("/n{n}"), &value(n));
    }
    let plan = server.kill();
    let wal = plan.data().join("member/wal/0");
    let mut segments: Vec<_> = files_below(&wal);
    segments.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    assert!(segments.len() > 3, "{segments:?}");
    let aside = plan.home().join("aside");
    fs::create_dir(&aside).expect("a directory");
    let moved = |file: &Path| aside.join(file.file_name().expect("a name"));
    // The first to go has nothing in it yet, and the oldest stays.
    for lost in segments[1..].iter().rev() {
        fs::rename(lost, moved(lost)).expect("moved away");
        check_refused_with(&plan, &[&wal.to_string_lossy(), &lost.to_string_lossy(), "Put back", "backup"]);
    }
    segments[1..].iter().for_each(|lost| fs::rename(moved(lost), lost).expect("moved back"));
    // And a start, whenever it ends, leaves what the next one accepts.
    let mut plan = plan;
    for _ in 0..3 {
        let server = plan.start();
        let mut client = server.client();
        (0..LARGE_KEYS).for_each(|n| assert_eq!(client.value(&format!("/n{n}")), Some(value(n))));
        plan = server.kill();
    }
}

#[test]
fn another_place_for_the_log_is_refused() {
    uetcd_only!("etcd starts empty");
    let plan = written();
    let elsewhere = plan.home().join("elsewhere");
    let other = plan.clone().args(["--wal-dir".as_ref(), elsewhere.as_os_str()]);
    check_refused(&other, &elsewhere.join("0"));
    assert_eq!(plan.start().client().value("/l0").as_deref(), Some("1"));
}

#[test]
fn a_directory_without_the_note_is_accepted() {
    uetcd_only!("the note is uetcd's own");
    let plan = written();
    fs::remove_file(plan.data().join("member/logs")).expect("the note is there");
    let server = plan.start();
    assert_eq!(server.client().value("/l0").as_deref(), Some("1"));
    // Fewer executors: the logs of the others are no longer expected, when the shards have moved.
    let server = server.kill().args(["--cores", "1"]).start();
    assert_eq!(server.client().value("/l0").as_deref(), Some("1"));
}
