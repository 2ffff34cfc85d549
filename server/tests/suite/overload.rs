//! A server with little memory, more watchers than read, and more work than it can do: it refuses some, and is not killed for its memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, Connection, ControlGroup, PATIENCE, Plan, Server, SetOnDrop, encode, env_number, eventually, uetcd_only,
};
use crate::watch_limits::{open_watch, raise_descriptor_limit};

/// What the whole server may take.
const MEMORY_BYTES: u64 = 256 << 20;
/// Of events that are kept, for all shards together: what an operator with so little memory would allow.
const HISTORY_BYTES: u64 = 1 << 20;
/// Streams of everything that nobody reads, unless `SUITE_STUCK` says otherwise.
const STUCK: u64 = 500;
/// What is freed goes back to the system at once, not after ten seconds: by then the load has freed more than there may be.
const GIVE_BACK: [&str; 2] = ["MIMALLOC_PURGE_DELAY", "0"];
/// Keys that are written over and over.
const KEYS: u64 = 4_096;
/// Others must be served still, if slowly.
const SERVED: Duration = Duration::from_secs(10);
/// A load whose parts are refused at once offers at least so many times what is served.
const OVERLOAD: u64 = 4;
/// What requests that are over may still hold: the connections' own buffers.
const LEFT_BYTES: u64 = 4 << 20;

/// Clients that write as fast as the server takes it.
#[derive(Clone, Copy)]
struct Load {
    /// So many together.
    connections: u64,
    /// Each sends so many before it reads what they came to.
    window: u64,
    value_bytes: usize,
    /// Keys, each overwritten again and again.
    keys: u64,
}

/// What came of it, by status; 0: a connection ended without an answer.
type Counts = BTreeMap<u16, u64>;

impl Load {
    /// All of them, until `stop`, or until the server is gone. A few threads are enough for them.
    fn run(self, address: SocketAddr, stop: &AtomicBool) -> Counts {
        let threads = self.connections.min(64);
        thread::scope(|scope| {
            let own = |n: u64| (n..self.connections).step_by(threads as usize);
            let loads: Vec<_> = (0..threads).map(|n| scope.spawn(move || self.write(address, own(n), stop))).collect();
            let mut counts = Counts::new();
            for (status, count) in loads.into_iter().flat_map(|load| load.join().expect("the load goes on")) {
                *counts.entry(status).or_default() += count;
            }
            counts
        })
    }

    fn write(self, address: SocketAddr, own: impl Iterator<Item = u64>, stop: &AtomicBool) -> Counts {
        let (value, mut counts) = ("v".repeat(self.value_bytes), Counts::new());
        let mut connections: Vec<_> = own.map(|n| (n, Connection::open(address).ok())).collect();
        while !stop.load(Ordering::SeqCst) {
            for (n, connection) in &mut connections {
                let window: String = (0..self.window).map(|_| self.request(n, &value)).collect();
                if connection.as_mut().is_some_and(|open| open.send(window.as_bytes()).is_err()) {
                    *counts.entry(0).or_default() += self.window;
                    *connection = None;
                }
            }
            for (_, connection) in &mut connections {
                let Some(open) = connection else {
                    *connection = Connection::open(address).ok();
                    continue;
                };
                let statuses: Vec<u16> =
                    (0..self.window).map_while(|_| Some(open.response("PUT").ok()?.status)).collect();
                for status in &statuses {
                    *counts.entry(*status).or_default() += 1;
                }
                if statuses.len() < self.window as usize {
                    *counts.entry(0).or_default() += self.window - statuses.len() as u64;
                    *connection = None;
                }
            }
        }
        counts
    }

    fn request(self, n: &mut u64, value: &str) -> String {
        *n += self.connections;
        let key = format!("/v2/keys/o{}/k{}", *n % self.keys % 61, *n % self.keys);
        encode("PUT", &key, Some(&format!("value={n}{value}")))
    }
}

