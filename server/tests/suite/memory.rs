//! What a stored key costs. `bench/memory.sh` measures the same with a million keys.

use crate::harness::{Plan, env_number, load, uetcd_only};

/// Keys unless `SUITE_MEMORY_KEYS` says otherwise.
const KEYS: u64 = 100_000;
/// Bytes of a key and of its value.
const NAME_BYTES: usize = 64;
const VALUE_BYTES: usize = 128;
/// What a key may take, its name and value included.
const BYTES_PER_KEY: u64 = 400;
/// What does not grow with the keys: the log's buffers, the entries since the newest snapshot, a snapshot being made, connections.
const CONSTANT_BYTES: u64 = 32 << 20;

#[test]
fn a_key_takes_at_most_400_bytes() {
    uetcd_only!("etcd's memory is its own business");
    // The history is bounded by itself, and is not what a key takes.
    let server = Plan::new().args(["--cores", "2", "--history-events", "1", "--snapshot-count", "1000"]).start();
    server.client().set("/warm", "up");
    let before = server.resident_bytes();
    let keys = env_number("SUITE_MEMORY_KEYS", KEYS);
    let value = "v".repeat(VALUE_BYTES);
    load(&server, keys, |n| {
        let directory = format!("/directory-{:03}/", n % 100);
        (format!("{directory}{n:0width$}", width = NAME_BYTES - directory.len()), format!("value={value}"))
    });
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{keys} keys: {} MiB, {} bytes each", grown >> 20, grown / keys);
    let limit = keys * BYTES_PER_KEY + CONSTANT_BYTES;
    assert!(grown <= limit, "{keys} keys took {grown} bytes, more than {limit}");
}
