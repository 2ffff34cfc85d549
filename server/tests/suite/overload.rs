//! A server with little memory, more watchers than read, and more work than it can do: it refuses some, and is not killed for its memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Connection, ControlGroup, PATIENCE, Plan, Server, SetOnDrop, encode, env_number, eventually, uetcd_only,
};
use crate::watch_limits::{open_watch, raise_descriptor_limit};

/// What the whole server may take.
const MEMORY_BYTES: u64 = 256 << 20;
/// Of events that are kept, for all shards together: what an operator with so little memory would allow.
const HISTORY: [&str; 4] = ["--history-events", "2000", "--history-bytes", "1048576"];
/// Streams of everything that nobody reads, unless `SUITE_STUCK` says otherwise.
const STUCK: u64 = 500;
/// What is freed goes back to the system at once, not after ten seconds: by then the load has freed more than there may be.
const GIVE_BACK: [&str; 2] = ["MIMALLOC_PURGE_DELAY", "0"];
/// Connections of the load, and what each has under way at a time: many times what the server does meanwhile.
const CONNECTIONS: u64 = 64;
const WINDOW: u64 = 64;
/// Keys that are written over and over.
const KEYS: u64 = 4_096;
const VALUE_BYTES: usize = 1024;
/// Others must be served still, if slowly.
const SERVED: Duration = Duration::from_secs(10);

/// What came of the load, by status.
type Counts = BTreeMap<u16, u64>;

/// Writes as fast as the server takes it, until `stop`, or until the server is gone.
fn overload(address: SocketAddr, number: u64, stop: &AtomicBool) -> Counts {
    let (value, mut counts, mut n) = ("v".repeat(VALUE_BYTES), Counts::new(), number);
    let mut connection = Connection::open(address).expect("the server accepts");
    while !stop.load(Ordering::SeqCst) {
        let mut window = String::new();
        for _ in 0..WINDOW {
            n += CONNECTIONS;
            let key = format!("/v2/keys/o{}/k{}", n % KEYS % 61, n % KEYS);
            window += &encode("PUT", &key, Some(&format!("value={n}{value}")));
        }
        let sent = connection.send(window.as_bytes());
        let answers = (0..WINDOW).map_while(|_| connection.response("PUT").ok());
        let answers = if sent.is_ok() { answers.map(|answer| answer.status).collect() } else { Vec::new() };
        for status in &answers {
            *counts.entry(*status).or_default() += 1;
        }
        if answers.len() < WINDOW as usize {
            break;
        }
    }
    counts
}

/// The slowest answer to somebody else, until `until` or until the server is gone.
fn well_behaved(server: &Server, until: Instant) -> Duration {
    let (mut client, mut slowest) = (server.client(), Duration::ZERO);
    while Instant::now() < until {
        let asked = Instant::now();
        let Ok(answer) = client.attempt("GET", "/v2/keys/o1?quorum=true", None) else { break };
        assert!(answer.status == 200 || answer.status >= 500, "{answer:?}");
        slowest = slowest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    slowest
}

#[test]
fn an_overloaded_server_with_little_memory_refuses_and_lives() {
    uetcd_only!("etcd's memory is its own business");
    let stuck = env_number("SUITE_STUCK", STUCK);
    raise_descriptor_limit(stuck + 1000);
    let group = ControlGroup::of("memory");
    group.set("memory.limit_in_bytes", &MEMORY_BYTES.to_string());
    let server =
        Plan::new().args(["--cores", "2"]).args(HISTORY).env(GIVE_BACK[0], GIVE_BACK[1]).after(&group.enter()).start();
    let mut client = server.client();
    client.set("/o1/k0", "1");
    let everything = "/v2/keys/?wait=true&recursive=true&stream=true";
    let watches: Vec<Connection> = (0..stuck).map(|_| open_watch(&server, everything)).collect();
    eventually("all are counted", PATIENCE, || (client.watchers() == stuck).then_some(()));
    println!("{stuck} watchers: {} MiB", server.resident_bytes() >> 20);
    let length = Duration::from_secs(env_number("SUITE_OVERLOAD", 10));
    let (stop, address) = (AtomicBool::new(false), server.address());
    let (slowest, counts) = thread::scope(|scope| {
        let stop = &stop;
        let end = SetOnDrop(stop);
        let loads: Vec<_> = (0..CONNECTIONS).map(|n| scope.spawn(move || overload(address, n, stop))).collect();
        let slowest = well_behaved(&server, Instant::now() + length);
        drop(end);
        let mut counts = Counts::new();
        for load in loads {
            for (status, count) in load.join().expect("the load goes on") {
                *counts.entry(status).or_default() += count;
            }
        }
        (slowest, counts)
    });
    let killed = group.get("memory.oom_control");
    let peak: u64 = group.get("memory.max_usage_in_bytes").trim().parse().expect("a number");
    println!(
        "overload: {} s, {stuck} stuck watchers, answers by status {counts:?}, at most {} of {} MiB taken, others waited {slowest:?} at most",
        length.as_secs(),
        peak >> 20,
        MEMORY_BYTES >> 20
    );
    assert!(killed.lines().any(|line| line == "oom_kill 0"), "{killed}");
    assert!(counts.keys().all(|status| [200, 201, 500, 503].contains(status)), "{counts:?}");
    assert!(slowest < SERVED, "somebody waited {slowest:?}");
    eventually("none of the stuck watchers is left", PATIENCE, || (client.watchers() == 0).then_some(()));
    drop(watches);
    client.set("/afterwards", "1");
}
