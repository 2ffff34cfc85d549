//! Lines of the log that would come ten times a second.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How often the same thing is said, as etcd does with the health of its links.
const AGAIN: Duration = Duration::from_secs(30);
/// Things remembered. Strangers can make up members; beyond this they are one and the same.
const REMEMBERED_MAX: usize = 1024;

/// Remembers what was said, and when.
#[derive(Debug)]
pub(super) struct Quiet<K> {
    said: RefCell<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Quiet<K> {
    pub(super) fn new() -> Self {
        Self { said: RefCell::new(HashMap::new()) }
    }

    /// Whether it is time to say this.
    pub(super) fn may_say(&self, what: K, now: Instant) -> bool {
        let mut said = self.said.borrow_mut();
        if said.get(&what).is_some_and(|last| now.duration_since(*last) < AGAIN) {
            return false;
        }
        if said.len() >= REMEMBERED_MAX {
            said.retain(|_, last| now.duration_since(*last) < AGAIN);
        }
        if said.len() >= REMEMBERED_MAX {
            return false;
        }
        said.insert(what, now);
        true
    }

    /// All is well: the next time is a first time.
    pub(super) fn forget(&self, which: impl Fn(&K) -> bool) {
        self.said.borrow_mut().retain(|what, _| !which(what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_in_a_while() {
        let quiet = Quiet::new();
        let start = Instant::now();
        assert!(quiet.may_say((1, "a"), start));
        assert!(!quiet.may_say((1, "a"), start + AGAIN / 2));
        assert!(quiet.may_say((2, "a"), start + AGAIN / 2));
        assert!(quiet.may_say((1, "a"), start + AGAIN));
        quiet.forget(|(member, _)| *member == 1);
        assert!(quiet.may_say((1, "a"), start + AGAIN));
        for member in 0..2 * REMEMBERED_MAX {
            quiet.may_say((member + 10, "b"), start);
        }
        assert!(quiet.said.borrow().len() <= REMEMBERED_MAX);
    }
}
