//! The soak: members under a steady load and one fault after the other, for as long as wanted. What they take of the machine does not grow,
//! after each fault all of them show the same tree at the same index, nothing acknowledged is lost, and watchers see every event once.
//!
//! `SUITE_SOAK` is its length in seconds. It stands being stopped as a whole for minutes, and going on.

mod held;
mod samples;
mod writers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::held::Held;
use self::samples::Samples;
use self::writers::{Desk, MORTAL};
use super::faults::{Fault, Ground};
use super::load::{assert_ordered, files, modified};
use super::members::{Cluster, Setup, impatient};
use super::netns::Net;
use super::tail::{assert_contains, assert_grows, assert_same};
use super::watchers::Watcher;
use crate::harness::{Client, LONGEST_STEP, Rng, SetOnDrop, env_number, eventually, uetcd_only};

const MEMBERS: usize = 3;
const WRITERS: u64 = 8;
/// The member that is never killed: what grows in a process by and by shows there.
const SURVIVOR: usize = 2;
/// From one fault to the next, at most.
const FAULT_EVERY: Duration = Duration::from_secs(20);
/// Until all members have caught up with a fault.
const CAUGHT_UP: Duration = Duration::from_mins(1);
const MINUTE: Duration = Duration::from_mins(1);
/// Few enough that history and snapshots turn over within half a minute.
const ARGS: [&str; 6] = ["--snapshot-count", "200", "--history-events", "200", "--scrub-interval", "600"];

/// What is run, and the clock of it.
struct Soak {
    length: Duration,
    begun: Instant,
    /// Time that was not spent standing still with everything else.
    awake: Duration,
    ticked: Instant,
    reported: Duration,
    samples: Samples,
    faults: BTreeMap<String, u64>,
}

impl Soak {
    /// Looks at the clock, the members, and whether a report is due.
    fn tick(&mut self, cluster: &Cluster, desk: &Desk) {
        self.awake += self.ticked.elapsed().min(LONGEST_STEP);
        self.ticked = Instant::now();
        self.samples.look(cluster);
        if self.awake >= self.reported + MINUTE {
            self.reported = self.awake;
            eprintln!(
                "after {} s: {} faults, {} requests, {} unknown; {}",
                self.awake.as_secs(),
                self.done(),
                desk.requests.load(Ordering::Relaxed),
                desk.unknown.load(Ordering::Relaxed),
                self.samples.now()
            );
        }
    }

    /// Lets everything go on for a while.
    fn rest(&mut self, cluster: &Cluster, desk: &Desk, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(100));
            self.tick(cluster, desk);
        }
    }

    fn done(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Does one fault at random and heals it.
    fn strike(&mut self, cluster: &mut Cluster, net: &Net, rng: &mut Rng) {
        let mut victim = if rng.one_in(2) { cluster.primary() } else { rng.below(MEMBERS as u64) as usize };
        let fault = Fault::ALL[rng.below(Fault::ALL.len() as u64) as usize];
        if fault == Fault::Kill && victim == SURVIVOR {
            victim = rng.below(SURVIVOR as u64) as usize;
        }
        // One in six is long enough for the log to go on without the member: then it needs a snapshot.
        let long = self.gap() >= FAULT_EVERY && rng.one_in(6) && fault != Fault::Lossy;
        let away = Duration::from_millis(200 + rng.below(1800)) * if long { 15 } else { 1 };
        fault.strike(cluster, Ground::net(net), victim, away, rng);
        *self.faults.entry(format!("{fault:?}")).or_default() += 1;
    }

    fn gap(&self) -> Duration {
        (self.length / 20).min(FAULT_EVERY)
    }

    /// Long enough for everything that is bounded to have been full: history, log and snapshots within minutes, queues for others after
    /// several faults of each kind.
    fn warm_up(&self) -> Duration {
        (self.length / 3).min(Duration::from_hours(1))
    }
}

#[test]
fn a_cluster_under_load_and_faults_does_not_grow_and_does_not_diverge() {
    uetcd_only!("etcd's resources are its own business");
    let seed = env_number("SUITE_CLUSTER_SEED", 1);
    let length = Duration::from_secs(env_number("SUITE_SOAK", 20));
    let net = Net::of(MEMBERS);
    let mut cluster = Setup::new().args(&ARGS).on(&net).start(MEMBERS);
    let desk = Desk::at(cluster.addresses());
    let mut since = cluster.client(0).set("/soak/begin", "");
    let watchers: Vec<Watcher> = (0..MEMBERS).map(|nth| Watcher::new(nth, since)).collect();
    let (now, addresses) = (Instant::now(), cluster.addresses());
    let samples = Samples::of(MEMBERS, length);
    let mut soak = Soak {
        length,
        begun: now,
        awake: Duration::ZERO,
        ticked: now,
        reported: Duration::ZERO,
        samples,
        faults: BTreeMap::new(),
    };
    let (over, mut acknowledged) = (AtomicBool::new(false), 0);
    let held: Vec<Held> = thread::scope(|scope| {
        let (desk, addresses, over) = (&desk, &addresses, &over);
        let _ends = (SetOnDrop(&desk.stop), SetOnDrop(over));
        let watching: Vec<_> = watchers.iter().map(|watcher| scope.spawn(|| watcher.run(addresses, over))).collect();
        let writers: Vec<_> = (0..WRITERS).map(|number| scope.spawn(move || desk.run(number, seed))).collect();
        let mut rng = Rng::new(seed);
        while soak.begun.elapsed() < length {
            soak.rest(&cluster, desk, soak.gap().mul_f64(0.5 + rng.below(100) as f64 / 100.0));
            let failed = writers.iter().any(ScopedJoinHandle::is_finished);
            assert!(!failed && !watching.iter().any(ScopedJoinHandle::is_finished), "a client has failed");
            soak.strike(&mut cluster, &net, &mut rng);
            cluster.wait_writable();
            acknowledged += check(&cluster, desk, &watchers, &mut since);
            soak.tick(&cluster, desk);
        }
        desk.stop.store(true, Ordering::SeqCst);
        let held = writers.into_iter().flat_map(|writer| writer.join().expect("a writer finishes")).collect();
        acknowledged += check(&cluster, desk, &watchers, &mut since);
        held
    });
    assert_held(&cluster, held);
    println!("soak: {}", summary(&soak, &desk, &watchers, acknowledged));
    soak.samples.assert_flat(length, soak.warm_up(), SURVIVOR);
}