/// The slowest answer to somebody else, until `until` or until the server is gone.
fn well_behaved(server: &Server, until: Instant) -> Duration {
    let (mut client, mut slowest, mut answered) = (server.client(), Duration::ZERO, 0);
    while Instant::now() < until {
        let asked = Instant::now();
        let answer = client.attempt("GET", "/v2/keys/o1?quorum=true", None).expect("the server answers");
        assert!(answer.status == 200 || answer.status >= 500, "{answer:?}");
        answered += usize::from(answer.status == 200);
        slowest = slowest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(answered > 0, "nobody else was served");
    slowest
}

/// A server that may take no more than [`MEMORY_BYTES`].
struct Confined {
    server: Server,
    group: ControlGroup,
}

impl Confined {
    fn start() -> Self {
        Self::with_history(HISTORY_BYTES)
    }

    fn with_history(bytes: u64) -> Self {
        let group = ControlGroup::of("memory");
        group.set("memory.limit_in_bytes", &MEMORY_BYTES.to_string());
        let history = ["--history-events", "2000", "--history-bytes", &bytes.to_string()];
        let plan = Plan::new().args(["--cores", "2"]).args(history).env(GIVE_BACK[0], GIVE_BACK[1]);
        let server = plan.after(&group.enter()).start();
        server.client().set("/o1/k0", "1");
        Self { server, group }
    }

    /// So many streams of everything, which nobody need read.
    fn watchers(&self, count: u64) -> Vec<Connection> {
        let everything = "/v2/keys/?wait=true&recursive=true&stream=true";
        let watches = (0..count).map(|_| open_watch(&self.server, everything)).collect();
        let mut client = self.server.client();
        eventually("all are counted", PATIENCE, || (client.watchers() == count).then_some(()));
        watches
    }

    /// None of the stuck watchers is left.
    fn assert_cut_off(&self, watches: Vec<Connection>) {
        let mut client = self.server.client();
        eventually("none of the stuck watchers is left", PATIENCE, || (client.watchers() == 0).then_some(()));
        drop(watches);
    }

    /// Nobody holds an event any more.
    fn assert_no_event_left(&self) {
        let mut client = self.server.client();
        eventually("no event is left", PATIENCE, || (client.metric("uetcd_watch_events_bytes") == 0).then_some(()));
    }

    /// Nobody was killed for memory; the most that was taken, in MiB.
    fn assert_alive(&self) -> u64 {
        let killed = self.group.get("memory.oom_control");
        assert!(killed.lines().any(|line| line == "oom_kill 0"), "{killed}");
        self.server.peak_resident_bytes() >> 20
    }

    /// It serves again, and what requests held is given back.
    fn assert_recovers(&self) {
        let mut client = self.server.client();
        eventually("it serves again", PATIENCE, || {
            (client.put("/v2/keys/afterwards", &[("value", "1")]).status < 300).then_some(())
        });
        eventually("what was held is given back", PATIENCE, || {
            (client.metric("uetcd_request_memory_bytes") < LEFT_BYTES).then_some(())
        });
    }

    /// Loads it for so long; what came of that. Others are served all the same, and memory is enough.
    fn overload(&self, load: Load, length: Duration, beside: &str) -> Counts {
        let (stop, address) = (AtomicBool::new(false), self.server.address());
        let (slowest, counts) = thread::scope(|scope| {
            let stop = &stop;
            let end = SetOnDrop(stop);
            let running = scope.spawn(move || load.run(address, stop));
            let slowest = well_behaved(&self.server, Instant::now() + length);
            drop(end);
            (slowest, running.join().expect("the load goes on"))
        });
        let peak = self.assert_alive();
        let (Load { connections, window, value_bytes, .. }, seconds) = (load, length.as_secs());
        println!(
            "overload: {seconds} s, {connections} connections with {window} writes of {value_bytes} bytes each{beside}, answers by status \
             {counts:?}, at most {peak} of {} MiB taken, others waited {slowest:?} at most",
            MEMORY_BYTES >> 20
        );
        assert!(counts.keys().all(|status| [0, 200, 201, 500, 503].contains(status)), "{counts:?}");
        assert!(slowest < SERVED, "somebody waited {slowest:?}");
        counts
    }
}

fn length() -> Duration {
    Duration::from_secs(env_number("SUITE_OVERLOAD", 10))
}

#[test]
fn an_overloaded_server_with_little_memory_lives_and_cuts_off_who_does_not_read() {
    uetcd_only!("etcd's memory is its own business");
    let stuck = env_number("SUITE_STUCK", STUCK);
    raise_descriptor_limit(stuck + 1000);
    let confined = Confined::start();
    let mut client = confined.server.client();
    let watches = confined.watchers(stuck);
    println!("{stuck} watchers: {} MiB", confined.server.resident_bytes() >> 20);
    let load = Load { connections: 64, window: 64, value_bytes: 1024, keys: KEYS };
    confined.overload(load, length(), &format!(", {stuck} stuck watchers"));
    confined.assert_cut_off(watches);
    client.set("/afterwards", "1");
}

/// More writes under way than there is memory for, beside watchers that do not read: many are refused, and these are cut off.
#[test]
fn what_memory_is_not_enough_for_is_refused() {
    uetcd_only!("etcd's memory is its own business");
    raise_descriptor_limit(4000);
    let loads = [
        (Load { connections: 512, window: 8, value_bytes: 64 << 10, keys: 64 }, OVERLOAD),
        // Of so many smaller ones some wait in their sockets, and nobody asks again meanwhile.
        (Load { connections: 1000, window: 16, value_bytes: 32 << 10, keys: 128 }, 1),
    ];
    for (load, times) in loads {
        let confined = Confined::start();
        let watches = confined.watchers(STUCK);
        let counts = confined.overload(load, length() / loads.len() as u32, &format!(", {STUCK} stuck watchers"));
        let of = |statuses: &[u16]| statuses.iter().filter_map(|status| counts.get(status)).sum::<u64>();
        let (served, refused) = (of(&[200, 201]), of(&[0, 500, 503]));
        println!("overload: {served} served, {} times that asked for", (served + refused) / served.max(1));
        assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
        assert!(served + refused >= times * served, "{served} served, {refused} refused");
        assert!(confined.server.client().metric("uetcd_requests_without_room_total") > 0);
        confined.assert_cut_off(watches);
        confined.assert_recovers();
    }
}

/// Many small writes under way together wait in their sockets until there is room for them.
#[test]
fn small_requests_wait_outside_for_memory() {
    uetcd_only!("etcd's memory is its own business");
    raise_descriptor_limit(4000);
    let confined = Confined::start();
    let load = Load { connections: 1000, window: 64, value_bytes: 512, keys: KEYS };
    let counts = confined.overload(load, length() / 2, "");
    let served: u64 = [200, 201].iter().filter_map(|status| counts.get(status)).sum();
    let all: u64 = counts.values().sum();
    assert!(all >= load.connections * load.window && 100 * served >= 95 * all, "{counts:?}");
    confined.assert_recovers();
}

/// Values that are read by more clients than there is memory for their answers at a time: some are told so, and all have theirs in the end.
#[test]
fn large_answers_that_memory_is_not_enough_for_are_refused() {
    const CLIENTS: usize = 100;
    uetcd_only!("etcd's memory is its own business");
    let confined = Confined::start();
    let value = "v".repeat(6 << 20);
    confined.server.client().set("/large/k", &value);
    for target in ["/v2/keys/large/k?quorum=true", "/v2/keys/large/k", "/v2/keys/large", "/v2/keys/?recursive=true"] {
        let refused = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = confined.server.client();
                    let answer = eventually("an answer", 3 * PATIENCE, || {
                        let answer = client.attempt("GET", target, None).expect("the server answers");
                        let is_refused = answer.status == 500 && answer.text().contains("too many requests");
                        refused.fetch_add(u64::from(is_refused), Ordering::SeqCst);
                        (!is_refused).then_some(answer)
                    });
                    assert!(answer.status == 200 && answer.body.len() > value.len(), "{}", answer.status_line);
                });
            }
        });
        let (refused, peak) = (refused.into_inner(), confined.assert_alive());
        println!(
            "overload: {CLIENTS} clients have read {target} of 6 MiB, refused {refused} times, at most {peak} MiB taken"
        );
    }
    // What a write is answered with may be much larger than the write.
    let refresh = encode("PUT", "/v2/keys/large/k", Some("refresh=true&prevExist=true&ttl=100"));
    let mut connection = Connection::open(confined.server.address()).expect("the server accepts");
    connection.send(refresh.repeat(64).as_bytes()).expect("the server reads");
    for _ in 0..64 {
        let answer = connection.response("PUT").expect("the server answers");
        assert!(answer.status == 200 && answer.body.len() > 2 * value.len(), "{}", answer.status_line);
    }
    println!("overload: 64 answers of 12 MiB to one client, at most {} MiB taken", confined.assert_alive());
    confined.assert_recovers();
}

