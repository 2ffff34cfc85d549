//! Many watchers, and watchers that do not read.

use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Connection, Flavor, PATIENCE, Plan, Server, SetOnDrop, encode, env_number, eventually, uetcd_only,
};

/// Idle watchers of one node.
const IDLE: usize = 10_000;
/// What they may add to the server's resident memory.
const IDLE_BYTES: u64 = 100 << 20;

/// Streams of one key, half of which nobody reads; and how large its values are.
const LAZY: usize = 300;
const LAZY_VALUE_BYTES: usize = 8 << 10;
/// Writes of that key that are under way at a time.
const LAZY_WINDOW: usize = 32;
/// Events that may wait for them, with those of what is under way.
const LAZY_EVENTS: u64 = 640 << 10;
/// How long they may hold up a write.
const LAZY_HOLD_UP: Duration = Duration::from_secs(5);

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

/// Takes an event or so from each stream now and then, until `stop`.
fn sip(streams: &[Connection], stop: &AtomicBool) {
    let mut sip = [0; LAZY_VALUE_BYTES];
    while !stop.load(Ordering::SeqCst) {
        for stream in streams {
            // There may be nothing, or no more of it.
            let _ = stream.socket().read(&mut sip);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Writes one key, a window at a time, until nobody watches any more: the slowest window, and the most events that waited.
fn write_until_unwatched(server: &Server) -> (Duration, u64) {
    let (mut client, mut writer) = (server.client(), Connection::open(server.address()).expect("the server accepts"));
    let put = encode("PUT", "/v2/keys/lazy/k", Some(&format!("value={}", "v".repeat(LAZY_VALUE_BYTES))));
    let window = put.repeat(LAZY_WINDOW);
    let (mut slowest, mut most, begun) = (Duration::ZERO, 0, Instant::now());
    while client.watchers() > 0 {
        assert!(begun.elapsed() < 3 * PATIENCE, "{} watchers are left, {most} events waited", client.watchers());
        let sent = Instant::now();
        writer.send(window.as_bytes()).expect("the server reads");
        for _ in 0..LAZY_WINDOW {
            let answer = writer.response("PUT").expect("an answer");
            assert!(answer.status == 200 || answer.status == 201, "{answer:?}");
        }
        slowest = slowest.max(sent.elapsed());
        most = most.max(client.metric("uetcd_watch_events_waiting"));
    }
    (slowest, most)
}

#[test]
fn watchers_that_read_little_or_nothing_are_cut_off_before_too_much_waits_for_all_of_them() {
    uetcd_only!("etcd cuts off each that is a hundred events behind");
    raise_descriptor_limit(3000);
    let server = Plan::new().args(["--cores", "1"]).start();
    let target = "/v2/keys/lazy?wait=true&stream=true&recursive=true";
    let streams: Vec<Connection> = (0..LAZY).map(|_| open_watch(&server, target)).collect();
    for stream in &streams {
        let little: libc::c_int = 4096;
        let (fd, length) = (stream.socket().as_raw_fd(), size_of_val(&little) as libc::socklen_t);
        // SAFETY: `little` outlives the call, which only reads it.
        let rc = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, (&raw const little).cast(), length) };
        assert_eq!(rc, 0, "the sockets must not take all events");
        stream.socket().set_nonblocking(true).expect("a socket");
    }
    let stop = AtomicBool::new(false);
    let (slowest, most) = thread::scope(|scope| {
        let end = SetOnDrop(&stop);
        scope.spawn(|| sip(&streams[..LAZY / 2], &stop));
        let found = write_until_unwatched(&server);
        drop(end);
        found
    });
    let mut client = server.client();
    println!("lazy: {most} events waited, the slowest window of writes took {slowest:?}");
    // Whether writes had to wait for that depends on whether any came in the two tenths of a second.
    // On a busy machine they may have taken nothing for a second before so many wait.
    assert!((LAZY_EVENTS / 16..=LAZY_EVENTS).contains(&most), "{most} events waited");
    assert!(slowest < LAZY_HOLD_UP, "a window took {slowest:?}");
    assert_eq!(client.metric("uetcd_watchers_cut_total"), LAZY as u64);
    assert_eq!(client.metric("uetcd_watch_events_waiting"), 0);
}
