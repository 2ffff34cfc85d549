//! What a watch that starts in the past would have received.
//!
//! **When it is refused.** History forgets; that matters only if something the watcher would have received is among the
//! forgotten. The tree proves that it is not, for a path whose last change is older than the watch's start; and so
//! does the oldest event kept on the very path, if the file it found was last changed before the start.
//!
//! **Removed with a directory above.** Such an event is for P only if P existed, and the events kept do not always say.
//! If the last of them that bears on P, or a history that has forgotten nothing, tells that P did not exist, the event
//! is not delivered, as it would not have been live. If nothing tells, it is: a watcher may be told too much, but
//! never too little.

use super::{Cleared, Portion, Watch};
use crate::event::{Action, Event, NodeView};
use crate::history::{History, Record};
use crate::ids::Index;
use crate::path;
use crate::store::Store;
use mutant::Mutant;
use std::rc::Rc;

/// Memory an event takes that is handed out, beside its key and values: two views, the counts, the allocator's rounding.
const EVENT_BYTES: usize = 320;

/// Memory an event takes that is handed out. Values count in full although the tree or a neighbour may share them.
fn cost_bytes(event: &Event) -> usize {
    let value = |view: &NodeView| view.value.as_ref().map_or(0, |value| value.len());
    EVENT_BYTES + event.node.key.len() + value(&event.node) + event.prev.as_ref().map_or(0, value)
}

/// A part of what a watch missed.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Oldest first.
    pub(super) events: Vec<Rc<Event>>,
    /// Where the next part begins; none: this was all.
    pub(super) more: Option<Index>,
}

/// The events from `watch.since` on: all for a stream, the first one for a long poll, in parts of about `portion`.
pub(super) fn replay(store: &Store, watch: &Watch<'_>, portion: Portion) -> Result<Replay, Cleared> {
    let quiet = store.last_told(watch.path, watch.recursive) < watch.since;
    if watch.since == Index::ZERO || watch.since > store.applied() || quiet {
        return Ok(Replay::default());
    }
    let history = store.history();
    let kept = if mutant::is(Mutant::ClearedOffByOne) { watch.since.next() } else { watch.since };
    if kept <= history.cleared() && !oldest_kept_follows_quiet(history, watch) {
        return Err(Cleared { oldest: history.cleared().next(), since: watch.since });
    }
    let mut existence = None;
    let mut replay = Replay::default();
    let mut bytes = 0;
    let from = if mutant::is(Mutant::ReplayBeginsLate) { watch.since.next() } else { watch.since };
    for (examined, event) in history.from(from).enumerate() {
        if examined == portion.examined || bytes >= portion.bytes {
            replay.more = Some(event.index);
            break;
        }
        if received(history, watch, &event, &mut existence) {
            let event = Rc::new(event.to_event());
            bytes += cost_bytes(&event);
            replay.events.push(event);
            if !watch.stream {
                break;
            }
        }
    }
    Ok(replay)
}

/// Whether the oldest event kept on the watched path found a file there that had not changed since the watch's start.
fn oldest_kept_follows_quiet(history: &History, watch: &Watch<'_>) -> bool {
    let oldest = history.iter().find(|event| event.node.key == watch.path);
    let found = oldest.and_then(|event| event.prev);
    found.is_some_and(|file| !file.dir && file.modified < watch.since)
}

/// `existence` is made when the first event asks for it, and then carried along.
fn received<'h>(
    history: &'h History,
    watch: &Watch<'_>,
    event: &Record<'_>,
    existence: &mut Option<Existence<'h>>,
) -> bool {
    let (key, path) = (event.node.key, watch.path);
    if event.refresh {
        false
    } else if *key == *path {
        true
    } else if event.removed_directory() && path::is_below(path, key) {
        existence.get_or_insert_with(|| Existence::new(history)).before(event.index, path) != Some(false)
    } else {
        watch.recursive && path::is_below(key, path) && !path::is_hidden_from(key, path)
    }
}

/// Whether a path existed, followed through the history from its oldest event on.
struct Existence<'h> {
    events: std::iter::Peekable<Box<dyn Iterator<Item = Record<'h>> + 'h>>,
    /// None: nothing tells.
    now: Option<bool>,
}

impl<'h> Existence<'h> {
    fn new(history: &'h History) -> Self {
        let events: Box<dyn Iterator<Item = _>> = Box::new(history.iter());
        Self { events: events.peekable(), now: (history.cleared() == Index::ZERO).then_some(false) }
    }

    /// Just before the change `index`; asked with growing indices.
    fn before(&mut self, index: Index, path: &[u8]) -> Option<bool> {
        while let Some(event) = self.events.next_if(|event| event.index < index) {
            self.now = tells(&event, path).or(self.now);
        }
        self.now
    }
}

/// What an event tells of the existence of `path` after it.
fn tells(event: &Record<'_>, path: &[u8]) -> Option<bool> {
    let key = event.node.key;
    let above_and_stays = event.action == Action::Update && event.node.dir;
    if path::is_below(key, path) || (*key == *path && !event.action.removes()) {
        Some(true) // something at the path, or in it
    } else if path::below(path, key).is_none() || above_and_stays {
        None
    } else {
        Some(false) // taken away, or below a file or a directory just made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::HistoryLimits;

    fn event(action: Action, key: &str, dir: bool) -> Event {
        let node = NodeView {
            key: Rc::from(key.as_bytes()),
            value: None,
            dir,
            expiration: None,
            ttl: 0,
            modified: Index(1),
            created: Index(1),
        };
        Event { action, index: Index(1), node, prev: None, refresh: false }
    }

    /// Events as seen from a watch on `/a/b`.
    #[test]
    fn what_an_event_tells_of_a_path() {
        for (name, action, key, dir, want) in [
            ("made", Action::Create, "/a/b", false, Some(true)),
            ("made by something in it", Action::Set, "/a/b/c", false, Some(true)),
            ("something in it removed", Action::Delete, "/a/b/c", false, Some(true)),
            ("removed", Action::Delete, "/a/b", true, Some(false)),
            ("removed with the directory above", Action::Expire, "/a", true, Some(false)),
            ("a file above", Action::Set, "/a", false, Some(false)),
            ("a file above changed", Action::CompareAndSwap, "/a", false, Some(false)),
            ("the directory above made anew", Action::Set, "/a", true, Some(false)),
            ("the directory above got a TTL", Action::Update, "/a", true, None),
            ("a neighbour", Action::Set, "/a/bc", false, None),
            ("elsewhere", Action::Delete, "/x", true, None),
        ] {
            let mut history = History::new(HistoryLimits::default(), Index::ZERO);
            history.push(&event(action, key, dir));
            let told = history.iter().next().and_then(|event| tells(&event, b"/a/b"));
            assert_eq!(told, want, "{name}");
        }
    }
}