/// A large event is in memory once, however many watch it; of the past, which each asks for by itself, no more is there at a time than there is memory
/// for.
#[test]
fn large_events_for_many_watchers_cost_little_memory() {
    const CLIENTS: u64 = 100;
    const EVENTS: u64 = 2;
    uetcd_only!("etcd's memory is its own business");
    raise_descriptor_limit(CLIENTS + 1000);
    let confined = Confined::with_history(16 << 20);
    let mut client = confined.server.client();
    let value = "v".repeat(3 << 20);
    let first = client.set("/large/k", "0") + 1;
    let mut watches = confined.watchers(CLIENTS);
    for n in 1..=EVENTS {
        client.set("/large/k", &format!("{n}{value}"));
        for watch in &mut watches {
            let event = watch.chunk().expect("whole").expect("an event comes");
            let (start, expected) = (String::from_utf8_lossy(&event[..200]), format!("\"value\":\"{n}vvv"));
            assert!(start.contains(&expected) && event.len() > value.len() && event.ends_with(b"}}\n"), "{start}");
        }
    }
    let live = confined.assert_alive();
    drop(watches);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = confined.server.client();
                let answer = eventually("an answer", 6 * PATIENCE, || {
                    let target = format!("/v2/keys/large/k?wait=true&waitIndex={first}");
                    let answer = client.attempt("GET", &target, None).expect("the server answers");
                    (answer.status == 200).then_some(answer)
                });
                assert!(answer.body.len() > value.len(), "{}", answer.status_line);
            });
        }
    });
    println!(
        "overload: {CLIENTS} watchers were sent {EVENTS} events of 6 MiB, at most {live} MiB taken; as many have asked for a past one of 3 MiB, \
         at most {} MiB taken",
        confined.assert_alive()
    );
    let stuck = confined.watchers(CLIENTS);
    for n in 0..4 * EVENTS {
        client.set("/large/k", &format!("{n}{value}"));
    }
    println!("overload: the same of whom nobody reads, at most {} MiB taken", confined.assert_alive());
    confined.assert_cut_off(stuck);
    confined.assert_no_event_left();
    confined.assert_recovers();
}

