//! Rot in the log of one member: the others stand in for it, and nobody has to do anything.

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

fn start() -> Cluster {
    let cluster = Setup::new().args(&["--cores", "2"]).start(3);
    load(cluster.server(cluster.primary()), 500, |n| {
        (format!("/d{}/k{n}", n % 32), format!("value=marker-{n}-marker"))
    });
    cluster.wait_converged();
    cluster
}

#[test]
fn the_others_stand_in_for_a_damaged_log() {
    uetcd_only!("etcd does not start");
    let mut cluster = start();
    let damaged = cluster.followers()[0];
    cluster.kill(damaged);
    let file = rot(cluster.data(damaged), b"marker-7-marker");
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
fn a_damaged_member_waits_for_others_and_gives_up_without_them() {
    uetcd_only!("etcd does not start");
    let mut cluster = start();
    for nth in 0..3 {
        cluster.kill(nth);
    }
    rot(cluster.data(1), b"marker-9-marker");
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
    eventually("it is whole again", PATIENCE, || {
        (cluster.client(1).value("/d7/k7").as_deref() == Some("marker-7-marker")).then_some(())
    });
}
