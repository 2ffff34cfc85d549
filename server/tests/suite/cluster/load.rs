//! Clients that write all the time and, as real ones do, try another member when one does not answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::members::Cluster;
use crate::harness::{Client, LONGEST_STEP, PATIENCE, SetOnDrop, eventually, form};

/// Top-level directories, so that every shard has several.
pub(super) const DIRECTORIES: u64 = 64;

/// The longest that a client tries one write before it fails the test.
const GIVE_UP: Duration = Duration::from_secs(15);
/// Pause of a writer after each write.
const BREATH: Duration = Duration::from_millis(2);

/// One write that was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Acked {
    pub(super) index: u64,
    pub(super) key: String,
    pub(super) value: String,
    /// When the client first tried.
    pub(super) wanted: Instant,
    /// When the attempt that succeeded was sent.
    pub(super) sent: Instant,
    pub(super) answered: Instant,
}

/// What a group of writers shares.
pub(super) struct Load {
    addresses: Mutex<Vec<SocketAddr>>,
    label: String,
    stop: AtomicBool,
    /// What is under way at the end may stay unanswered: nobody is left to answer.
    abandons: bool,
    acked: Mutex<Vec<Acked>>,
    /// Writes begun so far: each gets a key and a value of its own.
    begun: AtomicU64,
    /// How long a client waits for an answer before it tries another member.
    patience: Duration,
}

impl Load {
    /// Writers of keys that contain `label`, at all members.
    pub(super) fn on(cluster: &Cluster, label: &str) -> Self {
        Self {
            addresses: Mutex::new(cluster.addresses()),
            label: label.to_owned(),
            stop: AtomicBool::new(false),
            abandons: false,
            acked: Mutex::new(Vec::new()),
            begun: AtomicU64::new(0),
            patience: Duration::from_secs(2),
        }
    }

