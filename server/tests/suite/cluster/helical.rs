//! Every member is damaged, each record is whole somewhere: what all hold together is put together, and nothing is lost. What
//! is whole nowhere is refused, and nothing is changed.

pub(super) mod damage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use log::SECTOR;
use serde_json::Value;

use super::{Cluster, Setup};
use crate::harness::{Ended, PATIENCE, Rng, copy_dir, env_number, eventually, files_below, load, uetcd_only};
use damage::{Entry, Place, batches, damage_all, damage_early, lose_writes, zero};

/// Clusters that are damaged, unless `SUITE_HELICAL` says otherwise.
const ROUNDS: u64 = 2;
const MEMBERS: usize = 3;
/// Writes of a round, in two parts, and the size of a value: several segments of log on each member.
const WRITES: u64 = 3000;
const VALUE_BYTES: usize = 2000;

/// Keys and values by their numbers.
fn key(n: u64) -> String {
    format!("/d{}/k{n}", n % 97)
}

fn value(n: u64) -> String {
    let word = format!("value-{n}-");
    word.repeat(VALUE_BYTES / word.len())
}

fn write(cluster: &Cluster, via: usize, numbers: std::ops::Range<u64>) {
    let first = numbers.start;
    load(cluster.server(via), numbers.end - first, |n| (key(first + n), format!("value={}", value(first + n))));
}

fn values(node: &Value, into: &mut BTreeMap<String, String>) {
    if let (Some(key), Some(value)) = (node["key"].as_str(), node["value"].as_str()) {
        into.insert(key.to_owned(), value.to_owned());
    }
    node["nodes"].as_array().into_iter().flatten().for_each(|node| values(node, into));
}

fn assert_all_there(cluster: &Cluster, upto: u64) {
    let mut found = BTreeMap::new();
    values(&cluster.wait_converged()["node"], &mut found);
    for n in 0..upto {
        assert_eq!(found.get(&key(n)), Some(&value(n)), "{}", key(n));
    }
}

/// A cluster that has been through a fail-over and has acknowledged `WRITES`, and does not run any more.
fn stopped(rng: &mut Rng) -> Cluster {
    // Every other one has snapshots, and has given up the begin of its logs.
    let count = if rng.one_in(2) { "60" } else { "100000" };
    let mut cluster = Setup::new().args(&["--snapshot-count", count]).start(MEMBERS);
    write(&cluster, cluster.primary(), 0..WRITES / 2);
    let primary = cluster.primary();
    cluster.kill(primary);
    cluster.wait_writable();
    let via = cluster.primary();
    write(&cluster, via, WRITES / 2..WRITES * 3 / 4);
    cluster.restart(primary);
    cluster.wait_writable();
    write(&cluster, rng.below(MEMBERS as u64) as usize, WRITES * 3 / 4..WRITES);
    for nth in 0..MEMBERS {
        cluster.kill(nth);
    }
    cluster
}

/// Mends a member from these directories.
fn mend(cluster: &Cluster, nth: usize, from: &[&Path], more: &[&str]) -> Ended {
    let from: Vec<&str> = from.iter().map(|dir| dir.to_str().expect("text")).collect();
    cluster.run_at_rest(nth, &[&["--mend-from", &from.join(",")], more].concat())
}

fn others(nth: usize) -> Vec<usize> {
    (0..MEMBERS).filter(|other| *other != nth).collect()
}

/// Everything in a directory but the lock, which every process touches.
fn state(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_below(data).into_iter().filter(|file| file.file_name().is_some_and(|name| name != "lock"));
    files.map(|file| (file.clone(), fs::read(&file).expect("readable"))).collect()
}

