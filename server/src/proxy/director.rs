//! Which members there are, and in which order they are asked.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::endpoint::Endpoint;
use crate::config::Url;

/// The endpoints, shared by all executors.
pub(super) struct Director {
    started: Instant,
    /// Sorts the endpoints: every proxy asks in an order of its own, and stays with it, so that its clients see one member
    /// go on rather than several that lag differently.
    order: RandomState,
    lists: Mutex<Lists>,
    /// Changes with the list.
    version: AtomicU64,
    /// Changes whenever an endpoint is found hung.
    alarms: AtomicU64,
    /// Failures of endpoints, and how many there were when a leader was last seen to be there.
    failures: AtomicU64,
    calmed: AtomicU64,
}

#[derive(Default)]
struct Lists {
    /// What the members named last, in the order of asking.
    named: Vec<Arc<Endpoint>>,
    /// Everything that somebody still uses.
    known: Vec<Weak<Endpoint>>,
}

impl Director {
    pub(super) fn new(started: Instant) -> Self {
        let zero = || AtomicU64::new(0);
        let (version, alarms, failures, calmed) = (zero(), zero(), zero(), zero());
        Self { started, order: RandomState::new(), lists: Mutex::default(), version, alarms, failures, calmed }
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        // A panic ends the process; nothing is left half done.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The members have named these URLs. Whatever was held against those that were known is forgotten. True if they are
    /// others than before.
    pub(super) fn replace(&self, mut urls: Vec<Url>) -> bool {
        urls.sort_by_cached_key(|url| self.order.hash_one(url));
        urls.dedup();
        let mut lists = self.lists();
        let same = lists.named.iter().map(|endpoint| endpoint.url()).eq(&urls);
        lists.known.retain(|known| known.strong_count() > 0);
        let known: Vec<Arc<Endpoint>> = lists.known.iter().filter_map(Weak::upgrade).collect();
        for endpoint in &known {
            endpoint.strike();
        }
        let started = self.started;
        let named = urls.into_iter().map(|url| {
            let found = known.iter().find(|endpoint| *endpoint.url() == url);
            found.map_or_else(|| Arc::new(Endpoint::new(url, started)), Arc::clone)
        });
        lists.named = named.collect();
        for endpoint in &lists.named {
            endpoint.name_again();
        }
        let is_new = |named: &&Arc<Endpoint>| !known.iter().any(|known| Arc::ptr_eq(known, named));
        let new: Vec<_> = lists.named.iter().filter(is_new).map(Arc::downgrade).collect();
        lists.known.extend(new);
        self.version.fetch_add(1, Relaxed);
        !same
    }

    /// Changes when [`Self::named`] does.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    /// The endpoints in the order of asking, whether they can be asked or not.
    pub(super) fn named(&self) -> Vec<Arc<Endpoint>> {
        self.lists().named.clone()
    }

    /// Those that can be asked now.
    pub(super) fn available(&self) -> Vec<Arc<Endpoint>> {
        self.lists().named.iter().filter(|endpoint| endpoint.is_available()).cloned().collect()
    }

    /// Everything that somebody may wait for, named or not.
    pub(super) fn known(&self) -> Vec<Arc<Endpoint>> {
        self.lists().known.iter().filter_map(Weak::upgrade).collect()
    }

    /// An endpoint hangs: it is left alone, and those who wait for it are to be woken.
    pub(super) fn give_up(&self, endpoint: &Endpoint) {
        endpoint.give_up();
        self.shake();
        self.alarms.fetch_add(1, Relaxed);
    }

    /// An endpoint has failed: it may have been the leader.
    pub(super) fn shake(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Whether an endpoint has failed since a leader was seen; how many have so far, to say what is over with [`Self::calm`].
    pub(super) fn is_shaken(&self) -> Option<u64> {
        let failures = self.failures.load(Relaxed);
        (failures > self.calmed.load(Relaxed)).then_some(failures)
    }

    /// There was a leader after these failures.
    pub(super) fn calm(&self, failures: u64) {
        self.calmed.fetch_max(failures, Relaxed);
    }

    /// Changes with every endpoint that is found hung.
    pub(super) fn alarms(&self) -> u64 {
        self.alarms.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn urls(ports: &[u16]) -> Vec<Url> {
        ports.iter().map(|port| Url::parse(&format!("http://a:{port}")).expect("valid")).collect()
    }

    #[test]
    fn the_order_is_kept_and_marks_are_forgotten() {
        let director = Director::new(Instant::now());
        assert!(director.replace(urls(&[1, 2, 3, 2])));
        let first = director.named();
        assert_eq!(first.len(), 3);
        first[0].mark(Duration::from_hours(1));
        assert_eq!(director.available().len(), 2);
        assert!(!director.replace(urls(&[3, 2, 1])));
        assert!(director.named().iter().zip(&first).all(|(now, before)| Arc::ptr_eq(now, before)));
        assert_eq!(director.available().len(), 3);
    }

    #[test]
    fn a_leader_that_was_seen_ends_the_failures_before() {
        let director = Director::new(Instant::now());
        assert_eq!(director.is_shaken(), None);
        director.shake();
        let before = director.is_shaken().expect("a failure");
        director.shake();
        director.calm(before);
        let failures = director.is_shaken().expect("one has come since");
        director.calm(failures);
        assert_eq!(director.is_shaken(), None);
    }

    #[test]
    fn what_is_named_no_more_is_known_as_long_as_it_is_used() {
        let director = Director::new(Instant::now());
        director.replace(urls(&[1, 2]));
        let used = director.named().remove(0);
        director.replace(Vec::new());
        assert!(director.named().is_empty() && !used.is_listed());
        assert!(director.known().iter().any(|known| Arc::ptr_eq(known, &used)));
        director.replace(urls(&[1, 2]));
        assert!(used.is_listed() && director.named().iter().any(|named| Arc::ptr_eq(named, &used)));
    }
}
