//! Clients that know what their keys hold.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::held::{Held, Known};
use crate::cluster::load::{Acked, DIRECTORIES, modified};
use crate::harness::{Client, Response, Rng, form};

/// Keys of one client, and those of it that have a lifetime.
const KEYS: usize = 32;
const MORTALS: usize = 8;
/// What is in the names of those.
pub(super) const MORTAL: &str = "mortal";
/// How long a client waits before it counts an outcome as unknown.
const CLIENT_PATIENCE: Duration = Duration::from_millis(1500);
/// A value's length is below that: long enough for what is kept of the log in memory, up to 4 MiB of each group, to fill within minutes.
const VALUE_BYTES: u64 = 16_000;
/// A client's pause after a request is below that, in milliseconds. Eight clients ask for some 150 things a second.
const BREATH_MS: u64 = 100;

/// What all clients share.
pub(super) struct Desk {
    addresses: Vec<SocketAddr>,
    pub(super) stop: AtomicBool,
    /// Held by each client for one request; whoever wants silence takes it for writing.
    pub(super) gate: RwLock<()>,
    /// Acknowledged since that was last looked at.
    pub(super) acked: Mutex<Vec<Acked>>,
    /// Faults that all members have got over.
    pub(super) round: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) expired: AtomicU64,
}

/// What one request is to do.
enum Wish {
    Set(String),
    Swap { old: String, new: String },
    Delete,
    Look,
}

/// What came of it.
enum Told {
    Wrote { index: u64, before: Known },
    Shown(Known),
    Refused,
    Unknown,
    NotSent,
}

