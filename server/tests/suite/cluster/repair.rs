//! Rot in the log of one member, or a part of it gone: the others stand in for it, and nobody has to do anything.

use std::fs;
use std::path::{Path, PathBuf};

use super::members::{Cluster, Setup};
use crate::harness::{PATIENCE, eventually, files_below, load, uetcd_only};

/// Flips a bit of the first value that is found in a log.
fn rot(data: &Path, marker: &[u8]) -> PathBuf {
    let mut segments = files_below(&data.join("member/wal"));
    segments.sort();
    for file in segments {
        let mut bytes = fs::read(&file).expect("a readable log");
        if let Some(at) = bytes.windows(marker.len()).position(|window| window == marker) {
            bytes[at] ^= 1;
            fs::write(&file, bytes).expect("a writable log");
            return file;
        }
    }
    panic!("no log has {}", String::from_utf8_lossy(marker));
}

fn marker(n: u64) -> String {
    format!("marker-{n}-marker")
}

/// Twice, and apart: where the log puts a stamp into one of them, it leaves the other whole.
fn value(n: u64) -> String {
    format!("{0}{1:.>100}{0}", marker(n), "")
}

fn start() -> Cluster {
    let cluster = Setup::new().args(&["--cores", "2"]).start(3);
    load(cluster.server(cluster.primary()), 500, |n| (format!("/d{}/k{n}", n % 32), format!("value={}", value(n))));
    cluster.wait_converged();
    cluster
}

#[test]
fn the_others_stand_in_for_a_damaged_log() {
    uetcd_only!("etcd does not start");
    let mut cluster = start();
    let damaged = cluster.followers()[0];
    cluster.kill(damaged);
    let file = rot(cluster.data(damaged), marker(7).as_bytes());
    let index = cluster.client(cluster.primary()).set("/meanwhile", "1");
    cluster.restart(damaged);
    cluster.wait_converged();
    let log = cluster.server(damaged).log();
    let named =
        |line: &str| line.contains(&*file.to_string_lossy()) && line.contains("group") && line.contains("offset");
    assert!(log.lines().any(named), "the damage is not named: {log}");
    let metrics = cluster.client(damaged).get("/metrics").text();
    assert!(metrics.contains("uetcd_log_repairs_total 1\n"), "{metrics}");
    assert!(cluster.data(damaged).join("member/wal/0.broken").is_dir());
    assert_eq!(cluster.client(damaged).value("/meanwhile").as_deref(), Some("1"));
    assert!(cluster.client(damaged).set("/after", "1") > index);
    // Its vote counts again, and what it was given is its own.
    cluster.server(damaged).wait_for_log("it votes from now on");
    let other = cluster.followers().into_iter().find(|nth| *nth != damaged);
    let gone = other.unwrap_or_else(|| cluster.primary());
    cluster.kill(gone);
    cluster.wait_writable();
    cluster.kill(damaged);
    cluster.restart(damaged);
    cluster.wait_writable();
    let metrics = cluster.client(damaged).get("/metrics").text();
    assert!(metrics.contains("uetcd_log_repairs_total 0\n"), "{metrics}");
}

#[test]
fn the_others_stand_in_for_segments_that_are_gone() {
    const KEYS: u64 = 70;
    uetcd_only!("the layout of the log is uetcd's own");
    let value = |n: u64| format!("{n:03}-").repeat(50_000);
    let mut cluster = Setup::new().args(&["--cores", "1"]).start(3);
    load(cluster.server(cluster.primary()), KEYS, |n| (format!("/g{n}"), format!("value={}", value(n))));
    cluster.wait_converged();
    let hurt = cluster.followers()[0];
    cluster.kill(hurt);
    let mut segments = files_below(&cluster.data(hurt).join("member/wal"));
    segments.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    assert!(segments.len() > 2, "{segments:?}");
    segments[segments.len() - 2..].iter().for_each(|lost| fs::remove_file(lost).expect("removed"));
    cluster.restart(hurt);
    cluster.wait_converged();
    let (log, lost) = (cluster.server(hurt).log(), segments[segments.len() - 2].to_string_lossy().into_owned());
    assert!(log.lines().any(|line| line.contains("lacks the newest segments") && line.contains(&lost)), "{log}");
    let metrics = cluster.client(hurt).get("/metrics").text();
    assert!(metrics.contains("uetcd_log_repairs_total 1\n"), "{metrics}");
    // What it was given is its own: with one other member it has all of it, and a vote.
    cluster.server(hurt).wait_for_log("it votes from now on");
    let other = cluster.followers().into_iter().find(|nth| *nth != hurt);
    cluster.kill(other.unwrap_or_else(|| cluster.primary()));
    cluster.wait_writable();
    cluster.kill(hurt);
    cluster.restart(hurt);
    cluster.wait_writable();
    let mut client = cluster.client(hurt);
    (0..KEYS).for_each(|n| assert_eq!(client.value(&format!("/g{n}")), Some(value(n)), "/g{n}"));
}

#[test]
fn a_damaged_member_waits_for_others_and_gives_up_without_them() {
    uetcd_only!("etcd does not start");
    let mut cluster = start();
    for nth in 0..3 {
        cluster.kill(nth);
    }
    rot(cluster.data(1), marker(9).as_bytes());
    cluster.restart(1);
    let ended = cluster.wait_gone(1);
    assert_eq!(ended.code(), 1);
    let said = |text: &str| ended.stderr.contains(text);
    assert!(said("no other member answers") && said("is damaged at offset"), "{}", ended.stderr);
    // Nothing was changed: it is as good as before when they are there.
    for nth in [0, 2, 1] {
        cluster.restart(nth);
    }
    cluster.wait_writable();
    cluster.wait_converged();
    eventually("it is whole again", PATIENCE, || (cluster.client(1).value("/d7/k7") == Some(value(7))).then_some(()));
}
