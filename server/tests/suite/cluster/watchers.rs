//! Watchers that go on where they were, at another member, whenever a stream ends or says nothing for a while.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::tail::Seen;
use crate::harness::{Connection, eventually};

/// A stream that is silent for longer is left: under load that means that its member is cut off, or that little happens there.
const SILENCE: Duration = Duration::from_secs(3);
/// Some member can go on with a stream sooner than that.
const RESUMED: Duration = Duration::from_mins(1);

/// One of them, and what it saw since that was last looked at.
pub(super) struct Watcher {
    first: usize,
    /// What it watches, with all below.
    path: String,
    newest: AtomicU64,
    seen: Mutex<Vec<Seen>>,
    /// Streams begun.
    pub(super) streams: AtomicU64,
}

impl Watcher {
    /// Of everything after an index, at first at the member after this one.
    pub(super) fn new(first: usize, since: u64) -> Self {
        Self::of("/", first, since)
    }

    /// Of a key or directory.
    pub(super) fn of(path: &str, first: usize, since: u64) -> Self {
        Self {
            first,
            path: path.to_owned(),
            newest: AtomicU64::new(since),
            seen: Mutex::default(),
            streams: AtomicU64::new(0),
        }
    }

    /// Watches until `stop`.
    pub(super) fn run(&self, addresses: &[SocketAddr], stop: &AtomicBool) {
        let mut nth = self.first;
        while !stop.load(Ordering::SeqCst) {
            let begun = eventually("a member goes on with a stream", RESUMED, || {
                nth += 1;
                let over = stop.load(Ordering::SeqCst);
                if over { Some(None) } else { self.begin(addresses[nth % addresses.len()]).map(Some) }
            });
            let Some(mut stream) = begun else { return };
            while !stop.load(Ordering::SeqCst)
                && let Ok(event) = stream.event()
            {
                self.take(Seen::of(&event));
            }
        }
    }

    /// `None` when the member can not be reached, or does not have what comes next.
    fn begin(&self, address: SocketAddr) -> Option<Connection> {
        let next = self.newest() + 1;
        let mut stream = Connection::open(address).ok()?;
        stream.set_patience(SILENCE);
        let target = format!("/v2/keys{}?wait=true&recursive=true&stream=true&waitIndex={next}", self.path);
        stream.request("GET", &target, None).ok()?;
        let head = stream.head().ok()?;
        self.streams.fetch_add(1, Ordering::Relaxed);
        (head.status == 200).then_some(stream)
    }

    fn take(&self, event: Seen) {
        let before = self.newest.swap(event.index, Ordering::SeqCst);
        assert!(before < event.index, "{event:?} came after index {before}");
        self.seen.lock().expect("nobody panicked").push(event);
    }

    /// The index of the newest event that it saw, at first where it begins.
    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// Waits for everything up to an index, and takes it out.
    pub(super) fn take_up_to(&self, index: u64) -> Vec<Seen> {
        eventually("a watcher reaches an index", RESUMED, || (self.newest() >= index).then_some(()));
        let mut seen = self.seen.lock().expect("nobody panicked");
        let upto = seen.partition_point(|event| event.index <= index);
        seen.drain(..upto).collect()
    }

    /// Whether an event of this key is one of its own.
    pub(super) fn wants(&self, key: &str) -> bool {
        let below = key.strip_prefix(self.path.trim_end_matches('/'));
        below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }
}
