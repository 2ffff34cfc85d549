//! Restarts over and over: what they leave on the disk is bounded.

use std::fs;

use crate::harness::{Plan, env_number, files_below, uetcd_only};

/// Restarts unless `SUITE_RESTARTS` says otherwise.
const RESTARTS: u64 = 50;
/// What a node with hardly any data may take on the disk: a start makes two segments of 4 MiB for each executor, and up to 16 older ones stay
/// until the shards that need them have been written anew; the rest is for ballast, snapshots, and the one that is being replaced.
const DISK_BYTES: u64 = 2 * (16 + 2 + 2) * (4 << 20);

fn restart_over_and_over(writes: u64, signal: i32) {
    let mut server = Plan::new().args(["--cores", "2"]).start();
    let plan = server.plan().clone();
    let used =
        || files_below(plan.data()).iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum();
    let (mut largest, mut first) = (0, 0);
    for round in 0..env_number("SUITE_RESTARTS", RESTARTS) {
        let mut client = server.client();
        for n in 0..writes {
            client.set(&format!("/f{}/k", (round + n) % 40), &format!("round {round}"));
        }
        let now: u64 = used();
        first = if round == 0 { now } else { first };
        largest = largest.max(now);
        server.terminate(signal);
        server = plan.start();
        assert!(writes == 0 || server.client().value(&format!("/f{}/k", round % 40)) == Some(format!("round {round}")));
    }
    println!("at first {} MiB, at most {} MiB, in the end {} MiB", first >> 20, largest >> 20, used() >> 20);
    assert!(largest <= DISK_BYTES, "{} MiB on the disk, more than {}", largest >> 20, DISK_BYTES >> 20);
}

#[test]
fn restarts_alone_do_not_fill_the_disk() {
    uetcd_only!("the layout of the data is uetcd's own");
    restart_over_and_over(0, libc::SIGTERM);
}

#[test]
fn restarts_with_a_few_writes_in_between_do_not_fill_the_disk() {
    uetcd_only!("the layout of the data is uetcd's own");
    restart_over_and_over(5, libc::SIGKILL);
}
