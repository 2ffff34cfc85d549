//! Times to live that the source prolongs without an event.
//!
//! A refresh (`refresh=true`) notifies nobody, so the copy's key would expire while the source's lives on. Whatever has a time to live is looked up
//! in the source before its time in the copy is over.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Plan;
use crate::client::{Client, Condition, Deadline, Error, Keys, Node, Read, Write};

/// How often it is looked whose time comes to its end.
const ROUND: Duration = Duration::from_millis(500);
/// A key is looked up when one of so many shares of its time is left.
const SHARES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(5);

/// Keys of the source that have a time to live.
#[derive(Debug, Default)]
pub(super) struct Leases {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// When to look it up, and whether it is a directory.
    due: HashMap<String, Instant>,
    closed: bool,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how many seconds a key has to live; 0 for as long as it likes.
    pub(super) fn note(&self, key: &str, ttl: i64) {
        let mut inner = self.lock();
        if ttl <= 0 {
            inner.due.remove(key);
        } else {
            inner.due.insert(key.to_owned(), due(ttl));
        }
    }

    /// Notes a whole tree, in place of what was noted before.
    pub(super) fn load(&self, plan: &Plan, tree: &Node) {
        let mut due_keys = HashMap::new();
        let mut left = vec![tree];
        while let Some(node) = left.pop() {
            if node.ttl > 0 && node.key != plan.from {
                due_keys.insert(node.key.clone(), due(node.ttl));
            }
            left.extend(&node.nodes);
        }
        self.lock().due = due_keys;
    }

    /// Ends `keep_alive`.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits a round, then takes what is due; `None` at the end.
    fn take_due(&self) -> Option<Vec<String>> {
        let waited = self.changed.wait_timeout_while(self.lock(), ROUND, |inner| !inner.closed);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if inner.closed {
            return None;
        }
        let now = Instant::now();
        let due = inner.due.extract_if(|_, at| *at <= now).map(|(key, _)| key).collect();
        Some(due)
    }
}

fn due(ttl: i64) -> Instant {
    let ttl = Duration::from_secs(ttl.unsigned_abs().min(u64::from(u32::MAX)));
    Instant::now() + ttl / SHARES * (SHARES - 1)
}

/// Prolongs in the copy what the source has prolonged, until `leases` are closed.
pub(super) fn keep_alive(plan: &Plan, source: &Client, copy: &Client, leases: &Leases) {
    while let Some(due) = leases.take_due() {
        for key in due {
            match Keys::new(source).get(&key, Read::default(), Deadline::within(PATIENCE)) {
                Ok(found) if found.node.ttl > 0 => {
                    leases.note(&key, found.node.ttl);
                    prolong(plan, copy, &found.node);
                }
                // It is gone, or has no end any more: the event says so.
                Ok(_) | Err(Error::Api(_)) => {}
                Err(_) => leases.note(&key, 1),
            }
        }
    }
}

/// Changes nothing but the time to live of what is there: a value would overtake events that are still under way.
fn prolong(plan: &Plan, copy: &Client, node: &Node) {
    let value = (!node.dir).then(Vec::new);
    let condition = Condition { exists: Some(true), ..Condition::default() };
    let write = Write { value, ttl: node.ttl, refresh: true, condition };
    // Best effort: a failure shows in the next change, and a key that expires too early comes back with its next event.
    let _ = Keys::new(copy).put(&plan.key(&node.key), &write, Deadline::within(PATIENCE));
}
