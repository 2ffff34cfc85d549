//! The v2 store written down a second time, as plainly as possible: one map of full paths, walked from the start for
//! everything. Slow, and close to the words of the specification rather than to the real store.

use super::{NOW, SECOND};
use shard::command::Command;
use shard::event::{Action, Event, NodeView};
use shard::ids::Index;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Refusals as number and cause.
pub(crate) type Answer = Result<Option<Rc<Event>>, (u16, String)>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// None: a directory.
    pub(crate) value: Option<String>,
    pub(crate) created: u64,
    pub(crate) modified: u64,
    /// On the timeline: wall clock less `shift`.
    pub(crate) deadline: Option<i128>,
}

/// An event, and every path that existed below it just before.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) event: Rc<Event>,
    pub(crate) below: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    pub(crate) items: BTreeMap<String, Item>,
    pub(crate) happened: Vec<Happened>,
    shift: i128,
}

const CAP: i128 = i64::MAX as i128;

impl Naive {
    pub(crate) fn apply(&mut self, index: u64, now: u64, command: &Command) -> Answer {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("tests use text");
        let wanted = |value: &Option<Vec<u8>>| value.as_deref().map(text).unwrap_or_default();
        match command {
            Command::Set { path, value, dir, ttl, refresh } => {
                self.set(index, now, &text(path), text(value), *dir, *ttl, *refresh)
            }
            Command::Create { path, value, dir, ttl, in_order } => {
                let parent = text(path);
                let name = format!("{}/{index:020}", parent.trim_end_matches('/'));
                self.create(index, now, if *in_order { &name } else { &parent }, text(value), *dir, *ttl)
            }
            Command::Update { path, value, ttl, refresh } => {
                let path = text(path);
                self.existing(&path)?;
                if self.items[&path].value.is_none() && !value.is_empty() {
                    return Err((102, path));
                }
                Ok(Some(self.rewrite(index, now, &path, text(value), *ttl, *refresh, Action::Update)))
            }
            Command::CompareAndSwap { path, value, ttl, refresh, prev_value, prev_index } => {
                let path = text(path);
                self.existing(&path)?;
                self.compare(&path, &wanted(prev_value), *prev_index)?;
                Ok(Some(self.rewrite(index, now, &path, text(value), *ttl, *refresh, Action::CompareAndSwap)))
            }
            Command::Delete { path, dir, recursive } => {
                let path = text(path);
                self.existing(&path)?;
                if self.items[&path].value.is_none() && !recursive {
                    match (dir, self.below(&path).is_empty()) {
                        (false, _) => return Err((102, path)),
                        (true, false) => return Err((108, path)),
                        (true, true) => {}
                    }
                }
                Ok(Some(self.remove(index, now, &path, Action::Delete)))
            }
            Command::CompareAndDelete { path, prev_value, prev_index } => {
                let path = text(path);
                if path == "/" {
                    return Err((102, String::new()));
                }
                self.existing(&path)?;
                self.compare(&path, &wanted(prev_value), *prev_index)?;
                Ok(Some(self.remove(index, now, &path, Action::CompareAndDelete)))
            }
            Command::Expire { path, deadline, created } => {
                let path = text(path);
                let same = |item: &Item| item.deadline == Some(i128::from(*deadline)) && item.created == *created;
                let found = self.items.get(&path).is_some_and(same);
                Ok(found.then(|| self.remove(index, now, &path, Action::Expire)))
            }
            Command::Rebase { by_ns } => {
                self.shift += i128::from(*by_ns);
                Ok(None)
            }
            Command::System(_) => Ok(None),
        }
    }

    /// Everything overdue, earliest first.
    pub(crate) fn due(&self, now: u64) -> Vec<String> {
        let here = i128::from(now) - self.shift;
        let due = self.items.iter().filter_map(|(path, item)| Some((item.deadline.filter(|d| *d <= here)?, path)));
        due.collect::<BTreeSet<_>>().into_iter().map(|(_, path)| path.clone()).collect()
    }

    /// What a listing of `dir` shows, in order.
    pub(crate) fn list(&self, dir: &str, recursive: bool) -> Vec<String> {
        let mut shown: Vec<_> = self.below(dir).into_iter().filter(|path| !hidden(path, dir)).collect();
        if !recursive {
            shown.retain(|path| !rest(path, dir).contains('/'));
        }
        shown.sort_by(|a, b| a.split('/').cmp(b.split('/')));
        shown
    }

    /// The events that a watch would have been told of, if it had been there when they happened.
    pub(crate) fn told(&self, path: &str, recursive: bool, since: u64) -> Vec<Rc<Event>> {
        let told = |h: &&Happened| h.event.index.0 >= since && h.is_for(path, recursive);
        self.happened.iter().filter(told).map(|h| Rc::clone(&h.event)).collect()
    }

    pub(crate) fn view(&self, path: &str, now: u64) -> NodeView {
        let item = &self.items[path];
        let key = Rc::from(path.as_bytes());
        let here = (i128::from(now) - self.shift).clamp(1, CAP);
        NodeView {
            key,
            value: item.value.as_ref().map(|value| Rc::from(value.as_bytes())),
            dir: item.value.is_none(),
            expiration: item.deadline.map(|deadline| (deadline + self.shift).clamp(1, CAP) as u64),
            ttl: item.deadline.map_or(0, |deadline| match deadline - here {
                left if left > 0 => (left + i128::from(SECOND) - 1) / i128::from(SECOND),
                late => late / i128::from(SECOND),
            }) as i64,
            modified: Index(item.modified),
            created: Index(item.created),
        }
    }

