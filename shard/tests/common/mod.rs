//! What several tests need: short ways to say a command, and events as the text that clients see.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod naive;

use shard::command::{Command, CommandRef};
use shard::event::{Event, NodeView};
use shard::ids::Index;
use shard::refusal::Refusal;
use shard::store::{Outcome, Store};
use std::fmt::Write as _;
use std::rc::Rc;

/// One second, in nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// When the tests begin: 2023-11-14, in Unix nanoseconds.
pub(crate) const NOW: u64 = 1_700_000_000 * SECOND;

pub(crate) fn set(path: &str, value: &str) -> Command {
    Command::Set { path: path.into(), value: value.into(), dir: false, ttl: None, refresh: false }
}

pub(crate) fn set_ttl(path: &str, value: &str, ttl: u64) -> Command {
    Command::Set { path: path.into(), value: value.into(), dir: false, ttl: Some(ttl), refresh: false }
}

pub(crate) fn refresh(path: &str, ttl: u64) -> Command {
    Command::Set { path: path.into(), value: Vec::new(), dir: false, ttl: Some(ttl), refresh: true }
}

pub(crate) fn mkdir(path: &str, ttl: Option<u64>) -> Command {
    Command::Set { path: path.into(), value: Vec::new(), dir: true, ttl, refresh: false }
}

pub(crate) fn create(path: &str, value: &str) -> Command {
    Command::Create { path: path.into(), value: value.into(), dir: false, ttl: None, in_order: false }
}

pub(crate) fn post(path: &str, value: &str, dir: bool) -> Command {
    Command::Create { path: path.into(), value: value.into(), dir, ttl: None, in_order: true }
}

pub(crate) fn update(path: &str, value: &str, ttl: Option<u64>) -> Command {
    Command::Update { path: path.into(), value: value.into(), ttl, refresh: false }
}

pub(crate) fn update_refresh(path: &str, ttl: u64) -> Command {
    Command::Update { path: path.into(), value: Vec::new(), ttl: Some(ttl), refresh: true }
}

pub(crate) fn swap(path: &str, value: &str, prev_value: &str, prev_index: u64) -> Command {
    let prev_value = (!prev_value.is_empty()).then(|| prev_value.into());
    Command::CompareAndSwap {
        path: path.into(),
        value: value.into(),
        ttl: None,
        refresh: false,
        prev_value,
        prev_index,
    }
}

pub(crate) fn delete(path: &str) -> Command {
    Command::Delete { path: path.into(), dir: false, recursive: false }
}

pub(crate) fn rmdir(path: &str) -> Command {
    Command::Delete { path: path.into(), dir: true, recursive: false }
}

pub(crate) fn delete_all(path: &str) -> Command {
    Command::Delete { path: path.into(), dir: false, recursive: true }
}

pub(crate) fn compare_delete(path: &str, prev_value: &str, prev_index: u64) -> Command {
    let prev_value = (!prev_value.is_empty()).then(|| prev_value.into());
    Command::CompareAndDelete { path: path.into(), prev_value, prev_index }
}

/// Applies `command` as the next index, at time `now`.
pub(crate) fn apply(store: &mut Store, now: u64, command: &Command) -> Result<Outcome, Refusal> {
    store.apply(store.applied().next(), now, &CommandRef::from(command))
}

/// Applies a command that must succeed with an event.
pub(crate) fn event(store: &mut Store, now: u64, command: &Command) -> Rc<Event> {
    match apply(store, now, command) {
        Ok(Outcome::Event { event, .. }) => event,
        other => panic!("{command:?} gave {other:?}"),
    }
}

/// The body of a success, with `T` for every expiration.
pub(crate) fn json(event: &Event) -> String {
    let mut text = format!(r#"{{"action":"{}","node":{}"#, event.action.name(), view_json(&event.node));
    if let Some(prev) = &event.prev {
        write!(text, r#","prevNode":{}"#, view_json(prev)).expect("writing to a string");
    }
    text + "}"
}

/// The body of a refusal, without its index.
pub(crate) fn refusal_json(refusal: &Refusal) -> String {
    let mut text = format!(r#"{{"errorCode":{},"message":"{}""#, refusal.code.number(), refusal.code.message());
    if !refusal.cause.is_empty() {
        write!(text, r#","cause":"{}""#, String::from_utf8_lossy(&refusal.cause)).expect("writing to a string");
    }
    text + "}"
}

fn view_json(view: &NodeView) -> String {
    let mut members = vec![format!(r#""key":"{}""#, String::from_utf8_lossy(&view.key))];
    members.extend(view.value.as_ref().map(|value| format!(r#""value":"{}""#, String::from_utf8_lossy(value))));
    members.extend(view.dir.then(|| r#""dir":true"#.to_string()));
    members.extend(view.expiration.map(|_| r#""expiration":"T""#.to_string()));
    members.extend((view.ttl != 0).then(|| format!(r#""ttl":{}"#, view.ttl)));
    members.push(format!(r#""modifiedIndex":{},"createdIndex":{}"#, view.modified, view.created));
    format!("{{{}}}", members.join(","))
}

/// All below `/`, hidden names included, as `path=value@modified/created`, directories with a slash.
pub(crate) fn listing(store: &Store, now: u64) -> Vec<String> {
    let root = store.get(b"/").expect("the root exists");
    let mut walk = root.walk_all(b"/", now);
    let mut lines = Vec::new();
    while let Some(step) = walk.step() {
        use shard::view::Step;
        let (node, value) = match step {
            Step::Enter(node) => (node, "/".to_string()),
            Step::File(node) => (node, format!("={}", String::from_utf8_lossy(node.value.unwrap_or_default()))),
            Step::Leave => continue,
        };
        let key = String::from_utf8_lossy(node.key);
        lines.push(format!("{key}{value}@{}/{} {:?}", node.modified, node.created, node.expiration));
    }
    lines
}

/// A store whose next index is `next`, with nothing in it.
pub(crate) fn store_before(next: u64) -> Store {
    let mut store = Store::default();
    if next > 1 {
        let nothing = Command::Rebase { by_ns: 0 };
        store.apply(Index(next - 1), NOW, &CommandRef::from(&nothing)).expect("a rebase is never refused");
    }
    store
}
