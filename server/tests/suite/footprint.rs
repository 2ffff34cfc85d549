//! Restarts over and over: what they leave on the disk is bounded.

use std::fs;

use crate::harness::{Plan, env_number, files_below, uetcd_only};

/// Restarts unless `SUITE_RESTARTS` says otherwise.
const RESTARTS: u64 = 50;
/// What a node with hardly any data may take on the disk: a start makes two segments of 4 MiB for each executor, and up to 16 older ones stay
/// until the shards that need them have been written anew; the rest is for ballast, snapshots, and the one that is being replaced.
const DISK_BYTES: u64 = 2 * (16 + 2 + 2) * (4 << 20);

/// Writes before every other restart.
const WRITES: u64 = 5;

#[test]
fn restarts_over_and_over_do_not_fill_the_disk() {
    uetcd_only!("the layout of the data is uetcd's own");
    let mut server = Plan::new().args(["--cores", "2"]).start();
    let plan = server.plan().clone();
    let used = || -> u64 {
        let sizes = files_below(plan.data()).into_iter().filter_map(|file| fs::metadata(file).ok());
        sizes.map(|file| file.len()).sum()
    };
    let (first, mut largest) = (used(), 0);
    for round in 0..env_number("SUITE_RESTARTS", RESTARTS) {
        let mut client = server.client();
        let writes = if round % 2 == 0 { 0 } else { WRITES };
        for n in 0..writes {
            client.set(&format!("/f{}/k", (round + n) % 40), &format!("round {round}"));
        }
        largest = largest.max(used());
        server.terminate(if round % 4 < 2 { libc::SIGTERM } else { libc::SIGKILL });
        server = plan.start();
        let value = server.client().value(&format!("/f{}/k", round % 40));
        assert!(writes == 0 || value == Some(format!("round {round}")), "round {round}: {value:?}");
    }
    println!("at first {} MiB, at most {} MiB, in the end {} MiB", first >> 20, largest >> 20, used() >> 20);
    assert!(largest <= DISK_BYTES, "{} MiB on the disk, more than {}", largest >> 20, DISK_BYTES >> 20);
}