/// While nobody writes: all members show the same, and all watchers saw the same, with everything in it that was acknowledged since the index
/// of the last check. How many writes that were.
fn check(cluster: &Cluster, desk: &Desk, watchers: &[Watcher], since: &mut u64) -> u64 {
    let silence = desk.gate.write().expect("nobody panicked");
    let marker = mark(cluster);
    wait_same(cluster);
    let acked = std::mem::take(&mut *desk.acked.lock().expect("nobody panicked"));
    drop(silence);
    desk.round.fetch_add(1, Ordering::SeqCst);
    let seen: Vec<_> = watchers.iter().map(|watcher| watcher.take_up_to(marker)).collect();
    for events in &seen {
        assert_grows(events);
        assert_same((*since, &seen[0]), (*since, events));
        assert_contains(*since, events, &acked);
    }
    assert_ordered(&acked);
    *since = marker;
    acked.len() as u64
}

/// A write that tells watchers how far they are; its index.
fn mark(cluster: &Cluster) -> u64 {
    let mut client = impatient(cluster.address(SURVIVOR));
    eventually("a member takes a write", CAUGHT_UP, || {
        let answer = client.attempt("PUT", "/v2/keys/soak/mark", Some("value=1")).ok()?;
        (answer.status < 300).then(|| modified(&answer.json()))
    })
}

/// Waits until all members are at the same index; there they must show the same tree. That tree.
fn wait_same(cluster: &Cluster) -> Value {
    let mut clients: Vec<Client> = (0..MEMBERS).map(|nth| impatient(cluster.address(nth))).collect();
    eventually("all members are at the same index", CAUGHT_UP, || {
        let answers: Option<Vec<_>> = clients.iter_mut().map(list).collect();
        let answers = answers?;
        let (index, tree) = &answers[0];
        if answers.iter().any(|(other, _)| other != index) {
            return None;
        }
        let nth = answers.iter().position(|(_, other)| other != tree);
        assert_eq!(nth, None, "at index {index} a member has another tree: {tree} and {}", answers[nth.unwrap_or(0)].1);
        Some(tree.clone())
    })
}

/// Everything that a member has by itself, and at which index; without what depends on the clock.
fn list(client: &mut Client) -> Option<(u64, Value)> {
    let answer = client.attempt("GET", "/v2/keys/?recursive=true&sorted=true", None).ok()?;
    let mut tree = (answer.status == 200).then(|| answer.json())?;
    forget_clock(&mut tree["node"]);
    Some((answer.index(), tree))
}

fn forget_clock(node: &mut Value) {
    if let Some(node) = node.as_object_mut() {
        let (_, _) = (node.remove("ttl"), node.remove("expiration"));
        node.get_mut("nodes").and_then(Value::as_array_mut).into_iter().flatten().for_each(forget_clock);
    }
}

/// All is at rest: keys hold what their writers know, and those whose time is over are gone.
fn assert_held(cluster: &Cluster, held: Vec<Held>) {
    eventually("lifetimes end", CAUGHT_UP, || {
        let files = files(&wait_same(cluster));
        (!files.keys().any(|key| key.contains(MORTAL))).then_some(())
    });
    let mut shown = files(&wait_same(cluster));
    for mut held in held {
        let found = shown.remove(held.key());
        held.shown(&found, u64::MAX);
    }
}

/// What was run, on one line.
fn summary(soak: &Soak, desk: &Desk, watchers: &[Watcher], acknowledged: u64) -> String {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let streams: u64 = watchers.iter().map(|watcher| count(&watcher.streams)).sum();
    let faults: Vec<String> = soak.faults.iter().map(|(fault, times)| format!("{times} {fault}")).collect();
    format!(
        "{} s, {} faults ({}), {} requests, {acknowledged} writes acknowledged, {} of unknown outcome, {} lifetimes, {streams} streams; {}",
        soak.awake.as_secs(),
        soak.done(),
        faults.join(", ").to_lowercase(),
        count(&desk.requests),
        count(&desk.unknown),
        count(&desk.expired),
        soak.samples.table(soak.warm_up())
    )
}