    /// Clients that wait no longer than this for a member.
    pub(super) fn patient(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Clients that give up what they are at when the story ends.
    pub(super) fn abandoning(mut self) -> Self {
        self.abandons = true;
        self
    }

    /// Writes at a further member from now on.
    pub(super) fn also(&self, address: SocketAddr) {
        self.addresses.lock().expect("no writer panicked").push(address);
    }

    /// Runs so many writers while `story` runs; its result.
    pub(super) fn during<T>(&self, writers: usize, story: impl FnOnce() -> T) -> T {
        self.stop.store(false, Ordering::SeqCst);
        thread::scope(|scope| {
            let handles: Vec<ScopedJoinHandle<()>> =
                (0..writers).map(|writer| scope.spawn(move || self.write(writer))).collect();
            // Ends the writers also when the story panics; else the scope would wait for ever.
            let _end = SetOnDrop(&self.stop);
            let told = story();
            self.stop.store(true, Ordering::SeqCst);
            for handle in handles {
                handle.join().expect("a writer finishes");
            }
            told
        })
    }

    /// The acknowledged writes so far.
    pub(super) fn acked(&self) -> Vec<Acked> {
        self.acked.lock().expect("no writer panicked").clone()
    }

    /// The number of acknowledged writes so far.
    pub(super) fn count(&self) -> usize {
        self.acked.lock().expect("no writer panicked").len()
    }

    /// Waits until so many more writes were acknowledged.
    pub(super) fn wait_for_more(&self, count: usize) {
        let goal = self.count() + count;
        eventually("the load goes on", PATIENCE, || (self.count() >= goal).then_some(()));
    }

    /// The earliest acknowledgement of an attempt that was sent after `instant`.
    pub(super) fn first_after(&self, instant: Instant) -> Option<Instant> {
        let acked = self.acked.lock().expect("no writer panicked");
        acked.iter().filter(|write| write.sent > instant).map(|write| write.answered).min()
    }

    /// The longest that a client waited for one write, attempts at all members together.
    pub(super) fn longest_wait(&self) -> Duration {
        self.acked().iter().map(|write| write.answered - write.wanted).max().unwrap_or_default()
    }

    fn write(&self, writer: usize) {
        let mut clients: Vec<Client> = Vec::new();
        let mut at = writer;
        while !self.stop.load(Ordering::SeqCst) {
            let known = clients.len();
            let addresses = self.addresses.lock().expect("no writer panicked");
            clients.extend(addresses.iter().skip(known).map(|&address| Client::new(address).patient(self.patience)));
            drop(addresses);
            at %= clients.len();
            let n = self.begun.fetch_add(1, Ordering::Relaxed);
            let key = format!("/d{}/{}-{n}", n % DIRECTORIES, self.label);
            let over = || self.abandons && self.stop.load(Ordering::SeqCst);
            let Some(written) = insist(&mut clients, &mut at, &key, &format!("{writer}.{n}"), over) else { return };
            self.acked.lock().expect("no writer panicked").push(written);
            at += 1;
            thread::sleep(BREATH);
        }
    }
}

/// Tries a write at one member after the other until it is acknowledged, or all is over.
fn insist(clients: &mut [Client], at: &mut usize, key: &str, value: &str, over: impl Fn() -> bool) -> Option<Acked> {
    let (wanted, mut patience) = (Instant::now(), GIVE_UP);
    loop {
        let sent = Instant::now();
        let answer = clients[*at].attempt("PUT", &format!("/v2/keys{key}"), Some(&form(&[("value", value)])));
        if let Ok(answer) = &answer
            && answer.status < 300
        {
            let index = modified(&answer.json());
            let answered = Instant::now();
            return Some(Acked { index, key: key.to_owned(), value: value.to_owned(), wanted, sent, answered });
        }
        if over() {
            return None;
        }
        patience = patience.saturating_sub(sent.elapsed().min(LONGEST_STEP));
        assert!(!patience.is_zero(), "PUT {key} failed at every member, at last: {answer:?}");
        *at = (*at + 1) % clients.len();
        thread::sleep(Duration::from_millis(10));
    }
}

/// The `modifiedIndex` of an answer or event.
pub(super) fn modified(json: &Value) -> u64 {
    json["node"]["modifiedIndex"].as_u64().unwrap_or_else(|| panic!("no index in {json}"))
}

/// The files of a listing: key to (modified index, value).
pub(super) fn files(listing: &Value) -> BTreeMap<String, (u64, String)> {
    let mut all = BTreeMap::new();
    collect(&listing["node"], &mut all);
    all
}

fn collect(node: &Value, into: &mut BTreeMap<String, (u64, String)>) {
    let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
    match node["nodes"].as_array() {
        Some(nodes) => nodes.iter().for_each(|node| collect(node, into)),
        None if node["dir"] == true => {}
        None => {
            let index = node["modifiedIndex"].as_u64().expect("a node has an index");
            into.insert(text("key"), (index, text("value")));
        }
    }
}

/// Fails unless every acknowledged write is in the listing. A write that was tried again may have a later index there.
pub(super) fn assert_kept(acked: &[Acked], listing: &Value) {
    let files = files(listing);
    let lost: Vec<_> = acked
        .iter()
        .filter(|write| {
            files.get(&write.key).is_none_or(|(index, value)| *index < write.index || *value != write.value)
        })
        .collect();
    assert!(lost.is_empty(), "{} of {} acknowledged writes are lost: {lost:?}", lost.len(), acked.len());
}

/// Fails if two writes got one index, or if a write begun after another was acknowledged got a lower one.
pub(super) fn assert_ordered(acked: &[Acked]) {
    let mut by_ack: Vec<_> = acked.iter().collect();
    by_ack.sort_by_key(|write| write.answered);
    let mut by_send: Vec<_> = acked.iter().collect();
    by_send.sort_by_key(|write| write.sent);
    let (mut done, mut newest) = (by_ack.into_iter().peekable(), 0);
    for write in by_send {
        while let Some(earlier) = done.next_if(|earlier| earlier.answered < write.sent) {
            newest = newest.max(earlier.index);
        }
        assert!(write.index > newest, "{write:?} was begun after index {newest} was acknowledged");
    }
    let indices: std::collections::BTreeSet<u64> = acked.iter().map(|write| write.index).collect();
    assert_eq!(indices.len(), acked.len(), "an index was given twice");
}
