//! One total order over all shards and cores, as clients see it: in watches, in listings, and from one connection to the next.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::{Client, Connection, Flavor, PATIENCE, Plan, Server};

/// Top-level directories, so that every shard and core has several.
const DIRECTORIES: u64 = 64;

fn start() -> Server {
    Plan::new().uetcd_args(["--cores", "2"]).start()
}

/// An acknowledged write.
type Acked = BTreeMap<u64, (String, String)>;

/// Writes from several connections at once, `each` from every one, spread over all directories; what was acknowledged, by index.
///
/// etcd silently drops a stream that falls 100 events behind, so it is given a gentler load.
fn write_concurrently(server: &Server, label: &str, each: u64) -> Acked {
    let (writers, each) = if server.flavor() == Flavor::Uetcd { (8, each) } else { (2, 300) };
    let acked = Mutex::new(Acked::new());
    let newest = AtomicU64::new(0);
    let write = |writer: u64, n: u64, client: &mut Client| {
        let key = format!("/o{}/{label}{writer}", (writer + n * 7) % DIRECTORIES);
        let value = format!("{writer}.{n}");
        let before = newest.load(Ordering::SeqCst);
        let index = client.set(&key, &value);
        // A write begun after another was acknowledged comes after it, whatever the shards and cores.
        assert!(index > before, "index {index} for a write begun after {before} was acknowledged");
        newest.fetch_max(index, Ordering::SeqCst);
        let old = acked.lock().expect("no writer panicked").insert(index, (key, value));
        assert_eq!(old, None, "index {index} was given twice");
    };
    thread::scope(|scope| {
        for writer in 0..writers {
            let (write, mut client) = (&write, server.client());
            scope.spawn(move || (0..each).for_each(|n| write(writer, n, &mut client)));
        }
    });
    acked.into_inner().expect("no writer panicked")
}

fn event_of(event: &Value) -> (u64, (String, String)) {
    let node = &event["node"];
    let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
    (node["modifiedIndex"].as_u64().expect("an event has an index"), (text("key"), text("value")))
}

#[test]
fn a_stream_on_the_root_sees_every_event_once_in_index_order() {
    let server = start();
    let mut stream = Connection::open(server.address()).expect("the server accepts");
    stream.request("GET", "/v2/keys/?wait=true&recursive=true&stream=true", None).expect("the server reads");
    assert_eq!(stream.head().expect("the head comes at once").status, 200);
    let seen = thread::spawn(move || {
        let mut seen = Vec::new();
        loop {
            let (index, what) = event_of(&stream.event().expect("an event"));
            if what.0 == "/end" {
                return seen;
            }
            seen.push((index, what));
        }
    });
    let acked = write_concurrently(&server, "s", 500);
    server.client().set("/end", "");
    let seen = seen.join().expect("the stream stays whole");
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "indices do not strictly grow");
    assert!(seen == acked.into_iter().collect::<Vec<_>>(), "the stream is not what was acknowledged");
}

/// The files of a listing: key to (modified index, value).
fn files(node: &Value, into: &mut BTreeMap<String, (u64, String)>) {
    match node["nodes"].as_array() {
        Some(nodes) => nodes.iter().for_each(|node| files(node, into)),
        None if node["dir"] == true => {}
        None => {
            let (index, (key, value)) = event_of(&serde_json::json!({ "node": node }));
            into.insert(key, (index, value));
        }
    }
}

#[test]
fn listing_then_watching_misses_nothing_and_repeats_nothing() {
    let server = start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers = scope.spawn(|| {
            let acked = write_concurrently(&server, "l", 100);
            server.client().set("/end", "");
            done.store(true, Ordering::SeqCst);
            acked
        });
        let followers: Vec<_> = (0..3).map(|_| scope.spawn(|| follow(&server))).collect();
        let acked = writers.join().expect("the writers finish");
        for follower in followers {
            let (since, seen, state) = follower.join().expect("a follower finishes");
            let missed: Vec<_> = acked.keys().filter(|index| **index > since && !seen.contains(index)).collect();
            assert!(missed.is_empty(), "listed at {since}, then never saw {missed:?}");
            assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "an event was repeated or out of order");
            let last: BTreeMap<_, _> =
                acked.iter().map(|(index, (key, value))| (key.clone(), (*index, value.clone()))).collect();
            assert!(state == last, "listing plus events is not the final state");
        }
    });
}

