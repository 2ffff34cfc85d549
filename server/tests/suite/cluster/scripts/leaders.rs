//! Looks for two primaries.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::Client;

/// Asks all members, over and over, whether they are the primary.
pub(super) struct Watch {
    addresses: Mutex<Vec<SocketAddr>>,
    stop: AtomicBool,
    /// The longest time for which two members said so.
    longest: Mutex<Duration>,
}

impl Watch {
    pub(super) fn of(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses: Mutex::new(addresses), stop: AtomicBool::new(false), longest: Mutex::default() }
    }

    pub(super) fn also(&self, address: SocketAddr) {
        self.addresses.lock().expect("nobody panicked").push(address);
    }

    /// Goes on until [`end`](Self::end).
    pub(super) fn run(&self) {
        let mut clients: Vec<Client> = Vec::new();
        let mut since: Option<Instant> = None;
        while !self.stop.load(Ordering::SeqCst) {
            let known = clients.len();
            let addresses = self.addresses.lock().expect("nobody panicked").clone();
            let new = addresses.into_iter().skip(known);
            clients.extend(new.map(|address| Client::new(address).patient(Duration::from_millis(300))));
            let begun = Instant::now();
            if clients.iter_mut().filter_map(leads).count() < 2 {
                since = None;
            } else {
                let time = since.get_or_insert(begun).elapsed();
                let mut longest = self.longest.lock().expect("nobody panicked");
                *longest = longest.max(time);
            }
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// The longest time for which two members said that they are the primary.
    pub(super) fn longest(&self) -> Duration {
        *self.longest.lock().expect("nobody panicked")
    }

    pub(super) fn flag(&self) -> &AtomicBool {
        &self.stop
    }
}

/// The name of a member that says that it is the primary.
pub(super) fn leads(client: &mut Client) -> Option<String> {
    let own = client.attempt("GET", "/v2/stats/self", None).ok().filter(|answer| answer.status == 200)?.json();
    (own["state"] == "StateLeader").then(|| own["name"].to_string())
}

/// Fails when members followed two primaries at one term, by what they logged.
pub(super) fn assert_one_per_term(log: &str) {
    let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once(" follows primary ") else { continue };
        let Some((primary, term)) = rest.split_once(" at term ") else { continue };
        named.entry(term).or_default().insert(primary);
    }
    assert!(!named.is_empty(), "members say whom they follow");
    let doubled: Vec<_> = named.iter().filter(|(_, primaries)| primaries.len() > 1).collect();
    assert!(doubled.is_empty(), "two primaries at one term: {doubled:?}");
}

#[test]
fn two_primaries_at_one_term_are_found() {
    let sound = "x raft: a follows primary b at term 3\ny raft: c follows primary b at term 3\nz raft: b follows primary c at term 4\n";
    assert_one_per_term(sound);
    let planted = format!("{sound}x raft: d follows primary d at term 3\n");
    assert!(std::panic::catch_unwind(|| assert_one_per_term(&planted)).is_err());
}