impl Desk {
    pub(super) fn at(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses,
            stop: AtomicBool::new(false),
            gate: RwLock::new(()),
            acked: Mutex::default(),
            round: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        }
    }

    /// One client: a random request to a random member, over and over, until `stop`. What its keys hold then.
    pub(super) fn run(&self, number: u64, seed: u64) -> Vec<Held> {
        let mut rng = Rng::new(seed * 1000 + number);
        let mut clients: Vec<Client> =
            self.addresses.iter().map(|&address| Client::new(address).patient(CLIENT_PATIENCE)).collect();
        let key =
            |kind: &str, n: usize| format!("/s{}/w{number}{kind}{n}", (number as usize * 7 + n) % DIRECTORIES as usize);
        let mut held: Vec<Held> = (0..KEYS).map(|n| Held::new(key("k", n))).collect();
        let mut mortal: Vec<Mortal> = (0..MORTALS).map(|n| Mortal::new(key(MORTAL, n))).collect();
        for n in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            {
                let _one = self.gate.read().expect("nobody panicked");
                let client = &mut clients[rng.below(self.addresses.len() as u64) as usize];
                if rng.one_in(6) {
                    let which = rng.below(MORTALS as u64) as usize;
                    self.one_mortal(client, &mut mortal[which], 1 + rng.below(4), &format!("w{number}n{n}"));
                } else {
                    let which = rng.below(KEYS as u64) as usize;
                    let value = format!("w{number}n{n}{}", "v".repeat(rng.below(VALUE_BYTES) as usize));
                    self.one(client, &mut held[which], &mut rng, value);
                }
            }
            thread::sleep(Duration::from_millis(rng.below(BREATH_MS)));
        }
        held
    }

    /// One request for a key without a lifetime.
    fn one(&self, client: &mut Client, held: &mut Held, rng: &mut Rng, value: String) {
        let round = self.round.load(Ordering::SeqCst);
        let wish = match (rng.below(10), held.value()) {
            (0..=3, _) => Wish::Set(value),
            (4 | 5, Some(old)) => Wish::Swap { old: old.to_owned(), new: value },
            (6, _) => Wish::Delete,
            _ => Wish::Look,
        };
        let sent = Instant::now();
        let told = self.ask(client, held.key(), &wish, None);
        let value = match wish {
            Wish::Set(new) | Wish::Swap { new, .. } => Some(new),
            Wish::Delete => None,
            Wish::Look => {
                if let Told::Shown(found) = told {
                    held.shown(&found, round);
                }
                return;
            }
        };
        match told {
            Told::Wrote { index, before } => {
                held.shown(&before, round);
                self.acknowledge(index, held.key(), value.clone().unwrap_or_default(), sent);
                held.wrote(index, value);
            }
            Told::Shown(found) => held.shown(&found, round),
            Told::Refused => held.assert_in_doubt(),
            Told::Unknown => held.may_be(value, round),
            Told::NotSent => {}
        }
    }

    /// One request for a key with a lifetime: it is set anew, or must be there until its time is over.
    fn one_mortal(&self, client: &mut Client, key: &mut Mortal, ttl: u64, value: &str) {
        let round = self.round.load(Ordering::SeqCst);
        let sent = Instant::now();
        if key.due.is_some_and(|due| due > sent) {
            let told = self.ask(client, &key.key, &Wish::Look, None);
            if matches!(told, Told::Shown(None)) {
                let early = key.due.and_then(|due| due.checked_duration_since(Instant::now()));
                assert_eq!(early, None, "{} is gone before its time", key.key);
            }
            return;
        }
        if key.due.take().is_some() {
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
        match self.ask(client, &key.key, &Wish::Set(value.to_owned()), Some(ttl)) {
            Told::Wrote { index, .. } => {
                self.acknowledge(index, &key.key, value.to_owned(), sent);
                // What may still be under way would shorten it.
                key.due = key.is_sure(round).then(|| sent + Duration::from_secs(ttl));
            }
            Told::Unknown => key.doubt = Some(round),
            Told::Shown(_) | Told::Refused | Told::NotSent => {}
        }
    }

    fn acknowledge(&self, index: u64, key: &str, value: String, sent: Instant) {
        let acked = Acked { index, key: key.to_owned(), value, wanted: sent, sent, answered: Instant::now() };
        self.acked.lock().expect("nobody panicked").push(acked);
    }

    fn ask(&self, client: &mut Client, key: &str, wish: &Wish, ttl: Option<u64>) -> Told {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let ttl = ttl.map(|ttl| ttl.to_string());
        let (method, mut pairs): (_, Vec<(&str, &str)>) = match wish {
            Wish::Set(value) => ("PUT", vec![("value", value)]),
            Wish::Swap { old, new } => ("PUT", vec![("value", new), ("prevValue", old)]),
            Wish::Delete => ("DELETE", vec![]),
            Wish::Look => ("GET", vec![]),
        };
        pairs.extend(ttl.as_deref().map(|ttl| ("ttl", ttl)));
        let query = if method == "GET" { "?quorum=true" } else { "" };
        let form = (method == "PUT").then(|| form(&pairs));
        let told = match client.attempt(method, &format!("/v2/keys{key}{query}"), form.as_deref()) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Told::NotSent,
            Err(_) => Told::Unknown,
            Ok(answer) => told(&answer),
        };
        if matches!(told, Told::Unknown) {
            self.unknown.fetch_add(1, Ordering::Relaxed);
        }
        told
    }
}

/// What an answer tells.
fn told(answer: &Response) -> Told {
    let json = answer.json();
    let version = |node: &serde_json::Value| -> Known {
        Some((node["modifiedIndex"].as_u64()?, node["value"].as_str()?.to_owned()))
    };
    match (answer.status, json["action"].as_str().unwrap_or_default(), json["errorCode"].as_u64()) {
        (200, "get", _) => Told::Shown(version(&json["node"])),
        (200 | 201, "set" | "compareAndSwap" | "delete", _) => {
            Told::Wrote { index: modified(&json), before: version(&json["prevNode"]) }
        }
        (404, _, Some(100)) => Told::Shown(None),
        (412, _, Some(101)) => Told::Refused,
        (500, _, Some(300)) => Told::Unknown,
        _ => panic!("{answer:?}"),
    }
}

/// A key with a lifetime.
struct Mortal {
    key: String,
    /// It is there until then, at least.
    due: Option<Instant>,
    /// In which round a write of it ended nobody knows how: it may come at any time, and has a lifetime of its own.
    doubt: Option<u64>,
}

impl Mortal {
    fn new(key: String) -> Self {
        Self { key, due: None, doubt: None }
    }

    fn is_sure(&self, round: u64) -> bool {
        self.doubt.is_none_or(|doubt| doubt + Held::SETTLED <= round)
    }
}
