//! `import`: the keys of an etcd 0.4 store, as JSON.

use std::collections::BTreeMap;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Call;
use crate::client::{Deadline, Keys, Write};
use crate::failed::{Code, Failed};
use crate::{parallel, screen};

/// Keys with less to live get so much, in seconds: the import itself takes its time.
const TTL_MIN: i64 = 300;

#[derive(Deserialize)]
struct Store {
    #[serde(rename = "Root")]
    root: Node,
}

/// A file has no children, an empty directory has none of them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    path: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    expire_time: String,
    #[serde(default)]
    children: Option<BTreeMap<String, Node>>,
}

struct Key {
    path: String,
    value: String,
    ttl: i64,
}

pub(super) fn run(call: &Call) -> Result<(), Failed> {
    let file = call.flags.text("snap");
    if file.is_empty() {
        screen::say("no snapshot file provided (use --snap)");
        return Err(Failed::silent(Code::BadArguments));
    }
    let Ok(bytes) = std::fs::read(file) else {
        screen::say(format_args!("cannot read snapshot file {file}"));
        return Err(Failed::silent(Code::BadArguments));
    };
    let store: Store =
        serde_json::from_slice(&bytes).map_err(|e| Failed::said(format!("{file} is no store of etcd 0.4: {e}")))?;
    let workers = usize::try_from(call.flags.int("c")).unwrap_or(1).max(1);
    screen::say(format_args!("starting to import snapshot {file} with {workers} clients"));
    let mut keys = Vec::new();
    collect(&store.root, OffsetDateTime::now_utc(), &mut keys);
    for hidden in call.flags.list("hidden") {
        let node = find(&store.root, &hidden)
            .ok_or_else(|| Failed::said(format!("Error:  100: Key not found ({hidden}) [0]")))?;
        collect(node, OffsetDateTime::now_utc(), &mut keys);
    }
    let count = keys.len();
    copy(call, keys, workers)?;
    screen::say(format_args!("finished importing {count} keys"));
    Ok(())
}

/// All visible files of a directory, but those whose time is over.
fn collect(node: &Node, now: OffsetDateTime, into: &mut Vec<Key>) {
    let expires = OffsetDateTime::parse(&node.expire_time, &Rfc3339).ok().filter(|time| time.year() > 1);
    let ttl = expires.map_or(0, |time| (time - now).whole_seconds() + 1);
    if expires.is_some() && ttl <= 0 {
        return;
    }
    let Some(children) = &node.children else {
        into.push(Key { path: node.path.clone(), value: node.value.clone(), ttl });
        return;
    };
    screen::complain(&format!("entering dir: {}\n", node.path));
    for (_, child) in children.iter().filter(|(name, _)| !name.starts_with('_')) {
        collect(child, now, into);
    }
}

fn find<'a>(root: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('/').filter(|name| !name.is_empty()).try_fold(root, |node, name| node.children.as_ref()?.get(name))
}

/// Writes the keys, several at a time; the first failure ends it.
fn copy(call: &Call, keys: Vec<Key>, workers: usize) -> Result<(), Failed> {
    let client = call.settings.connect()?;
    parallel::for_each(workers, keys, |Key { path, value, ttl }| {
        screen::complain(&format!("copying key: {path}\n"));
        let ttl = if ttl != 0 && ttl < TTL_MIN {
            screen::complain(&format!("extending key {path}'s ttl to {TTL_MIN} seconds\n"));
            TTL_MIN
        } else {
            ttl
        };
        let write = Write { value: Some(value.into_bytes()), ttl, ..Write::default() };
        let put = Keys::new(&client).put(&path, &write, Deadline::NEVER);
        put.map(drop).map_err(|error| Failed { text: format!("failed to copy key: {error}\n"), ..Failed::bare(error) })
    })
}
