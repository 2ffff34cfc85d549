//! Values near the limit of a body: delivered whole to watchers, and taken from many clients at once in bounded memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Connection, PATIENCE, Plan, Server, env_number, uetcd_only};

/// A value with its form stays below the 10 MiB that a body may have, and above what may wait for a watcher.
const VALUE_BYTES: usize = 9_000_000;
/// Clients that send such values at the same time.
const WRITERS: u64 = 40;
/// Keys that they write, so that the tree does not grow with them.
const KEYS: u64 = 4;
/// What the server's memory may grow to meanwhile: of each writer its body as it was received, in a buffer that may have doubled; 64 MiB of
/// commands that wait, for each executor; and what the log, the history and the tree keep.
const RESIDENT_BYTES: u64 = WRITERS * 2 * VALUE_BYTES as u64 + (768 << 20);

fn watch(server: &Server, target: &str) -> Connection {
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    connection.request("GET", &format!("/v2/keys{target}"), None).expect("the server reads");
    assert_eq!(connection.head().expect("the head comes at once").status, 200);
    connection
}

/// The next event must have this value.
fn expect(who: &str, connection: &mut Connection, value: &str) {
    let event = connection.event().unwrap_or_else(|e| panic!("{who}: {e}"));
    let got = event["node"]["value"].as_str().unwrap_or_default();
    assert!(got == value, "{who}: {} bytes instead of {}", got.len(), value.len());
}

#[test]
fn an_event_of_megabytes_reaches_every_kind_of_watcher() {
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    let mut stream = watch(&server, "/large?wait=true&stream=true");
    let mut root = watch(&server, "/?wait=true&recursive=true&stream=true");
    let mut first = 0;
    for n in 0..2 {
        let value = format!("{n}{}", "v".repeat(VALUE_BYTES));
        let mut poll = watch(&server, "/large?wait=true");
        let index = server.client().set("/large", &value);
        first = if n == 0 { index } else { first };
        expect("a long poll", &mut poll, &value);
        expect("a stream", &mut stream, &value);
        expect("a stream on the root", &mut root, &value);
        let mut late = watch(&server, &format!("/large?wait=true&waitIndex={index}"));
        expect("a replay", &mut late, &value);
    }
    if server.flavor() == crate::harness::Flavor::Uetcd {
        let mut all = watch(&server, &format!("/?wait=true&recursive=true&stream=true&waitIndex={}", first + 1));
        expect("a replay of the root", &mut all, &format!("1{}", "v".repeat(VALUE_BYTES)));
    }
    server.client().set("/large", "small again");
    expect("a stream", &mut stream, "small again");
}

/// How one of many writes ended.
fn put(server: &Server, writer: u64, value: &str) -> (u16, Duration) {
    let mut client = server.client();
    let begun = Instant::now();
    let target = format!("/v2/keys/big{}/k?noValueOnSuccess=true", writer % KEYS);
    let answer = client.request("PUT", &target, Some(&format!("value={value}")));
    if answer.status >= 300 {
        let error = answer.json();
        assert_eq!((answer.status, error["errorCode"].as_u64()), (500, Some(300)), "{error}");
        // Refused for want of room, not given up after a long wait.
        assert_ne!(error["cause"], "etcdserver: request timed out", "after {:?}", begun.elapsed());
    }
    (answer.status, begun.elapsed())
}

#[test]
fn many_large_writes_at_once_are_taken_or_refused_in_bounded_memory() {
    uetcd_only!("etcd's memory is its own business");
    let mut server = Plan::new().uetcd_args(["--cores", "2"]).start();
    let value = "v".repeat(VALUE_BYTES);
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let answers: Vec<_> = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(server.resident_bytes(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let writers: Vec<_> = (0..env_number("SUITE_LARGE_WRITERS", WRITERS))
            .map(|n| {
                let (server, value) = (&server, &value);
                scope.spawn(move || put(server, n, value))
            })
            .collect();
        let answers: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        answers
    });
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("every write is answered")).collect();
    let taken = answers.iter().filter(|(status, _)| *status < 300).count();
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap_or_default();
    println!(
        "{taken} of {} taken, the slowest in {slowest:?}, at most {} MiB resident",
        answers.len(),
        peak.load(Ordering::Relaxed) >> 20
    );
    assert!(taken > 0, "none was taken");
    assert!(peak.into_inner() <= RESIDENT_BYTES, "more than {} MiB resident", RESIDENT_BYTES >> 20);
    assert!(server.alive());
    let asked = Instant::now();
    server.client().set("/small", "1");
    assert!(asked.elapsed() < PATIENCE / 4, "a small write afterwards took {:?}", asked.elapsed());
}
