//! A recorded history of concurrent clients under kills, pauses, partitions, lost packets and resets, and on disks that are full, slow, fail or rot,
//! judged by [`super::linear`].

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::disks::Disks;
use super::faults::{Fault, Ground, torment};
use super::linear::{Actual, Operation, Outcome, Time, Version, check};
use super::load::modified;
use super::members::{Cluster, Setup};
use super::netns::Net;
use crate::harness::{Client, Response, Rng, SetOnDrop, env_number, form, uetcd_only};

const KEYS: u64 = 4;
const CLIENTS: u64 = 8;
/// Bytes of values that fill a segment of the log within seconds.
const PADDING: usize = 20_000;
/// How long a client waits before it counts an outcome as unknown.
const CLIENT_PATIENCE: Duration = Duration::from_millis(1500);

/// What the clients share.
struct Recorder {
    addresses: Vec<SocketAddr>,
    begun: Instant,
    stop: AtomicBool,
    operations: Mutex<Vec<Operation>>,
    /// What all values end with.
    padding: String,
}

impl Recorder {
    fn now(&self) -> Time {
        Time::try_from(self.begun.elapsed().as_nanos()).expect("less than centuries")
    }

    /// One client: a random request to a random member, over and over.
    fn run(&self, number: u64) {
        let mut rng = Rng::new(number);
        let mut clients: Vec<Client> =
            self.addresses.iter().map(|&address| Client::new(address).patient(CLIENT_PATIENCE)).collect();
        let mut known: Vec<Option<Version>> = vec![None; KEYS as usize];
        let mut own = Vec::new();
        for n in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let member = rng.below(self.addresses.len() as u64) as usize;
            own.extend(self.one(
                (member, &mut clients[member]),
                &mut rng,
                &format!("c{number}n{n}{}", self.padding),
                &mut known,
            ));
            thread::sleep(Duration::from_millis(rng.below(4)));
        }
        self.operations.lock().expect("no client panicked").extend(own);
    }

    /// One request to a member. `None` when it can not have been done: nobody took the connection.
    fn one(
        &self,
        (member, client): (usize, &mut Client),
        rng: &mut Rng,
        value: &str,
        known: &mut [Option<Version>],
    ) -> Option<Operation> {
        let key = rng.below(KEYS);
        let target = format!("/v2/keys/h{key}/k");
        let known = &mut known[key as usize];
        let (index, old) = known.clone().unwrap_or_default();
        let index = index.to_string();
        let ask = rng.below(8);
        let (method, pairs): (_, Vec<(&str, &str)>) = match ask {
            0 | 1 => ("PUT", vec![("value", value)]),
            2 if known.is_some() => ("PUT", vec![("value", value), ("prevIndex", &index)]),
            3 if known.is_some() => ("PUT", vec![("value", value), ("prevValue", &old)]),
            _ => ("GET", vec![]),
        };
        let quorum = method == "GET" && ask < 6;
        let target = if quorum { target + "?quorum=true" } else { target };
        let form = (method == "PUT").then(|| form(&pairs));
        let invoked = self.now();
        let answer = client.attempt(method, &target, form.as_deref());
        let (outcome, returned) = match answer {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return None,
            Err(_) => (Outcome::Unknown, Time::MAX),
            Ok(answer) => match outcome(&answer) {
                Outcome::Unknown => (Outcome::Unknown, Time::MAX),
                Outcome::Read { found, at } if !quorum => (Outcome::Shown { member, found, at }, self.now()),
                known => (known, self.now()),
            },
        };
        if let Outcome::Read { found: Some(found), .. } = &outcome {
            *known = Some(found.clone());
        }
        let writes = (method == "PUT").then(|| value.to_owned());
        Some(Operation { key, invoked, returned, writes, outcome })
    }
}

fn version(node: &Value) -> Option<Version> {
    Some((node["modifiedIndex"].as_u64()?, node["value"].as_str()?.to_owned()))
}

/// What an answer tells.
fn outcome(answer: &Response) -> Outcome {
    let json = answer.json();
    let action = json["action"].as_str().unwrap_or_default();
    match (answer.status, action, json["errorCode"].as_u64()) {
        (200, "get", _) => Outcome::Read { found: version(&json["node"]), at: answer.index() },
        (200 | 201, "set" | "compareAndSwap", _) => {
            Outcome::Wrote { index: modified(&json), before: version(&json["prevNode"]) }
        }
        (404, _, Some(100)) if answer.header("X-Etcd-Index").is_some() => {
            Outcome::Read { found: None, at: answer.index() }
        }
        (412, _, Some(101)) => Outcome::Differed(actual(&json)),
        (500, _, Some(300)) => Outcome::Unknown,
        _ => panic!("{answer:?}"),
    }
}

