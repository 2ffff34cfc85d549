//! Many watchers, and watchers that do not read.

use std::time::Duration;

use crate::harness::{Connection, Flavor, PATIENCE, Server, env_number, eventually};

/// Idle watchers of one node.
const IDLE: usize = 10_000;
/// What they may add to the server's resident memory.
const IDLE_BYTES: u64 = 100 << 20;

/// Lets this process, and the server it starts, have as many descriptors as the machine allows.
pub(crate) fn raise_descriptor_limit(wanted: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls, which only read and write it.
    let rc = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_max = limit.rlim_max.max(wanted);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    assert!(rc == 0 && limit.rlim_cur >= wanted, "needs {wanted} descriptors: raise `ulimit -Hn`, or run as root");
}

/// A connection with a watch whose head has come.
pub(crate) fn open_watch(server: &Server, target: &str) -> Connection {
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    connection.request("GET", target, None).expect("the server reads");
    assert_eq!(connection.head().expect("the head comes at once").status, 200);
    connection
}

#[test]
fn ten_thousand_idle_watchers_are_cheap_and_all_wake_up() {
    raise_descriptor_limit(IDLE as u64 + 1000);
    let server = Server::start();
    let mut client = server.client();
    client.set("/warm", "up");
    let before = server.resident_bytes();
    let mut watches: Vec<_> =
        (0..IDLE).map(|n| open_watch(&server, &format!("/v2/keys/d{}/k{}?wait=true", n % 100, n / 100))).collect();
    eventually("all are counted", PATIENCE, || (client.watchers() == IDLE as u64).then_some(()));
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{IDLE} idle watchers: {} MiB", grown >> 20);
    // etcd spends some 280 MiB here.
    assert!(server.flavor() == Flavor::Etcd || grown <= IDLE_BYTES, "{IDLE} idle watchers took {grown} bytes");
    for (n, watch) in watches.iter_mut().enumerate().step_by(97) {
        client.set(&format!("/d{}/k{}", n % 100, n / 100), "woken");
        assert_eq!(watch.event().expect("an event")["node"]["value"], "woken");
    }
}

#[test]
fn a_thousand_watchers_of_one_key_all_get_its_event() {
    raise_descriptor_limit(3000);
    let server = Server::start();
    let mut watches: Vec<_> = (0..1000).map(|_| open_watch(&server, "/v2/keys/hot?wait=true")).collect();
    let index = server.client().set("/hot", "1");
    for watch in &mut watches {
        assert_eq!(watch.event().expect("an event")["node"]["modifiedIndex"], index);
    }
}

#[test]
fn a_stream_that_does_not_read_is_ended_not_buffered_for_ever() {
    let server = Server::start();
    let mut client = server.client();
    let value = "v".repeat(100_000);
    client.set("/slow/warm", &value);
    let mut stream = open_watch(&server, "/v2/keys/slow?wait=true&stream=true&recursive=true");
    let before = server.resident_bytes();
    let written = env_number("SUITE_SLOW_EVENTS", 400);
    let first = client.set("/slow/k0", &value);
    // One key, so that the tree does not grow with the events.
    for n in 1..written {
        client.set("/slow/k0", &format!("{n}{value}"));
    }
    eventually("the slow watcher is dropped", PATIENCE, || (client.watchers() == 0).then_some(()));
    println!(
        "memory grew by {} MiB for {} MB of events",
        server.resident_bytes().saturating_sub(before) >> 20,
        written / 10
    );
    if server.flavor() == Flavor::Etcd {
        return;
    }
    // What was queued arrives in order, then the response ends visibly (documented as slow-stream-ends).
    let mut expected = first;
    while let Ok(event) = stream.event() {
        assert_eq!(event["node"]["modifiedIndex"], expected);
        expected += 1;
    }
    assert!(expected < first + written, "everything arrived: the stream was not slow");
    stream.set_patience(Duration::from_millis(500));
    assert!(stream.rest().is_ok(), "the connection of a dropped stream stays open");
}
