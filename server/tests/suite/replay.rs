//! Watches that begin far back in the past of the whole key space: nothing missed, nothing twice, in order, and not taken for slow.

use std::collections::BTreeSet;
use std::thread;

use crate::harness::{Connection, Plan, Server, env_number, load, uetcd_only};

/// Events of the past: more than may wait for one watcher.
const EVENTS: u64 = 20_000;
/// Events written while the past is still being delivered.
const LIVE: u64 = 4_000;
/// Top-level directories, so that every shard and executor has several.
const DIRECTORIES: u64 = 64;

fn write(server: &Server, count: u64, label: &str) -> BTreeSet<u64> {
    let request = |n: u64| (format!("/h{}/k{}", n % DIRECTORIES, n % 512), format!("value={label}{n}"));
    load(server, count, request).into_iter().collect()
}

/// Streams all changes from `since` on until `/end` is written; their indices.
fn stream(server: &Server, since: u64) -> Vec<u64> {
    let mut stream = Connection::open(server.address()).expect("the server accepts");
    let target = format!("/v2/keys/?wait=true&recursive=true&stream=true&waitIndex={since}");
    stream.request("GET", &target, None).expect("the server reads");
    assert_eq!(stream.head().expect("the head comes at once").status, 200);
    let mut seen = Vec::new();
    loop {
        let event = stream.event().unwrap_or_else(|e| panic!("the stream was cut after {} events: {e}", seen.len()));
        if event["node"]["key"] == "/end" {
            return seen;
        }
        seen.push(event["node"]["modifiedIndex"].as_u64().expect("an event has an index"));
    }
}

fn check(cores: &str) {
    let server = Plan::new().uetcd_args(["--cores", cores]).start();
    let mut written = write(&server, env_number("SUITE_REPLAY_EVENTS", EVENTS), "past");
    let first = *written.first().expect("something was written");
    // One long poll at a time, from all over the past.
    let mut client = server.client();
    for index in written.iter().step_by(written.len() / 40) {
        let answer = client.get(&format!("/v2/keys/?wait=true&recursive=true&waitIndex={index}"));
        assert_eq!(
            (answer.status, answer.json()["node"]["modifiedIndex"].as_u64()),
            (200, Some(*index)),
            "{cores} cores"
        );
    }
    let seen = thread::scope(|scope| {
        let server = &server;
        let streams = [first, first + 1].map(|since| scope.spawn(move || stream(server, since)));
        written.extend(write(server, LIVE, "live"));
        client.set("/end", "");
        streams.map(|stream| stream.join().expect("a stream stays whole"))
    });
    for (skipped, seen) in seen.into_iter().enumerate() {
        let wanted: Vec<u64> = written.iter().copied().skip(skipped).collect();
        let missed = wanted.iter().find(|index| seen.binary_search(index).is_err());
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{cores} cores: the indices do not strictly grow");
        assert!(
            seen == wanted,
            "{cores} cores: saw {} events of {}, missed first {missed:?}",
            seen.len(),
            wanted.len()
        );
    }
}

#[test]
fn the_whole_past_of_the_root_is_replayed_by_one_executor() {
    uetcd_only!("etcd keeps 1000 events (history), and its replays stop after one (stream-replay)");
    check("1");
}

#[test]
fn the_whole_past_of_the_root_is_replayed_by_two_executors() {
    uetcd_only!("etcd keeps 1000 events (history), and its replays stop after one (stream-replay)");
    check("2");
}