/// What a refused swap found: `[expected != actual]`, values or indices. Values begin with a letter.
fn actual(json: &Value) -> Actual {
    let cause = json["cause"].as_str().unwrap_or_default();
    let (_, actual) = cause.split_once(" != ").unwrap_or_else(|| panic!("cause {cause:?}"));
    let actual = actual.trim_end_matches(']');
    actual.parse().map_or_else(|_| Actual::Value(actual.to_owned()), Actual::Index)
}

fn seed() -> u64 {
    env_number("SUITE_CLUSTER_SEED", 1)
}

#[test]
fn a_history_under_kills_is_linearizable() {
    record_and_judge(seed(), 3, &[], &[Fault::Kill]);
}

#[test]
fn a_history_under_pauses_is_linearizable() {
    record_and_judge(seed() + 1, 3, &[], &[Fault::Pause]);
}

#[test]
fn a_history_under_partitions_is_linearizable() {
    record_and_judge(seed() + 2, 3, &[], &[Fault::Cut]);
}

#[test]
fn a_history_under_lost_packets_and_resets_is_linearizable() {
    record_and_judge(seed() + 5, 3, &[], &[Fault::Lossy, Fault::Reset]);
}

#[test]
fn a_history_of_five_members_under_all_of_these_is_linearizable() {
    record_and_judge(seed() + 3, 5, &[], &Fault::ALL);
}

#[test]
fn a_history_of_members_with_several_executors_is_linearizable() {
    uetcd_only!("it has no executors");
    record_and_judge(seed() + 4, 3, &["--cores", "3"], &Fault::ALL);
}

#[test]
fn a_history_on_full_disks_is_linearizable() {
    uetcd_only!("etcd ends when its disk is full");
    record_on_disks(seed() + 6, &Disks::small(3), &[Fault::Full]);
}

#[test]
fn a_history_on_slow_disks_is_linearizable() {
    record_on_disks(seed() + 7, &Disks::slow(3), &[Fault::Slow]);
}

#[test]
fn a_history_on_disks_that_fail_and_rot_is_linearizable() {
    uetcd_only!("etcd's log is elsewhere");
    record_on_disks(seed() + 8, &Disks::faulty(3), &[Fault::Failure, Fault::Rot]);
}

fn record_and_judge(seed: u64, members: usize, more: &[&str], faults: &[Fault]) {
    let net = faults.iter().any(|fault| fault.needs_net()).then(|| Net::of(members));
    let setup = Setup::new().args(more);
    let setup = net.iter().fold(setup, Setup::on);
    let ground = Ground { net: net.as_deref(), disks: None };
    judge(seed, &mut setup.start(members), ground, faults, "");
}

/// With values that fill the log.
fn record_on_disks(seed: u64, disks: &Disks, faults: &[Fault]) {
    let setup = disks.carry(Setup::new().args(&["--snapshot-count", "500"]));
    let ground = Ground { net: None, disks: Some(disks) };
    judge(seed, &mut setup.start(3), ground, faults, &"x".repeat(PADDING));
}

/// Records what clients see whose values end with this, and judges it.
fn judge(seed: u64, cluster: &mut Cluster, ground: Ground<'_>, faults: &[Fault], padding: &str) {
    let members = cluster.len();
    let recorder = Recorder {
        addresses: cluster.addresses(),
        begun: Instant::now(),
        stop: AtomicBool::new(false),
        operations: Mutex::new(Vec::new()),
        padding: padding.to_owned(),
    };
    let length = Duration::from_secs(env_number("SUITE_CLUSTER_HISTORY", 15));
    let done = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let recorder = &recorder;
            scope.spawn(move || recorder.run(seed * 1000 + client));
        }
        let _end = SetOnDrop(&recorder.stop);
        let until = Instant::now() + length;
        torment(cluster, ground, faults, &mut Rng::new(seed), || Instant::now() >= until)
    });
    cluster.wait_writable();
    let history = recorder.operations.into_inner().expect("no client panicked");
    let count = |what: fn(&Outcome) -> bool| history.iter().filter(|operation| what(&operation.outcome)).count();
    println!(
        "history: {members} members, {} s, {done} faults of {faults:?}, {} operations: {} writes, {} quorum reads, {} others, \
         {} refused swaps, {} unknown",
        length.as_secs(),
        history.len(),
        count(|outcome| matches!(outcome, Outcome::Wrote { .. })),
        count(|outcome| matches!(outcome, Outcome::Read { .. })),
        count(|outcome| matches!(outcome, Outcome::Shown { .. })),
        count(|outcome| matches!(outcome, Outcome::Differed { .. })),
        count(|outcome| matches!(outcome, Outcome::Unknown)),
    );
    assert!(done > 0 && history.len() > 200, "too little happened");
    if let Err(violation) = check(&history) {
        panic!("seed {seed}: {violation}");
    }
    cluster.wait_converged();
}
