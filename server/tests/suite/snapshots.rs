//! Damaged snapshots: the one before and the log give the same state, and the damage is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{PATIENCE, Plan, Rng, Server, env_number, eventually, files_below, load, uetcd_only};

/// More than the 256 MiB of log beyond which idle shards are made to give up what they keep of it.
const BUSY_WRITES: u64 = 1_000;
const BUSY_VALUE_BYTES: usize = 330_000;

/// The snapshots of each shard, oldest first.
fn snapshots(plan: &Plan) -> BTreeMap<String, Vec<PathBuf>> {
    let mut shards: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut files: Vec<_> = files_below(&plan.data().join("member/snap"));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "snap"));
    files.sort();
    for file in files {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let shard = name.split('-').next().expect("a name").to_owned();
        shards.entry(shard).or_default().push(file);
    }
    shards
}

/// The newest snapshot of each shard.
fn newest_snapshots(plan: &Plan) -> BTreeMap<String, PathBuf> {
    let newest = |(shard, mut files): (_, Vec<_>)| Some((shard, files.pop()?));
    snapshots(plan).into_iter().filter_map(newest).collect()
}

/// What a snapshot holds, as a name that sorts; the same for a copy.
fn position(file: &Path) -> String {
    let name = file.file_name().expect("a file has a name").to_string_lossy();
    name.split('.').next().expect("a name").to_owned()
}

/// How many rounds of damage there are, unless `SUITE_SNAPSHOTS` says otherwise. Each damages a snapshot of every shard.
const ROUNDS: u64 = 3;

/// Changes one bit, anywhere.
fn flip_a_bit(file: &PathBuf, rng: &mut Rng) {
    let mut bytes = fs::read(file).expect("a readable snapshot");
    let at = rng.below(bytes.len() as u64) as usize;
    bytes[at] ^= 1 << rng.below(8);
    fs::write(file, bytes).expect("a writable snapshot");
}

fn start() -> Server {
    Plan::new().args(["--cores", "2", "--snapshot-count", "50"]).start()
}

fn everything(server: &Server) -> serde_json::Value {
    server.client().get("/v2/keys/?recursive=true&sorted=true").json()
}

/// Whether the server's log says that this file is damaged.
fn is_named(file: &Path, log: &str) -> bool {
    let name = file.file_name().expect("a file has a name").to_string_lossy();
    log.lines().any(|line| line.contains(&*name) && line.contains("damaged"))
}

/// Damages the newest snapshot of every shard, and checks that the next start has everything all the same and says so.
fn damage_and_restart(server: Server, rng: &mut Rng) -> Server {
    let known = everything(&server);
    let plan = server.kill();
    let newest = newest_snapshots(&plan);
    assert!(!newest.is_empty(), "no snapshot was made");
    for file in newest.values() {
        flip_a_bit(file, rng);
    }
    let server = plan.start();
    assert!(everything(&server) == known, "the state is not what it was");
    let log = server.log();
    for file in newest.values() {
        assert!(is_named(file, &log), "nothing is said of {}: {log}", file.display());
    }
    eventually("each damaged snapshot is replaced by two", Duration::from_secs(10), || {
        let there = snapshots(server.plan());
        let replaced = newest.iter().all(|(shard, lost)| {
            let files = there.get(shard.as_str()).into_iter().flatten();
            files.filter(|file| position(file) >= position(lost)).count() >= 2
        });
        replaced.then_some(())
    });
    server
}

fn wait_for_snapshots(server: &Server, shards: usize) {
    eventually("snapshots are made", Duration::from_secs(10), || {
        (newest_snapshots(server.plan()).len() >= shards).then_some(())
    });
}

#[test]
fn a_damaged_newest_snapshot_is_done_without() {
    uetcd_only!("the format of snapshots is uetcd's own");
    let mut server = start();
    let mut rng = Rng::new(env_number("SUITE_SEED", 1));
    let rounds = env_number("SUITE_SNAPSHOTS", ROUNDS);
    for round in 0..rounds {
        load(&server, 4_000, |n| (format!("/s{}/k{}", n % 64, n % 11), format!("value={round}.{n}")));
        wait_for_snapshots(&server, 14);
        server = damage_and_restart(server, &mut rng);
    }
    println!("snapshots: {rounds} rounds, a bit of each shard's newest snapshot in each");
    server.client().set("/after", "1");
}

#[test]
fn a_damaged_older_snapshot_is_named_and_counts_no_more() {
    uetcd_only!("the format of snapshots is uetcd's own");
    let server = start();
    eventually("most shards have two snapshots", Duration::from_secs(20), || {
        load(&server, 2_000, |n| (format!("/s{}/k{}", n % 64, n % 11), format!("value={n}")));
        let of_two = snapshots(server.plan()).into_values().filter(|files| files.len() >= 2).count();
        (of_two >= 14).then_some(())
    });
    let known = everything(&server);
    let plan = server.kill();
    let before: Vec<PathBuf> =
        snapshots(&plan).into_values().filter_map(|files| files.iter().rev().nth(1).cloned()).collect();
    let mut rng = Rng::new(2);
    for file in &before {
        flip_a_bit(file, &mut rng);
    }
    // Clients do not wait for snapshots that the start does not need: they are read behind their backs, scrub or not.
    let server = plan.args(["--scrub-rate", "0"]).start();
    assert!(everything(&server) == known, "the state is not what it was");
    eventually("what is damaged counts no more", PATIENCE, || before.iter().all(|file| !file.exists()).then_some(()));
    eventually("all are named", PATIENCE, || {
        let log = server.log();
        before.iter().all(|file| is_named(file, &log)).then_some(())
    });
    eventually("there are two again", PATIENCE, || {
        let there = snapshots(server.plan());
        let is_replaced = |file: &PathBuf| {
            let shard = position(file).split('-').next().unwrap_or_default().to_owned();
            there
                .get(&shard)
                .is_some_and(|files| files.iter().filter(|other| position(other) > position(file)).count() >= 2)
        };
        before.iter().all(is_replaced).then_some(())
    });
    // What was left is enough for the next start, whatever it gave up.
    load(&server, 500, |n| (format!("/s{}/k{}", n % 64, n % 11), format!("value={n}")));
    damage_and_restart(server, &mut rng);
}

#[test]
fn a_damaged_snapshot_of_a_shard_that_was_idle_while_others_wrote_much_is_done_without() {
    uetcd_only!("the format of snapshots is uetcd's own");
    let mut server = start();
    // All shards get a few snapshots, then one directory's shard is written until the log has been recycled many times over.
    load(&server, 3_000, |n| (format!("/idle{}/k{}", n % 64, n % 7), format!("value={n}")));
    wait_for_snapshots(&server, 14);
    let value = "v".repeat(BUSY_VALUE_BYTES);
    load(&server, BUSY_WRITES, |n| (format!("/busy/k{}", n % 5), format!("value={n}{value}")));
    let mut rng = Rng::new(3);
    server = damage_and_restart(server, &mut rng);
    assert!(server.client().value("/idle1/k1").is_some());
    // And once more, from what that start left.
    load(&server, 500, |n| (format!("/busy/k{}", n % 5), format!("value={n}")));
    damage_and_restart(server, &mut rng);
}
