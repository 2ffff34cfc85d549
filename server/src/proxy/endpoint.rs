//! One member as the proxy knows it: where it is, and whether it is worth asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::config::Url;

/// A client URL of a member, shared by all executors.
#[derive(Debug)]
pub(crate) struct Endpoint {
    url: Url,
    /// When the proxy started; times are milliseconds since then.
    started: Instant,
    /// The members still name it.
    listed: AtomicBool,
    /// It failed, and is asked nothing until then; 0: it can be asked.
    marked_until: AtomicU64,
    /// It takes connections, or does not even refuse them, and answers nothing: it is left alone until it answers a probe.
    hung: AtomicBool,
    /// How often it was found hung: who waits for it gives up when this changes.
    found_hung: AtomicU64,
    /// How often a connection to it was lost: what was made before that is not used again.
    lost: AtomicU64,
    /// How many of these there were when it showed last that it serves.
    proven: AtomicU64,
    /// Exchanges that wait for it now.
    waiting: AtomicUsize,
    /// When something came from it last, or when the first of those began to wait.
    heard: AtomicU64,
}

impl Endpoint {
    pub(super) fn new(url: Url, started: Instant) -> Self {
        Self {
            url,
            started,
            listed: AtomicBool::new(true),
            marked_until: AtomicU64::new(0),
            hung: AtomicBool::new(false),
            found_hung: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            proven: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            heard: AtomicU64::new(0),
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Whether a request may be sent to it.
    pub(super) fn is_available(&self) -> bool {
        let until = self.marked_until.load(Relaxed);
        if until > self.now() || self.hung.load(Relaxed) {
            return false;
        }
        if until > 0 && self.marked_until.compare_exchange(until, 0, Relaxed, Relaxed).is_ok() {
            tracing::info!(target: "proxy", "marked endpoint {} available, to retest connectivity", self.url);
        }
        true
    }

    /// It failed: nothing is sent to it for `wait`.
    pub(super) fn mark(&self, wait: Duration) {
        let until = self.now() + wait.as_millis() as u64;
        if self.marked_until.swap(until.max(1), Relaxed) == 0 {
            tracing::info!(target: "proxy", "marked endpoint {} unavailable", self.url);
        }
    }

    /// The members have just named it: whatever was held against it is forgotten, but that it hangs.
    pub(super) fn name_again(&self) {
        self.listed.store(true, Relaxed);
        self.marked_until.store(0, Relaxed);
    }

    /// The members do not name it any more.
    pub(super) fn strike(&self) {
        self.listed.store(false, Relaxed);
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed.load(Relaxed)
    }

    /// It hangs.
    pub(super) fn give_up(&self) {
        self.found_hung.fetch_add(1, Relaxed);
        if !self.hung.swap(true, Relaxed) {
            tracing::warn!(target: "proxy", "endpoint {} does not answer: it is left alone until it does", self.url);
        }
    }

    /// It has answered a probe.
    pub(super) fn revive(&self) {
        self.hear();
        if self.hung.swap(false, Relaxed) {
            tracing::info!(target: "proxy", "endpoint {} answers again", self.url);
        }
    }

    pub(super) fn is_hung(&self) -> bool {
        self.hung.load(Relaxed)
    }

    pub(super) fn times_hung(&self) -> u64 {
        self.found_hung.load(Relaxed)
    }

    /// A connection to it has ended or failed: it may be about to die, or be dead.
    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    pub(super) fn times_lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Whether it has lost connections and not answered since; how many, to say that it has with [`Self::prove`].
    pub(super) fn is_in_doubt(&self) -> Option<u64> {
        let lost = self.times_lost();
        (lost > self.proven.load(Relaxed)).then_some(lost)
    }

    /// It has answered after these losses.
    pub(super) fn prove(&self, lost: u64) {
        self.proven.fetch_max(lost, Relaxed);
    }

    /// Something has come from it.
    pub(super) fn hear(&self) {
        self.heard.store(self.now(), Relaxed);
    }

    /// For how long somebody has waited for it while nothing came; `None` if nobody waits.
    pub(super) fn silence(&self) -> Option<Duration> {
        let waited_for = self.waiting.load(Relaxed) > 0;
        waited_for.then(|| Duration::from_millis(self.now().saturating_sub(self.heard.load(Relaxed))))
    }
}

/// An exchange that waits for an endpoint, until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Endpoint>);

impl Waiting {
    pub(super) fn on(endpoint: &Arc<Endpoint>) -> Self {
        if endpoint.waiting.fetch_add(1, Relaxed) == 0 {
            endpoint.hear();
        }
        Self(Arc::clone(endpoint))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Arc<Endpoint> {
        Arc::new(Endpoint::new(Url::parse("http://a:1").expect("valid"), Instant::now()))
    }

    #[test]
    fn a_mark_ends_by_itself_and_with_a_refresh() {
        let endpoint = endpoint();
        assert!(endpoint.is_available());
        endpoint.mark(Duration::from_hours(1));
        assert!(!endpoint.is_available());
        endpoint.name_again();
        assert!(endpoint.is_available());
        endpoint.mark(Duration::ZERO);
        while !endpoint.is_available() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_hangs_is_left_alone_until_it_answers() {
        let endpoint = endpoint();
        let before = endpoint.times_hung();
        endpoint.give_up();
        endpoint.name_again();
        assert!(!endpoint.is_available() && endpoint.times_hung() > before);
        endpoint.revive();
        assert!(endpoint.is_available());
    }

    #[test]
    fn a_loss_is_a_doubt_until_an_answer_after_it() {
        let endpoint = endpoint();
        assert_eq!(endpoint.is_in_doubt(), None);
        endpoint.lose();
        let before = endpoint.is_in_doubt().expect("a loss");
        endpoint.lose();
        endpoint.prove(before);
        let lost = endpoint.is_in_doubt().expect("one has come since");
        endpoint.prove(lost);
        assert_eq!(endpoint.is_in_doubt(), None);
    }

    #[test]
    fn silence_counts_only_while_somebody_waits() {
        let endpoint = endpoint();
        assert_eq!(endpoint.silence(), None);
        let waiting = Waiting::on(&endpoint);
        assert!(endpoint.silence().is_some());
        drop(waiting);
        assert_eq!(endpoint.silence(), None);
    }
}
