//! Who wants to know: the live watchers of one shard.
//!
//! Which events a watch on path P receives, with K the event's key:
//!
//! | watch | delivered |
//! |---|---|
//! | not recursive | K = P |
//! | recursive | K = P, or K below P unless a component after P starts with `_` |
//! | any | a directory K above P was removed, and P existed |
//!
//! Refreshes are delivered to nobody. A replay from the past follows the same table; etcd 2.3's replays do not (they
//! show hidden keys, take `/ab` to be below `/a`, and end a stream after one event).

mod replay;

use crate::command::CommandRef;
use crate::event::Event;
use crate::ids::Index;
use crate::path;
use crate::refusal::{Code, Refusal};
use crate::store::Store;
use crate::view::NodeHandle;
use mutant::Mutant;
use replay::Replay;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

/// One live watcher of one hub. Ids grow in the order of registration and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub u64);

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch<'a> {
    /// Clean path; nothing needs to be there.
    pub path: &'a [u8],
    /// Below the path as well. On `/` this is every event of the shard that is not hidden.
    pub recursive: bool,
    /// Keep delivering; otherwise the watcher is gone after its first event (long poll).
    pub stream: bool,
    /// First index of interest (`waitIndex`); [`Index::ZERO`] = from now on.
    pub since: Index,
}

/// How much of the past is replayed in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// Events of the history that are looked at.
    pub examined: usize,
    /// Memory of the events replayed, in estimated bytes; the last may exceed it.
    pub bytes: usize,
}

impl Portion {
    /// Everything there is.
    pub const ALL: Self = Self { examined: usize::MAX, bytes: usize::MAX };
}

/// What registering gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Events of the past, oldest first: at most one for a long poll.
    pub replay: Vec<Rc<Event>>,
    /// The past is not at its end: register again from here. There is no live watcher yet.
    pub more: Option<Index>,
    /// The live watcher that goes on from there; none if a long poll already has its event.
    pub live: Option<WatcherId>,
}

/// Why a watch is refused: an event that it would have received may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// The first index from which the shard could serve it.
    pub oldest: Index,
    /// The first index of interest.
    pub since: Index,
}

impl From<Cleared> for Refusal {
    fn from(Cleared { oldest, since }: Cleared) -> Self {
        Self::new(Code::IndexCleared, format!("the requested history has been cleared [{oldest}/{since}]"))
    }
}

/// A watcher, in the list of its path.
#[derive(Clone, Copy, Debug)]
struct Watcher {
    id: WatcherId,
    since: Index,
    recursive: bool,
    stream: bool,
}

/// The live watchers of one shard.
///
/// Invariants: `by_path` holds exactly the watchers of `paths`; no list is empty; lists are in order of ids.
#[derive(Debug, Default)]
pub struct Hub {
    by_path: BTreeMap<Rc<[u8]>, Vec<Watcher>>,
    paths: BTreeMap<WatcherId, Rc<[u8]>>,
    registered: u64,
}

impl Hub {
    /// No watchers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replays what `watch` missed and registers it for what comes. No event is missed or repeated in between, if
    /// every event of `store` is dispatched before the next call.
    ///
    /// Refused only if an event that the watcher would have received may be gone.
    pub fn register(&mut self, store: &Store, watch: &Watch<'_>, portion: Portion) -> Result<Registered, Cleared> {
        let Replay { events: replay, more } = replay::replay(store, watch, portion)?;
        let done = !watch.stream && !replay.is_empty();
        let live = (!done && more.is_none()).then(|| self.add(watch));
        Ok(Registered { replay, more, live })
    }

    /// Ends a watch; false if it had ended before.
    pub fn cancel(&mut self, id: WatcherId) -> bool {
        let Some(path) = self.paths.remove(&id) else { return false };
        if let Some(watchers) = self.by_path.get_mut(&path) {
            watchers.retain(|watcher| watcher.id != id);
            if watchers.is_empty() {
                self.by_path.remove(&path);
            }
        }
        true
    }