/// Lists the root, then applies events one long poll at a time up to `/end`: the listing's index, the indices seen, and the state arrived at.
fn follow(server: &Server) -> (u64, Vec<u64>, BTreeMap<String, (u64, String)>) {
    let mut client = server.client();
    let listing = client.get("/v2/keys/?recursive=true");
    let mut state = BTreeMap::new();
    files(&listing.json()["node"], &mut state);
    let mut seen = Vec::new();
    let mut next = listing.index() + 1;
    loop {
        let answer = client.get(&format!("/v2/keys/?recursive=true&wait=true&waitIndex={next}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let (index, (key, value)) = event_of(&answer.json());
        if key == "/end" {
            return (listing.index(), seen, state);
        }
        seen.push(index);
        state.insert(key, (index, value));
        next = index + 1;
    }
}

#[test]
fn a_listing_of_the_root_is_one_cut() {
    const PAIRS: u64 = 16;
    let server = start();
    for pair in 0..PAIRS {
        server.client().set(&format!("/a{pair}"), "0");
        server.client().set(&format!("/b{pair}"), "0");
    }
    let done = AtomicBool::new(false);
    let number = |node: &BTreeMap<String, (u64, String)>, key: String| -> u64 {
        node[&key].1.parse().expect("values are numbers")
    };
    thread::scope(|scope| {
        for writer in 0..4 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut client = server.client();
                for n in 1.. {
                    for pair in (0..PAIRS).filter(|pair| pair % 4 == writer) {
                        client.set(&format!("/a{pair}"), &n.to_string());
                        client.set(&format!("/b{pair}"), &n.to_string());
                    }
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let listers: Vec<_> = ["", "&quorum=true"]
            .map(|quorum| {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.client();
                    let mut previous = 0;
                    for _ in 0..300 {
                        let listing = client.get(&format!("/v2/keys/?recursive=true{quorum}"));
                        assert!(listing.index() >= previous, "a later listing shows an earlier cut");
                        previous = listing.index();
                        let mut state = BTreeMap::new();
                        files(&listing.json()["node"], &mut state);
                        for (key, (index, _)) in &state {
                            assert!(
                                *index <= listing.index(),
                                "{key} changed at {index}, listed at {}",
                                listing.index()
                            );
                        }
                        for pair in 0..PAIRS {
                            let (a, b) = (number(&state, format!("/a{pair}")), number(&state, format!("/b{pair}")));
                            assert!(a >= b && b + 1 >= a, "pair {pair}: first {a}, second {b}, at {}", listing.index());
                        }
                    }
                })
            })
            .into_iter()
            .collect();
        let results: Vec<_> = listers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "a listing was no cut");
    });
}

#[test]
fn an_acknowledged_write_is_seen_on_every_connection() {
    let server = start();
    let mut writer = server.client();
    // Many connections, so that every executor has some.
    let mut readers: Vec<_> = (0..16).map(|_| server.client()).collect();
    for n in 0..200 {
        let key = format!("/r{}/k", n % DIRECTORIES);
        let index = writer.set(&key, &n.to_string());
        for reader in &mut readers {
            let answer = reader.get(&format!("/v2/keys{key}"));
            assert_eq!(answer.json()["node"]["value"], n.to_string());
            assert!(answer.index() >= index, "read at {} after a write at {index}", answer.index());
        }
    }
}

#[test]
fn in_order_keys_are_unique_and_named_by_their_index() {
    let server = start();
    let names = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = server.client();
                for directory in ["/queue", "", "/queue2/deep"].repeat(15) {
                    let answer = client.request("POST", &format!("/v2/keys{directory}"), Some("value=1"));
                    assert_eq!(answer.status, 201, "{answer:?}");
                    let (index, (key, _)) = event_of(&answer.json());
                    assert_eq!(key, format!("{directory}/{index:020}"));
                    names.lock().expect("nobody panicked").push(index);
                }
            });
        }
    });
    let mut names = names.into_inner().expect("nobody panicked");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 6 * 45);
    let mut client = server.client();
    for index in names.iter().take(40) {
        let found = ["/queue", "", "/queue2/deep"].iter().any(|d| client.value(&format!("{d}/{index:020}")).is_some());
        assert!(found, "in-order key {index} cannot be read");
    }
}

#[test]
fn concurrent_compare_and_swap_loses_no_increment() {
    let server = start();
    server.client().set("/counter", "0");
    let lost = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = server.client();
                let mut done = 0;
                while done < 40 {
                    let node = client.get("/v2/keys/counter").json()["node"].clone();
                    let next = node["value"].as_str().and_then(|v| v.parse::<u64>().ok()).expect("a number") + 1;
                    let at = node["modifiedIndex"].to_string();
                    let answer = client.put("/v2/keys/counter", &[("value", &next.to_string()), ("prevIndex", &at)]);
                    match answer.status {
                        200 => done += 1,
                        412 => drop(lost.fetch_add(1, Ordering::Relaxed)),
                        _ => panic!("{answer:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(server.client().value("/counter").as_deref(), Some("240"));
    println!("{} swaps were lost and tried again", lost.into_inner());
}

#[test]
fn watchers_of_one_key_on_many_connections_see_the_same_order() {
    let server = start();
    let mut streams: Vec<_> = (0..8).map(|_| Connection::open(server.address()).expect("the server accepts")).collect();
    for stream in &mut streams {
        stream.request("GET", "/v2/keys/k?wait=true&stream=true", None).expect("the server reads");
        stream.head().expect("the head comes at once");
    }
    thread::scope(|scope| {
        for writer in 0..4 {
            let mut client = server.client();
            scope.spawn(move || {
                for n in 0..20 {
                    client.set("/k", &format!("{writer}.{n}"));
                }
            });
        }
    });
    let read = |stream: &mut Connection| -> Vec<_> {
        stream.set_patience(PATIENCE);
        (0..80).map(|_| event_of(&stream.event().expect("an event"))).collect()
    };
    let first = read(&mut streams[0]);
    assert!(first.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for stream in &mut streams[1..] {
        assert_eq!(read(stream), first);
    }
}