#[test]
fn every_member_is_damaged_and_nothing_is_lost() {
    uetcd_only!("every member refuses to start");
    let seed = env_number("SUITE_CLUSTER_SEED", 1);
    for round in 0..env_number("SUITE_HELICAL", ROUNDS) {
        println!("seed {seed}, round {round}");
        let mut rng = Rng::new(seed * 1000 + round);
        let mut cluster = stopped(&mut rng);
        let lost = damage_all(&[0, 1, 2].map(|nth| cluster.data(nth)), &mut rng);
        println!("{lost} entries are damaged on one member each");
        // From copies of how they were, or one after the other from what is there.
        let home = tempfile::tempdir().expect("a directory");
        let mut data: Vec<PathBuf> = (0..MEMBERS).map(|nth| cluster.data(nth).to_owned()).collect();
        if round % 2 == 0 {
            for (nth, dir) in data.iter_mut().enumerate() {
                let copy = home.path().join(nth.to_string());
                copy_dir(dir, &copy);
                *dir = copy;
            }
        }
        for nth in 0..MEMBERS {
            let from: Vec<&Path> = others(nth).iter().map(|other| data[*other].as_path()).collect();
            let ended = mend(&cluster, nth, &from, &[]);
            assert_eq!(ended.code(), 0, "member {nth}: {}", ended.stderr);
            assert!(ended.stderr.contains("the log is mended"), "member {nth}: {}", ended.stderr);
            assert!(cluster.data(nth).join("member/wal/0.damaged").is_dir());
        }
        (0..MEMBERS).for_each(|nth| cluster.restart(nth));
        cluster.wait_writable();
        assert_all_there(&cluster, WRITES);
        for nth in 0..MEMBERS {
            assert_eq!(cluster.client(nth).get("/health").json()["health"], "true");
            let (log, metrics) = (cluster.server(nth).log(), cluster.client(nth).get("/metrics").text());
            let forgetful = |line: &str| line.starts_with("uetcd_shard_is_forgetful") && !line.ends_with(" 0");
            assert!(!log.contains("is damaged") && !metrics.lines().any(forgetful), "{log}");
        }
        write(&cluster, cluster.primary(), WRITES..WRITES + 200);
        // What was mended is a log like any other.
        for nth in 0..MEMBERS {
            cluster.kill(nth);
            cluster.restart(nth);
            cluster.wait_writable();
        }
        assert_all_there(&cluster, WRITES + 200);
    }
}

#[test]
fn what_is_whole_nowhere_is_refused_and_nothing_is_changed() {
    uetcd_only!("every member refuses to start");
    let mut rng = Rng::new(7);
    let mut cluster = stopped(&mut rng);
    let copies = tempfile::tempdir().expect("a directory");
    let copy = |nth: usize| copies.path().join(nth.to_string());
    (0..MEMBERS).for_each(|nth| copy_dir(cluster.data(nth), &copy(nth)));
    let all: Vec<Vec<Place>> = (0..MEMBERS).map(|nth| batches(cluster.data(nth))).collect();
    let held = |nth: usize, entry: &Entry| all[nth].iter().any(|place| place.entries.contains(entry));
    // One of the last that all have: no snapshot stands for it.
    let mut entries = all[0].iter().rev().skip(20).flat_map(|place| &place.entries);
    let entry = *entries.find(|entry| others(0).iter().all(|nth| held(*nth, entry))).expect("all have one");
    for places in &all {
        for place in places.iter().filter(|place| place.entries.contains(&entry)) {
            zero(&place.file, place.offset, SECTOR);
        }
    }
    let before: Vec<_> = (0..MEMBERS).map(|nth| state(cluster.data(nth))).collect();
    let data: Vec<PathBuf> = (0..MEMBERS).map(|nth| cluster.data(nth).to_owned()).collect();
    let of = |nth: &usize| data[*nth].as_path();
    for nth in 0..MEMBERS {
        let ended = mend(&cluster, nth, &others(nth).iter().map(of).collect::<Vec<_>>(), &[]);
        let said = |what: &str| ended.stderr.contains(what);
        assert_eq!(ended.code(), 1, "{}", ended.stderr);
        assert!(said(&format!("group {}", entry.0)) && said("Nothing was changed") && said(".log"), "{}", ended.stderr);
    }
    // The same copy twice, its own directory, and one that is none.
    for (from, why) in [
        (vec![of(&1), of(&1)], "are of the same member"),
        (vec![of(&0)], "is the directory that is to be mended"),
        (vec![copies.path()], "there is no data of a member"),
    ] {
        let ended = mend(&cluster, 0, &from, &[]);
        assert!(ended.code() == 1 && ended.stderr.contains(why), "{why}: {}", ended.stderr);
    }
    // One whole copy of it is enough, whoever else lacks it; at first that is only looked at.
    let from = [copy(1), of(&2).to_owned()];
    let from: Vec<&Path> = from.iter().map(PathBuf::as_path).collect();
    let ended = mend(&cluster, 0, &from, &["--mend-dry-run"]);
    assert!(ended.code() == 0 && ended.stderr.contains("can be mended. Nothing was changed"), "{}", ended.stderr);
    // Not while one of the others is in use.
    let lock = fs::File::open(of(&2).join("member/lock")).expect("it has one");
    lock.lock().expect("it does not run");
    let ended = mend(&cluster, 0, &from, &[]);
    assert!(ended.code() == 1 && ended.stderr.contains("another process uses this data directory"), "{}", ended.stderr);
    drop(lock);
    assert!((0..MEMBERS).all(|nth| state(cluster.data(nth)) == before[nth]));
    for nth in [0, 2] {
        let other = if nth == 0 { of(&2) } else { of(&0) };
        let ended = mend(&cluster, nth, &[&copy(1), other], &[]);
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
    }
    let ended = mend(&cluster, 0, &[of(&1), of(&2)], &[]);
    assert!(ended.code() == 0 && ended.stderr.contains("nothing to mend"), "{}", ended.stderr);
    fs::remove_dir_all(of(&1)).expect("removed");
    copy_dir(&copy(1), of(&1));
    (0..MEMBERS).for_each(|nth| cluster.restart(nth));
    cluster.wait_writable();
    assert_all_there(&cluster, WRITES);
}

