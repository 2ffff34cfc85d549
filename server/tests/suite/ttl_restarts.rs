//! Lifetimes across restarts that begin from snapshots: what was left is what is left.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Plan, Server, eventually, uetcd_only};

/// The lifetime of keys that outlive a stop, and how long it lasts.
const TTL: Duration = Duration::from_secs(4);
const DOWN: Duration = Duration::from_secs(5);

/// Writes until there are several snapshots: how many a load leads to depends on how fast it comes.
fn write_past_snapshots(server: &Server) {
    let snapshots = || std::fs::read_dir(server.plan().data().join("member/snap")).map_or(0, Iterator::count);
    eventually("there are snapshots", Duration::from_secs(10), || {
        crate::harness::load(server, 1_500, |n| (format!("/s{}/k{}", n % 32, n % 7), format!("value={n}")));
        (snapshots() >= 16).then_some(())
    });
}

fn plan() -> Plan {
    Plan::new().uetcd_args(["--cores", "2"]).args([
        "--snapshot-count",
        "20",
        "--heartbeat-interval",
        "5",
        "--election-timeout",
        "50",
    ])
}

fn set(client: &mut Client, key: &str, ttl: u64) {
    let answer = client.put(&format!("/v2/keys{key}"), &[("value", "v"), ("ttl", &ttl.to_string())]);
    assert!(answer.status < 300, "{answer:?}");
}

fn shown(client: &mut Client, key: &str) -> u64 {
    client.get(&format!("/v2/keys{key}")).json()["node"]["ttl"].as_u64().unwrap_or_else(|| panic!("{key} has no ttl"))
}

#[test]
fn nothing_expires_early_after_a_stop_longer_than_what_was_left() {
    uetcd_only!("etcd's lifetimes go on while it is down (ttl-stands-still)");
    let server = plan().start();
    let mut client = server.client();
    let begun = Instant::now();
    for n in 0..24 {
        set(&mut client, &format!("/t{n}/k"), TTL.as_secs());
    }
    write_past_snapshots(&server);
    let plan = server.plan().clone();
    assert_eq!(server.terminate(libc::SIGTERM).code(), 143);
    let lived = begun.elapsed();
    assert!(lived < TTL, "too slow a machine: the keys ended before the stop");
    thread::sleep(DOWN);

    let started = Instant::now();
    let server = plan.start();
    let ready = Instant::now();
    let mut client = server.client();
    let left = TTL.saturating_sub(lived);
    for n in 0..24 {
        let there = client.value(&format!("/t{n}/k")).is_some();
        assert!(there || started.elapsed() >= left, "/t{n}/k went early: {left:?} were left");
    }
    while started.elapsed() < left {
        for n in 0..24 {
            let there = client.value(&format!("/t{n}/k")).is_some();
            assert!(there || started.elapsed() >= left, "/t{n}/k went early: {left:?} were left");
        }
        thread::sleep(Duration::from_millis(20));
    }
    // The keys were set up to `lived` later than the first. How late an expiry may be is tested elsewhere, without neighbours.
    let limit = (ready + TTL + Duration::from_secs(6)).saturating_duration_since(Instant::now());
    eventually("all go in the end", limit, || {
        (0..24).all(|n| client.value(&format!("/t{n}/k")).is_none()).then_some(())
    });
}

#[test]
fn a_kill_changes_what_is_left_by_at_most_a_second() {
    uetcd_only!("etcd's lifetimes go on while it is down (ttl-stands-still)");
    let mut server = plan().start();
    for n in 0..24 {
        set(&mut server.client(), &format!("/t{n}/k"), 1_000);
    }
    for round in 0..3 {
        write_past_snapshots(&server);
        thread::sleep(Duration::from_millis(300 * round));
        let keys: Vec<_> = (0..24).map(|n| format!("/t{n}/k")).collect();
        let mut client = server.client();
        let before: Vec<u64> = keys.iter().map(|key| shown(&mut client, key)).collect();
        let asked = Instant::now();
        let plan = server.kill();
        let killed = asked.elapsed();
        thread::sleep(Duration::from_millis(1_200));
        let started = Instant::now();
        server = plan.start();
        let mut client = server.client();
        for (key, before) in keys.iter().zip(before) {
            let after = shown(&mut client, key);
            // A shown number is a ceiling, so two of them may differ by one more.
            let ran = (killed + started.elapsed()).as_secs() + 1;
            assert!(after <= before + 1, "round {round}: {key} grew from {before} to {after}");
            assert!(after + ran + 1 >= before, "round {round}: {key} shrank from {before} to {after} in {ran} s");
        }
    }
}
