//! Thousands of lifetimes, which end at the same moment or one after the other: all are told, in order, soon, and not at the expense of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Flavor, PATIENCE, Plan, Server, env_number, eventually, load, uetcd_only};
use crate::watch_limits::{open_watch, raise_descriptor_limit};

/// Keys of a burst that a stream reads.
const BURST: u64 = 5_000;
/// Keys that expire at once while others write.
const MASS: u64 = 60_000;
/// Until the last of them is gone, from the end of their lifetimes on.
const ALL_GONE: Duration = Duration::from_secs(8);
/// The longest that a write of others may take meanwhile.
const WRITE: Duration = Duration::from_secs(2);

/// Keys with lifetimes that are there at the same time, unless `SUITE_CROWD` says otherwise, and what of them ends in a second.
const CROWD: u64 = 10_000;
const ENDS_PER_SECOND: u64 = 2_500;
/// How late one of them may go, in milliseconds, unless `SUITE_LATE_MS` says otherwise: the machine may be busy.
const LATE_MS: u64 = 2_000;
const EVERYTHING: &str = "/v2/keys/?wait=true&recursive=true&stream=true";

/// Keys of one directory that expire at once, and how many watch it: the events of all are more than may be under way.
const WATCHED: u64 = 1_500;
const WATCHERS: u64 = 900;

/// Sets keys whose lifetimes all end within the same second, `in_about` after now if that is enough to write them; that second's end.
fn load_until(server: &Server, count: u64, in_about: Duration) -> Instant {
    let begun = Instant::now();
    let request = |n: u64| {
        let ttl = in_about.saturating_sub(begun.elapsed()).as_secs() + 1;
        (format!("/x{}/k{n}", n % 61), format!("value=v&ttl={ttl}"))
    };
    load(server, count, request);
    assert!(begun.elapsed() < in_about, "{count} keys were not written before the first one's end");
    begun + in_about + Duration::from_secs(1)
}

#[test]
fn a_burst_of_expiries_reaches_a_stream_completely_and_in_order() {
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    // etcd drops a stream that falls 100 events behind.
    let count = if server.flavor() == Flavor::Uetcd { env_number("SUITE_BURST", BURST) } else { 50 };
    load_until(&server, count, Duration::from_secs(3));
    let mut stream = open_watch(&server, EVERYTHING);
    let (mut last, mut keys) = (0, BTreeSet::new());
    for n in 0..count {
        let event = stream.event().unwrap_or_else(|e| panic!("after {n} of {count}: {e}"));
        assert_eq!(event["action"], "expire", "{event}");
        let index = event["node"]["modifiedIndex"].as_u64().expect("an event has an index");
        assert!(index > last, "{index} after {last}");
        last = index;
        assert!(keys.insert(event["node"]["key"].as_str().expect("a key").to_owned()), "told twice: {event}");
    }
    server.client().set("/end", "");
    assert_eq!(stream.event().expect("an event")["node"]["key"], "/end");
}

/// As many keys as the variable says, or `usual`; a twentieth of that for etcd.
fn keys_for(server: &Server, variable: &str, usual: u64) -> u64 {
    if server.flavor() == Flavor::Uetcd { env_number(variable, usual) } else { usual / 20 }
}

pub(crate) fn expired(server: &Server) -> u64 {
    server.client().get("/v2/stats/store").json()["expireCount"].as_u64().expect("a number")
}

#[test]
fn a_mass_expiry_is_over_soon_and_holds_no_other_client_up() {
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    let count = keys_for(&server, "SUITE_MASS", MASS);
    // How fast this machine is, while it is as busy as it is.
    let begun = Instant::now();
    load(&server, count / 12, |n| (format!("/x{}/k{n}", n % 61), "value=v".to_owned()));
    let due = load_until(&server, count, begun.elapsed() * 18 + Duration::from_secs(2));
    let finished = thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let patience = due.saturating_duration_since(Instant::now()) + 2 * ALL_GONE;
            eventually("all are gone", patience, || (expired(&server) == count).then(Instant::now))
        });
        let mut client = server.client();
        let mut slowest = Duration::ZERO;
        for n in 0_u64.. {
            let asked = Instant::now();
            client.set(&format!("/other{}", n % 16), "1");
            slowest = slowest.max(asked.elapsed());
            if waiting.is_finished() {
                break;
            }
        }
        println!("the slowest write of others took {slowest:?}");
        assert!(slowest <= WRITE, "a write took {slowest:?} meanwhile");
        waiting.join().expect("all go")
    });
    println!("{count} expiries were over {:?} after their time", finished.saturating_duration_since(due));
    assert!(finished <= due + ALL_GONE, "the last went {:?} after its time", finished - due);
    assert!(server.client().value("/other0").is_some());
    assert_eq!(server.client().get("/v2/keys/x0/k0").status, 404);
}