/// Whoever watches from before them gets large events of every shard, together with others who do, and who holds them takes nobody's place.
#[test]
fn the_large_past_of_all_directories_reaches_everybody_who_asks_for_it() {
    const CLIENTS: usize = 12;
    const DIRECTORIES: u64 = 60;
    uetcd_only!("etcd's memory is its own business");
    let confined = Confined::with_history(32 << 20);
    let mut client = confined.server.client();
    let value = "v".repeat(250_000);
    let first = client.set("/d0/k", "0");
    for n in 0..DIRECTORIES {
        client.set(&format!("/d{}/k", if n < DIRECTORIES / 2 { 0 } else { n }), &value);
    }
    let target = format!("/v2/keys/?wait=true&recursive=true&stream=true&waitIndex={first}");
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut watch = open_watch(&confined.server, &target);
                for n in 0..=DIRECTORIES {
                    let event = watch.chunk().expect("whole").expect("an event comes");
                    let index = format!("\"modifiedIndex\":{},", first + n);
                    assert!(String::from_utf8_lossy(&event).contains(&index), "{n}: {} bytes", event.len());
                }
            });
        }
    });
    println!(
        "overload: {CLIENTS} clients have watched from before {DIRECTORIES} events of 0.25 MiB, at most {} MiB taken",
        confined.assert_alive()
    );
    confined.assert_no_event_left();
}

/// Clients that need long for large events are cut off when there is no room for others: whoever writes waits no longer than that takes.
#[test]
fn slow_readers_of_large_events_hold_writers_up_for_a_moment_only() {
    const CLIENTS: usize = 6;
    const HELD_UP: Duration = Duration::from_secs(4);
    uetcd_only!("etcd drops them");
    let confined = Confined::start();
    let (mut client, value) = (confined.server.client(), "v".repeat(3 << 20));
    let (mut slowest, stop) = (Duration::ZERO, AtomicBool::new(false));
    let set = |client: &mut Client, key: &str, value: &str| {
        let asked = Instant::now();
        client.set(key, value);
        asked.elapsed()
    };
    thread::scope(|scope| {
        let end = SetOnDrop(&stop);
        for n in 0..CLIENTS {
            let mut watch = open_watch(&confined.server, "/v2/keys/large?wait=true&recursive=true&stream=true");
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) && watch.some(15_000) {
                    thread::sleep(Duration::from_millis(100));
                }
            });
            slowest = slowest.max(set(&mut client, "/large/k", &format!("{n}{value}")));
        }
        for n in 0..50 {
            slowest = slowest.max(set(&mut client, "/other/k", &n.to_string()));
            thread::sleep(Duration::from_millis(100));
        }
        drop(end);
    });
    println!(
        "overload: {CLIENTS} slow readers of events of 6 MiB, writers waited {slowest:?} at most, at most {} MiB taken",
        confined.assert_alive()
    );
    assert!(slowest < HELD_UP, "a writer waited {slowest:?}");
    assert!(client.metric("uetcd_writes_paused_total") > 0 && client.metric("uetcd_clients_cut_total") > 0);
    confined.assert_recovers();
}

