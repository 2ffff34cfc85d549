//! What a stored key costs. `bench/memory.sh` measures the same with a million keys.

use std::time::Duration;

use crate::harness::{Plan, env_number, eventually, load, uetcd_only};

/// Keys unless `SUITE_MEMORY_KEYS` says otherwise.
const KEYS: u64 = 100_000;
/// Bytes of a key.
const NAME_BYTES: usize = 64;
/// What does not grow with the keys: the log's buffers, the entries since the newest snapshot, a snapshot being made, connections.
const CONSTANT_BYTES: u64 = 32 << 20;

#[test]
fn a_key_of_192_bytes_takes_at_most_400() {
    uetcd_only!("etcd's memory is its own business");
    check_memory(env_number("SUITE_MEMORY_KEYS", KEYS), 128, 400);
}

#[test]
fn a_key_of_1_kib_takes_at_most_twice_that() {
    uetcd_only!("etcd's memory is its own business");
    let size = NAME_BYTES + 1024;
    check_memory(env_number("SUITE_MEMORY_KEYS", KEYS / 2), 1024, 2 * size as u64);
}

/// `bytes_per_key`: what a key may take, its name and value included.
fn check_memory(keys: u64, value_bytes: usize, bytes_per_key: u64) {
    // The history is bounded by itself, and is not what a key takes.
    let server = Plan::new().args(["--cores", "2", "--history-events", "1", "--snapshot-count", "1000"]).start();
    server.client().set("/warm", "up");
    let before = server.resident_bytes();
    let value = "v".repeat(value_bytes);
    load(&server, keys, |n| {
        let directory = format!("/directory-{:03}/", n % 100);
        (format!("{directory}{n:0width$}", width = NAME_BYTES - directory.len()), format!("value={value}"))
    });
    let grown = server.resident_bytes().saturating_sub(before);
    let (mib, each, size) = (grown >> 20, grown / keys, NAME_BYTES + value_bytes);
    println!("memory: {keys} keys of {size} bytes in {mib} MiB, {each} bytes each");
    let limit = keys * bytes_per_key + CONSTANT_BYTES;
    assert!(grown <= limit, "{keys} keys took {grown} bytes, more than {limit}");
}

/// Writes of a log that is read back at a start, all to the same few keys, and the bytes of each.
const REPLAYED: u64 = 1500;
const REPLAYED_BYTES: usize = 64 << 10;
#[test]
fn what_a_start_reads_back_does_not_stay_in_memory() {
    uetcd_only!("etcd's memory is its own business");
    let args = ["--cores", "2", "--history-events", "1", "--snapshot-count", "1000000"];
    let server = Plan::new().args(args).start();
    let value = "v".repeat(REPLAYED_BYTES);
    load(&server, REPLAYED, |n| (format!("/key-{}", n % 4), format!("value={value}")));
    let server = server.kill().start();
    let peak = server.peak_resident_bytes();
    assert!(peak > REPLAYED * REPLAYED_BYTES as u64, "the start took {peak} bytes: too few to show anything");
    // What stays: the newest of each shard's log, which other members may ask for, and what does not grow with it.
    eventually("most of it is given back", Duration::from_secs(5), || {
        (server.resident_bytes() < peak / 2).then_some(())
    });
    println!("a start took {} MiB, and keeps {}", peak >> 20, server.resident_bytes() >> 20);
}
