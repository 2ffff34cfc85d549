//! Watchers of the whole key space of one member, and what they must have in common.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::load::{Acked, modified};
use super::members::Cluster;
use crate::harness::{Connection, PATIENCE, eventually};

/// What matters of an event: it must be the same on all members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) index: u64,
    pub(super) action: String,
    pub(super) key: String,
    pub(super) value: String,
}

impl Seen {
    pub(super) fn of(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            index: modified(event),
            action: text(&event["action"]),
            key: text(&event["node"]["key"]),
            value: text(&event["node"]["value"]),
        }
    }
}

/// A stream on `/` of one member, read in the background until it ends.
pub(super) struct Tail {
    /// `X-Etcd-Index` of the stream's head: what came later must be in it.
    pub(super) since: u64,
    seen: Arc<Mutex<Vec<Seen>>>,
    reader: JoinHandle<io::Error>,
    stop: std::net::TcpStream,
}

impl Tail {
    /// Begins a stream of what happens from now on.
    pub(super) fn of(address: SocketAddr) -> Self {
        let mut stream = Connection::open(address).expect("the member accepts");
        stream.request("GET", "/v2/keys/?wait=true&recursive=true&stream=true", None).expect("the member reads");
        let head = stream.head().expect("the head comes at once");
        assert_eq!(head.status, 200, "{head:?}");
        // An outage may be silent for longer than a single answer may take.
        stream.set_patience(Duration::from_mins(2));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = stream.socket().try_clone().expect("a socket can be shared");
        let into = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            loop {
                match stream.event() {
                    Ok(event) => into.lock().expect("nobody panicked").push(Seen::of(&event)),
                    Err(error) => return error,
                }
            }
        });
        Self { since: head.index(), seen, reader, stop }
    }

    /// Waits until an event at or above `index` came; everything up to then.
    pub(super) fn up_to(&self, index: u64) -> Vec<Seen> {
        eventually("the stream reaches an index", PATIENCE, || {
            let ended = self.reader.is_finished();
            assert!(!ended, "the stream has ended before index {index}: {:?}", self.seen().last());
            let seen = self.seen();
            seen.last().is_some_and(|last| last.index >= index).then_some(seen)
        })
    }

    /// What came so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the reader does not panic").clone()
    }

    /// Waits for the end of a stream whose member is gone; everything it saw.
    pub(super) fn ended(self) -> Vec<Seen> {
        eventually("the stream ends", PATIENCE, || self.reader.is_finished().then_some(()));
        self.seen()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
    }
}

/// Streams on all members that run, by member.
pub(super) fn tails(cluster: &Cluster) -> Vec<(usize, Tail)> {
    cluster.up().into_iter().map(|nth| (nth, Tail::of(cluster.address(nth)))).collect()
}

/// Events grow, one per index.
pub(super) fn assert_grows(seen: &[Seen]) {
    let fault = seen.windows(2).find(|pair| pair[0].index >= pair[1].index);
    assert_eq!(fault, None, "events repeated or out of order");
}

/// Two streams show the same where both were open: from the later start to the earlier end.
pub(super) fn assert_same(a: (u64, &[Seen]), b: (u64, &[Seen])) {
    let since = a.0.max(b.0);
    let until = |seen: &[Seen]| seen.last().map_or(0, |last| last.index);
    let until = until(a.1).min(until(b.1));
    let both = |seen: &[Seen]| -> Vec<Seen> {
        seen.iter().filter(|event| event.index > since && event.index <= until).cloned().collect()
    };
    let (a, b) = (both(a.1), both(b.1));
    if let Some(at) = (0..a.len().max(b.len())).find(|&at| a.get(at) != b.get(at)) {
        panic!("members disagree after {since}, event {at}: {:?} and {:?}", a.get(at), b.get(at));
    }
}

/// Every acknowledged write in the range of a stream is in it.
pub(super) fn assert_contains(since: u64, seen: &[Seen], acked: &[Acked]) {
    let until = seen.last().map_or(0, |last| last.index);
    let by_index: std::collections::BTreeMap<u64, &Seen> = seen.iter().map(|event| (event.index, event)).collect();
    for write in acked.iter().filter(|write| write.index > since && write.index <= until) {
        let found = by_index.get(&write.index);
        let same = found.is_some_and(|event| event.key == write.key && event.value == write.value);
        assert!(same, "{write:?} is not in the stream, but {found:?}");
    }
}