    fn below(&self, dir: &str) -> BTreeSet<String> {
        let prefix = if dir == "/" { "/".to_string() } else { format!("{dir}/") };
        self.items.keys().filter(|path| path.starts_with(&prefix)).cloned().collect()
    }

    /// Root, then the walk: what is missing or in the way, up to and including it.
    fn existing(&self, path: &str) -> Result<(), (u16, String)> {
        if path == "/" {
            return Err((107, path.into()));
        }
        for prefix in prefixes(path) {
            match self.items.get(prefix) {
                None => return Err((100, prefix.into())),
                Some(item) if item.value.is_some() && prefix != path => return Err((104, prefix.into())),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn compare(&self, path: &str, value: &str, index: u64) -> Result<(), (u16, String)> {
        let item = &self.items[path];
        let Some(actual) = &item.value else { return Err((102, path.into())) };
        let mut differs = Vec::new();
        if !value.is_empty() && value != actual {
            differs.push(format!("[{value} != {actual}]"));
        }
        if index != 0 && index != item.modified {
            differs.push(format!("[{index} != {}]", item.modified));
        }
        if differs.is_empty() { Ok(()) } else { Err((101, differs.join(" "))) }
    }

    #[allow(clippy::too_many_arguments, reason = "a request has this many parameters")]
    fn set(
        &mut self,
        index: u64,
        now: u64,
        path: &str,
        value: String,
        dir: bool,
        ttl: Option<u64>,
        refresh: bool,
    ) -> Answer {
        let value = match self.existing(path) {
            Ok(()) => match &self.items[path].value {
                None => return Err((102, path.into())),
                Some(old) if refresh => old.clone(),
                Some(_) => value,
            },
            Err((100, _)) if !refresh => value,
            Err(refused) => return Err(refused),
        };
        let prev = self.items.contains_key(path).then(|| self.view(path, now));
        Ok(Some(self.put(index, now, path, (!dir).then_some(value), ttl, prev, Action::Set, refresh)))
    }

    fn create(&mut self, index: u64, now: u64, path: &str, value: String, dir: bool, ttl: Option<u64>) -> Answer {
        match self.existing(path) {
            Ok(()) => Err((105, path.into())),
            Err((100, _)) => {
                Ok(Some(self.put(index, now, path, (!dir).then_some(value), ttl, None, Action::Create, false)))
            }
            Err(refused) => Err(refused),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a request has this many parameters")]
    fn put(
        &mut self,
        index: u64,
        now: u64,
        path: &str,
        value: Option<String>,
        ttl: Option<u64>,
        prev: Option<NodeView>,
        action: Action,
        refresh: bool,
    ) -> Rc<Event> {
        for prefix in prefixes(path).filter(|prefix| *prefix != path) {
            let dir = Item { value: None, created: index, modified: index, deadline: None };
            self.items.entry(prefix.into()).or_insert(dir);
        }
        let deadline = self.deadline(now, ttl);
        self.items.insert(path.into(), Item { value, created: index, modified: index, deadline });
        let node = self.view(path, now);
        self.happen(Event { action, index: Index(index), node, prev, refresh }, BTreeSet::new())
    }

    #[allow(clippy::too_many_arguments, reason = "a request has this many parameters")]
    fn rewrite(
        &mut self,
        index: u64,
        now: u64,
        path: &str,
        value: String,
        ttl: Option<u64>,
        refresh: bool,
        action: Action,
    ) -> Rc<Event> {
        let prev = Some(self.view(path, now));
        let deadline = self.deadline(now, ttl);
        if let Some(item) = self.items.get_mut(path) {
            item.deadline = deadline;
            if let Some(old) = &mut item.value {
                item.modified = index;
                *old = if refresh { old.clone() } else { value };
            }
        }
        let node = NodeView { modified: Index(index), ..self.view(path, now) };
        self.happen(Event { action, index: Index(index), node, prev, refresh }, BTreeSet::new())
    }

    fn remove(&mut self, index: u64, now: u64, path: &str, action: Action) -> Rc<Event> {
        let prev = self.view(path, now);
        let below = self.below(path);
        self.items.retain(|other, _| other != path && !below.contains(other));
        let (value, expiration, ttl, modified) = (None, None, 0, Index(index));
        let node = NodeView { value, expiration, ttl, modified, ..prev.clone() };
        self.happen(Event { action, index: Index(index), node, prev: Some(prev), refresh: false }, below)
    }

    fn happen(&mut self, event: Event, below: BTreeSet<String>) -> Rc<Event> {
        let event = Rc::new(event);
        self.happened.push(Happened { event: Rc::clone(&event), below });
        event
    }

    fn deadline(&self, now: u64, ttl: Option<u64>) -> Option<i128> {
        assert!(now >= NOW / 2, "the tests stay near their beginning");
        let here = (i128::from(now) - self.shift).clamp(1, CAP);
        ttl.map(|ttl| (here + i128::from(ttl) * i128::from(SECOND)).min(CAP))
    }
}

impl Happened {
    /// The table of who is told of what.
    pub(crate) fn is_for(&self, path: &str, recursive: bool) -> bool {
        let key = std::str::from_utf8(&self.event.node.key).expect("tests use text");
        let in_it = path == "/" || key.starts_with(&format!("{path}/"));
        !self.event.refresh && (key == path || (recursive && in_it && !hidden(key, path)) || self.below.contains(path))
    }
}

fn rest<'a>(path: &'a str, dir: &str) -> &'a str {
    path.strip_prefix(dir).unwrap_or_default().trim_start_matches('/')
}

fn hidden(path: &str, dir: &str) -> bool {
    rest(path, dir).split('/').any(|name| name.starts_with('_'))
}

/// `/a`, `/a/b`, `/a/b/c`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    ends.map(|end| &path[..end])
}