/// Many keys, each with a lifetime of its own: when each was sent, and its lifetime.
pub(crate) struct Crowd(BTreeMap<String, (Instant, Duration)>);

/// How late they went: in the median, 99 % of them, and the last.
pub(crate) struct Late([Duration; 3]);

impl Crowd {
    /// Sets as many as are usual with a server, or as `SUITE_CROWD` says. All are there before the first one goes.
    pub(crate) fn load(server: &Server) -> Self {
        let count = keys_for(server, "SUITE_CROWD", CROWD);
        // How fast this machine is, while it is as busy as it is.
        let begun = Instant::now();
        load(server, count / 10, |n| (format!("/x{}/warm{n}", n % 61), "value=v".to_owned()));
        let first = begun.elapsed() * 20 + Duration::from_secs(2);
        let before = expired(server);
        let sent = Mutex::new(BTreeMap::new());
        load(server, count, |n| {
            let (key, ttl) = (format!("/x{}/k{n}", n % 61), first.as_secs() + n % count.div_ceil(ENDS_PER_SECOND));
            sent.lock().expect("nobody panicked").insert(key.clone(), (Instant::now(), Duration::from_secs(ttl)));
            (key, format!("value=v&ttl={ttl}"))
        });
        assert_eq!(expired(server), before, "some had gone before all were there");
        Self(sent.into_inner().expect("nobody panicked"))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How late each goes as a stream of this server's shows it. None goes early. `at` is called with the number of those gone so far.
    pub(crate) fn watch(&self, server: &Server, mut at: impl FnMut(usize)) -> Late {
        let mut stream = open_watch(server, EVERYTHING);
        let last = self.0.values().map(|(sent, ttl)| *sent + *ttl).max().unwrap_or_else(Instant::now);
        stream.set_patience(last.saturating_duration_since(Instant::now()) + PATIENCE);
        let mut late: Vec<Duration> = Vec::new();
        while late.len() < self.0.len() {
            at(late.len());
            let event = stream.event().expect("an event");
            let now = Instant::now();
            if event["action"] == "expire" {
                let (sent, ttl) = self.0[event["node"]["key"].as_str().expect("a key")];
                assert!(now >= sent + ttl, "{event} came {:?} early", sent + ttl - now);
                late.push(now - (sent + ttl));
            }
        }
        late.sort();
        Late([50, 99, 100].map(|percent| late[(late.len() - 1) * percent / 100]))
    }
}

impl Late {
    /// Says it, and that nothing was later than it may be, or than `excused`.
    pub(crate) fn assert(&self, crowd: &Crowd, of: &str, excused: Duration) {
        let (Self([median, p99, most]), count) = (self, crowd.len());
        println!(
            "crowd: {count} lifetimes at a time {of}, each late by {median:.1?} in the median, p99 {p99:.1?}, at most {most:.1?}"
        );
        let limit = Duration::from_millis(env_number("SUITE_LATE_MS", LATE_MS)).max(excused);
        assert!(*most <= limit, "one was {most:?} late, {limit:?} allowed");
    }
}

#[test]
fn among_many_lifetimes_each_ends_in_time() {
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    let crowd = Crowd::load(&server);
    crowd.watch(&server, |_| {}).assert(&crowd, "on one node", Duration::ZERO);
}

#[test]
fn what_many_watch_expires_once() {
    uetcd_only!("etcd drops watchers that are a hundred events behind");
    raise_descriptor_limit(WATCHERS + 1000);
    let server = Plan::new().args(["--cores", "1"]).start();
    load(&server, WATCHED, |n| (format!("/m/k{n}"), "value=v&ttl=8".to_owned()));
    let target = "/v2/keys/m?wait=true&recursive=true&stream=true";
    let watches: Vec<_> = (0..WATCHERS).map(|_| open_watch(&server, target)).collect();
    let mut client = server.client();
    let before = client.set("/other", "1");
    assert_eq!(client.metric("etcd_store_expires_total"), 0, "the machine is too slow for this");
    eventually("all are gone", 2 * PATIENCE, || (client.metric("etcd_store_expires_total") == WATCHED).then_some(()));
    let indices = client.set("/other", "2") - before;
    assert!(indices < WATCHED + WATCHED / 10, "{WATCHED} expiries took {indices} indices");
    drop(watches);
}