/// Stops a cluster so that member 0 has noted how far the disk of member 1 was, and nobody knows more of it. Member 2 does not
/// run any more.
fn stop_two(cluster: &mut Cluster) {
    let (index, id) = (cluster.client(1).get("/v2/keys/").index(), cluster.id(1, 1));
    let sample = format!("uetcd_peer_disk_index{{From=\"{id}\"}} ");
    eventually("member 0 knows what the disk of member 1 holds", PATIENCE, || {
        let page = cluster.client(0).get("/metrics").text();
        let held = page.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok());
        held.filter(|held: &u64| *held >= index)
    });
    cluster.terminate(0);
    cluster.kill(1);
}

/// Asserts that a member can not be mended from these directories, for this reason, and is not changed.
fn assert_refused(cluster: &Cluster, nth: usize, from: &[&Path], why: &str) {
    let before = state(cluster.data(nth));
    let ended = mend(cluster, nth, from, &[]);
    let said = |what: &str| ended.stderr.contains(what);
    assert!(ended.code() == 1 && said(why) && said("Nothing was changed"), "{why}: {}", ended.stderr);
    assert!(state(cluster.data(nth)) == before);
}

/// Looks like the disk of a member that has promised nothing since, and only what the others remember of it says otherwise.
#[test]
fn an_older_copy_with_a_damaged_record_does_not_count() {
    uetcd_only!("every member refuses to start");
    let mut cluster = Setup::new().args(&["--snapshot-count", "100000"]).start(MEMBERS);
    let copies = tempfile::tempdir().expect("a directory");
    let older = copies.path().join("older");
    write(&cluster, cluster.primary(), 0..200);
    (0..MEMBERS).for_each(|nth| cluster.kill(nth));
    // Every start says again how all logs end: the damage, before it, hides nothing.
    (0..MEMBERS).for_each(|nth| cluster.restart(nth));
    cluster.wait_writable();
    write(&cluster, cluster.primary(), 200..220);
    (0..MEMBERS).for_each(|nth| cluster.kill(nth));
    copy_dir(cluster.data(1), &older);
    (0..MEMBERS).for_each(|nth| cluster.restart(nth));
    cluster.wait_writable();
    // Acknowledged by 0 and 1 alone.
    cluster.kill(2);
    cluster.wait_writable();
    write(&cluster, cluster.primary(), 220..500);
    stop_two(&mut cluster);
    for place in batches(cluster.data(0)).iter().rev().take(30) {
        zero(&place.file, place.offset, SECTOR);
    }
    let (one, two) = (cluster.data(1).to_owned(), cluster.data(2).to_owned());
    assert_refused(&cluster, 0, &[&older, &two], "is older than what that member had");
    damage_early(&older);
    assert_refused(&cluster, 0, &[&older, &two], "the damage hides where the logs of members");
    let ended = mend(&cluster, 0, &[&one, &two], &[]);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    (0..MEMBERS).for_each(|nth| cluster.restart(nth));
    cluster.wait_writable();
    assert_all_there(&cluster, 500);
}

#[test]
fn what_was_shown_to_clients_and_is_in_no_log_is_refused() {
    uetcd_only!("every member refuses to start");
    let mut cluster = Setup::new().args(&["--snapshot-count", "100000", "--cores", "1"]).start(MEMBERS);
    write(&cluster, cluster.primary(), 0..1000);
    cluster.wait_converged();
    cluster.kill(2);
    cluster.wait_writable();
    write(&cluster, cluster.primary(), 1000..WRITES);
    stop_two(&mut cluster);
    // Both that have acknowledged the last writes have lost all of them, without a trace on their own disks.
    for nth in [0, 1] {
        let places = batches(cluster.data(nth));
        // The newest segment may have nothing but marks in it.
        let last = places.iter().rposition(|place| !place.entries.is_empty()).expect("something was written");
        assert!(places[last].file != places[0].file, "its start has another segment");
        let mut files: Vec<_> = places[last..].iter().map(|place| place.file.clone()).collect();
        files.dedup();
        for file in &files {
            lose_writes(file);
        }
        damage_early(cluster.data(nth));
    }
    let others = [cluster.data(1).to_owned(), cluster.data(2).to_owned()];
    let others: Vec<&Path> = others.iter().map(PathBuf::as_path).collect();
    assert_refused(&cluster, 0, &others, "was shown to clients");
}