    /// Appends who receives `event` to `out`, in order of registration. Long polls among them are gone afterwards.
    ///
    /// `removed` is the directory that the event took away, if it did. Cost: the watchers that receive it, those that
    /// watch its key or a directory above without being recursive, and those registered below a removed directory.
    pub fn dispatch(&mut self, event: &Rc<Event>, removed: Option<&NodeHandle>, out: &mut Vec<(WatcherId, Rc<Event>)>) {
        let skipped = mutant::is(Mutant::EventSkipped) && event.index.0.is_multiple_of(50);
        if event.refresh || self.by_path.is_empty() || skipped {
            return;
        }
        let first = out.len();
        let key = &*event.node.key;
        for path in self.watched_above(key) {
            let hidden = path::is_hidden_from(key, &path);
            let here = *path == *key;
            self.notify(&path, event, |watcher| here || (watcher.recursive && !hidden), out);
        }
        if let Some(removed) = removed {
            for path in self.watched_below(key) {
                if removed.contains(key, &path) {
                    self.notify(&path, event, |_| true, out);
                }
            }
        }
        out[first..].sort_unstable_by_key(|(id, _)| *id);
    }

    /// How many watchers the change that `command` asks for can reach at most; without those who watch the very name that an in-order
    /// create will give.
    pub fn reach(&self, command: &CommandRef<'_>) -> usize {
        let Some(key) = command.path() else { return 0 };
        // In a list of watchers of a directory, those that are not recursive are counted as well.
        let above: usize = self.watched_above(key).iter().map(|path| self.by_path[path].len()).sum();
        let may_remove = matches!(command, CommandRef::Delete { .. } | CommandRef::Expire { .. });
        let below = if may_remove { self.watched_below(key) } else { Vec::new() };
        above + below.iter().map(|path| self.by_path[path].len()).sum::<usize>()
    }

    /// Ends every watch and says which they were: for when a snapshot has taken the store's place, and nobody knows
    /// what they missed.
    pub fn cut_all(&mut self) -> Vec<WatcherId> {
        self.by_path.clear();
        std::mem::take(&mut self.paths).into_keys().collect()
    }

    /// Live watchers.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    fn add(&mut self, watch: &Watch<'_>) -> WatcherId {
        self.registered += 1;
        let id = WatcherId(self.registered);
        let path = match self.by_path.get_key_value(watch.path) {
            Some((path, _)) => Rc::clone(path),
            None => Rc::from(watch.path),
        };
        let Watch { since, recursive, stream, .. } = *watch;
        self.by_path.entry(Rc::clone(&path)).or_default().push(Watcher { id, since, recursive, stream });
        self.paths.insert(id, path);
        id
    }

    /// The watched paths at `key` and above, deepest first.
    ///
    /// Jumps from one to the next: the greatest watched path at or before the probe is either one of them, or parts
    /// from the key at some directory, and none of them can lie between. So a deep key costs no more than a flat one.
    fn watched_above(&self, key: &[u8]) -> Vec<Rc<[u8]>> {
        let mut found = Vec::new();
        let mut probe = Some(key);
        while let Some(upto) = probe {
            let Some((path, _)) = self.by_path.range::<[u8], _>((Bound::Unbounded, Bound::Included(upto))).next_back()
            else {
                break;
            };
            if path::below(upto, path).is_some() {
                found.push(Rc::clone(path));
                probe = path::split_last(&key[..path.len()]).map(|(dir, _)| dir);
            } else {
                probe = Some(path::common_part(upto, path));
            }
        }
        found
    }

    /// The watched paths strictly below the directory `key`.
    fn watched_below(&self, key: &[u8]) -> Vec<Rc<[u8]>> {
        let (mut from, mut to) = (key.to_vec(), key.to_vec());
        from.push(b'/');
        to.push(b'/' + 1);
        let range = (Bound::Excluded(from.as_slice()), Bound::Excluded(to.as_slice()));
        self.by_path.range::<[u8], _>(range).map(|(path, _)| Rc::clone(path)).collect()
    }

    /// Delivers to the watchers of `path` that `wants` picks.
    fn notify(
        &mut self,
        path: &[u8],
        event: &Rc<Event>,
        wants: impl Fn(&Watcher) -> bool,
        out: &mut Vec<(WatcherId, Rc<Event>)>,
    ) {
        let Some(watchers) = self.by_path.get_mut(path) else { return };
        watchers.retain(|watcher| {
            let begins = if mutant::is(Mutant::WatchBeginsLate) { watcher.since.next() } else { watcher.since };
            let delivered = begins <= event.index && wants(watcher);
            if delivered && mutant::is(Mutant::EventTwice) && event.index.0.is_multiple_of(50) {
                out.push((watcher.id, Rc::clone(event)));
            }
            if delivered {
                out.push((watcher.id, Rc::clone(event)));
                if !watcher.stream {
                    self.paths.remove(&watcher.id);
                }
            }
            !delivered || watcher.stream
        });
        if watchers.is_empty() {
            self.by_path.remove(path);
        }
    }
}