/// On whichever executor they are: watchers of one key each that do not read are cut off before writers have waited for long.
#[test]
fn events_that_nobody_reads_hold_writers_up_for_a_moment_only() {
    const WATCHERS: usize = 30;
    const HELD_UP: Duration = Duration::from_secs(4);
    uetcd_only!("etcd drops them");
    let confined = Confined::start();
    let value = "v".repeat(7_500);
    let watch = |n| open_watch(&confined.server, &format!("/v2/keys/m{n}/k?wait=true&stream=true"));
    let watches: Vec<Connection> = (0..WATCHERS).map(watch).collect();
    let put = |n| encode("PUT", &format!("/v2/keys/m{n}/k"), Some(&format!("value={value}")));
    let window: String = (0..WATCHERS).map(put).collect();
    let mut writer = Connection::open(confined.server.address()).expect("the server accepts");
    let (mut client, mut slowest) = (confined.server.client(), Duration::ZERO);
    // The kernel takes some megabytes for each of them first.
    eventually("all are cut off", 6 * PATIENCE, || {
        for _ in 0..20 {
            let asked = Instant::now();
            writer.send(window.as_bytes()).expect("the server reads");
            for _ in 0..WATCHERS {
                assert!(writer.response("PUT").expect("an answer").status < 300);
            }
            slowest = slowest.max(asked.elapsed());
        }
        (client.watchers() == 0).then_some(())
    });
    println!(
        "overload: {WATCHERS} watchers of one key each that nobody reads, writers waited {slowest:?} at most, at most {} MiB taken",
        confined.assert_alive()
    );
    assert!(slowest < HELD_UP, "a writer waited {slowest:?}");
    assert!(client.metric("uetcd_watchers_cut_total") > 0);
    drop(watches);
    confined.assert_recovers();
}

/// Large events of the past, another one for each of those who ask and take nothing.
#[test]
fn large_events_of_the_past_that_nobody_takes_cost_no_memory_for_long() {
    const CLIENTS: u64 = 60;
    uetcd_only!("etcd's memory is its own business");
    let confined = Confined::with_history(16 << 20);
    let (mut client, value) = (confined.server.client(), "v".repeat(3 << 20));
    let ask = |index: u64| {
        let mut connection = Connection::open(confined.server.address()).expect("the server accepts");
        let target = format!("/v2/keys/large/k?wait=true&waitIndex={index}");
        connection.request("GET", &target, None).expect("the server reads");
        connection
    };
    let stuck: Vec<Connection> = (0..CLIENTS).map(|n| ask(client.set("/large/k", &format!("{n}{value}")))).collect();
    println!(
        "overload: {CLIENTS} clients take nothing of past events of 6 MiB, at most {} MiB taken",
        confined.assert_alive()
    );
    eventually("some are cut off", PATIENCE, || (client.metric("uetcd_clients_cut_total") > 0).then_some(()));
    drop(stuck);
    confined.assert_no_event_left();
    confined.assert_recovers();
}

/// Clients that ask for much and take nothing are cut off before memory is gone.
#[test]
fn answers_that_nobody_takes_cost_no_memory_for_long() {
    // More would fill the memory that the kernel has for all sockets, and hold up other tests.
    const CLIENTS: usize = 100;
    uetcd_only!("etcd's memory is its own business");
    let confined = Confined::start();
    let mut client = confined.server.client();
    let value = "v".repeat(512 << 10);
    for n in 0..16 {
        client.set(&format!("/large{n}/k"), &value);
    }
    let ask = |n: usize| encode("GET", &format!("/v2/keys/large{}/k", n % 16), None).repeat(64);
    let stuck: Vec<Connection> = (0..CLIENTS)
        .map(|n| {
            let mut connection = Connection::open(confined.server.address()).expect("the server accepts");
            connection.send(ask(n).as_bytes()).expect("the server reads");
            connection
        })
        .collect();
    // Who takes its answers is served: small ones at once, large ones when some of the others are cut off.
    let asked = Instant::now();
    client.set("/small/k", "1");
    assert_eq!(client.value("/small/k").as_deref(), Some("1"));
    let (small, asked) = (asked.elapsed(), Instant::now());
    let found = eventually("a large answer", 2 * PATIENCE, || {
        client.attempt("GET", "/v2/keys/large1/k", None).ok().filter(|answer| answer.status == 200)
    });
    assert!(found.body.len() > value.len());
    println!(
        "overload: {CLIENTS} clients that take nothing, others waited {small:.1?} for small and {:.1?} for large answers, at most {} MiB taken",
        asked.elapsed(),
        confined.assert_alive()
    );
    eventually("some are cut off", PATIENCE, || (client.metric("uetcd_clients_cut_total") > 0).then_some(()));
    drop(stuck);
    confined.assert_recovers();
}
