//! Whether the source still lives the life that was copied.
//!
//! A cluster that begins anew with the same flags has the same ids, and its index passes the old one sooner or later. Nothing may be written to the
//! source, so that two things are kept of it which a new life has not got: the processes that its members are, none of which has more than one
//! life, and the last changes that were read. A member that runs on proves the old life at the cost of one short request. When none does, every
//! change that was kept has to be there still, in the tree or in the history: a new life has other changes at these indices. What can not be
//! proven counts as a new life, which costs a comparison.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event;
use super::identity::{self, Place};
use crate::client::{Client, Deadline, Error, Keys, Method, Node, Read, Request};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest wait for what the history has: the answer comes at once, or not before the next change.
const A_MOMENT: Duration = Duration::from_secs(1);

/// What is known of the life that was copied.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Life {
    /// Processes that were seen while it was surely this life.
    processes: Vec<String>,
    /// Its last changes, oldest first.
    witnesses: Vec<Witness>,
    /// The last changes that were read since it was proven, oldest first: they may be of the next life.
    #[serde(default)]
    read: Vec<Witness>,
}

impl Life {
    /// So many changes are kept. One alone may be the same in both lives, where one key is written again and again.
    pub(super) const CHANGES: usize = 8;

    /// The life that a tree is from. These processes were seen before it was listed; others may be of the next life.
    pub(super) fn of(processes: Vec<String>, tree: &Node) -> Self {
        Self { processes, witnesses: newest(tree), read: Vec::new() }
    }

    /// Notes the change that led to an index, unless that is known: it may have been one elsewhere, or a removal.
    pub(super) fn note_index(&mut self, source: &Client, index: u64) {
        if self.witnesses.last().is_none_or(|last| last.modified < index)
            && let Ok(Some(last)) = change_at(source, "/", true, index, A_MOMENT)
        {
            push(&mut self.witnesses, last);
        }
    }

    /// Notes a change that was read.
    pub(super) fn note(&mut self, witness: Witness) {
        push(&mut self.read, witness);
    }

    /// Takes what was proven of this life while further changes were read. Whether that is news.
    pub(super) fn take(&mut self, proven: &Self) -> bool {
        let last = proven.witnesses.last().map_or(0, |witness| witness.modified);
        let before = self.clone();
        self.read.retain(|witness| witness.modified > last);
        self.processes.clone_from(&proven.processes);
        self.witnesses.clone_from(&proven.witnesses);
        *self != before
    }

    /// Adds processes of this life, in place of those that are gone.
    fn adopt(&mut self, running: Vec<String>) {
        if !running.is_empty() {
            self.processes = running;
        }
    }

    fn knows_one_of(&self, running: &[String]) -> bool {
        running.iter().any(|process| self.processes.contains(process))
    }

    /// Whether the source still lives it. `place` was reached in it, and `from` is what may be read. When nothing is suspected, a source that does
    /// not tell its processes is believed.
    ///
    /// # Errors
    /// The source is away.
    pub(super) fn goes_on(
        &mut self,
        source: &Client,
        from: &str,
        place: &Place,
        suspected: bool,
    ) -> Result<bool, Error> {
        let verdict = self.judge(source, from, place, suspected)?;
        if verdict == Verdict::Same {
            for witness in std::mem::take(&mut self.read) {
                push(&mut self.witnesses, witness);
            }
        }
        Ok(verdict != Verdict::Unproven)
    }

    fn judge(&mut self, source: &Client, from: &str, place: &Place, suspected: bool) -> Result<Verdict, Error> {
        let running = processes(source);
        if self.knows_one_of(&running) {
            let news = running.iter().any(|process| !self.processes.contains(process));
            // A new one may have begun the next life a moment ago, unless a known one still runs.
            if news && self.knows_one_of(&processes(source)) {
                self.adopt(running);
            }
            return Ok(Verdict::Same);
        }
        if !identity::is_beyond(source, from, place)? {
            return Ok(Verdict::Unproven);
        }
        if running.is_empty() && self.processes.is_empty() && !suspected {
            return Ok(Verdict::Believed);
        }
        for witness in self.witnesses.iter().chain(&self.read).rev() {
            if !witness.stands(source)? {
                return Ok(Verdict::Unproven);
            }
        }
        // Those that were read alone may all be of the next life.
        if self.witnesses.is_empty() {
            return Ok(Verdict::Unproven);
        }
        self.adopt(running);
        Ok(Verdict::Same)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It was this life after everything that was read.
    Same,
    /// Nothing speaks against it.
    Believed,
    Unproven,
}

/// A change that was read: at its index there was this one and no other.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Witness {
    key: String,
    dir: bool,
    created: u64,
    modified: u64,
    removed: bool,
    /// A hash of the value.
    value: u64,
}

impl Witness {
    pub(super) fn new(node: &Node, removed: bool) -> Self {
        let Node { key, dir, created_index: created, modified_index: modified, .. } = node;
        let value = hash(node.value.as_bytes());
        Self { key: key.clone(), dir: *dir, created: *created, modified: *modified, removed, value }
    }

    /// Whether it is in the tree, or else in the history.
    fn stands(&self, source: &Client) -> Result<bool, Error> {
        let keys = Keys::new(source);
        let how = Read { quorum: true, ..Read::default() };
        match keys.get(&self.key, how, Deadline::within(PATIENCE)) {
            Ok(found) if *self == Self::new(&found.node, false) => return Ok(true),
            Ok(_) | Err(Error::Api(_) | Error::Deadline) => {}
            Err(error) => return Err(error),
        }
        let found = change_at(source, &self.key, false, self.modified, PATIENCE)?;
        Ok(found.as_ref() == Some(self))
    }
}

/// Adds the newest. What it replaces of its key can not be looked up for long.
fn push(witnesses: &mut Vec<Witness>, witness: Witness) {
    witnesses.retain(|known| known.key != witness.key);
    witnesses.push(witness);
    let beyond = witnesses.len().saturating_sub(Life::CHANGES);
    witnesses.drain(..beyond);
}

/// The change at an index, if the history has it. An index that is in the future of the source is waited for in vain.
fn change_at(
    source: &Client,
    key: &str,
    recursive: bool,
    index: u64,
    patience: Duration,
) -> Result<Option<Witness>, Error> {
    match Keys::new(source).wait_until(key, recursive, index, Deadline::within(patience)) {
        Ok(found) if found.node.modified_index == index => {
            Ok(Some(Witness::new(&found.node, event::is_removal(&found.action))))
        }
        Ok(_) | Err(Error::Api(_) | Error::Deadline) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last changes that can be seen in a tree. What has a time to live may be prolonged, which changes its index and is no event.
fn newest(tree: &Node) -> Vec<Witness> {
    let mut nodes = Vec::new();
    let mut left = vec![tree];
    while let Some(node) = left.pop() {
        if node.ttl == 0 && !node.key.is_empty() {
            nodes.push(node);
        }
        left.extend(&node.nodes);
    }
    // A directory comes with the file that it was made for: one of them is enough.
    nodes.sort_unstable_by_key(|node| (Reverse(node.modified_index), node.dir));
    nodes.dedup_by_key(|node| node.modified_index);
    nodes.truncate(Life::CHANGES);
    nodes.into_iter().rev().map(|node| Witness::new(node, false)).collect()
}

/// The members behind the endpoints that answer, each with the start of its process.
pub(super) fn processes(source: &Client) -> Vec<String> {
    #[derive(Deserialize)]
    struct Stats {
        id: String,
        #[serde(rename = "startTime")]
        start: String,
    }
    let request = Request::new(Method::Get, "/v2/stats/self");
    let of = |endpoint| {
        let reply = source.wire().send(&endpoint, &request, Deadline::within(PATIENCE)).ok()?;
        let stats: Stats = serde_json::from_slice(&reply.body).ok()?;
        Some(format!("{} since {}", stats.id, stats.start))
    };
    source.endpoints().into_iter().filter_map(of).collect()
}

/// FNV-1a: the same in every version of this program.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str, index: u64) -> Node {
        Node { key: key.into(), created_index: index, modified_index: index, ..Node::default() }
    }

    fn known(witnesses: &[Witness]) -> Vec<(&str, u64)> {
        witnesses.iter().map(|witness| (witness.key.as_str(), witness.modified)).collect()
    }

    #[test]
    fn the_last_changes_are_kept_one_of_a_key() {
        let in_it = vec![file("/d/f", 4), Node { ttl: 9, ..file("/d/leased", 7) }];
        let tree =
            Node { nodes: vec![Node { dir: true, nodes: in_it, ..file("/d", 4) }, file("/g", 6)], ..file("", 0) };
        let mut witnesses = Life::of(Vec::new(), &tree).witnesses;
        push(&mut witnesses, Witness::new(&file("/elsewhere", 8), true));
        assert_eq!(known(&witnesses), [("/d/f", 4), ("/g", 6), ("/elsewhere", 8)]);
        push(&mut witnesses, Witness::new(&file("/g", 9), false));
        assert_eq!(known(&witnesses), [("/d/f", 4), ("/elsewhere", 8), ("/g", 9)]);
        for index in 10..30 {
            push(&mut witnesses, Witness::new(&file(&format!("/{index}"), index), false));
        }
        assert_eq!(witnesses.iter().map(|witness| witness.modified).collect::<Vec<_>>(), (22..30).collect::<Vec<_>>());
        assert_eq!(known(&Life::of(Vec::new(), &Node { dir: true, ..file("", 0) }).witnesses), []);
    }

    #[test]
    fn what_is_read_while_it_is_looked_is_not_proven() {
        let mut life = Life::of(vec!["a".into()], &file("/k", 4));
        let mut looked = life.clone();
        push(&mut looked.witnesses, Witness::new(&file("/l", 5), false));
        life.note(Witness::new(&file("/l", 5), false));
        life.note(Witness::new(&file("/m", 6), false));
        assert!(life.take(&looked) && !life.take(&looked), "it is news once");
        assert_eq!(known(&life.witnesses), [("/k", 4), ("/l", 5)]);
        assert_eq!(known(&life.read), [("/m", 6)]);
    }

    #[test]
    fn a_change_differs_from_every_other() {
        let node = Node { value: "1".into(), ..file("/k", 7) };
        let witness = Witness::new(&node, false);
        for (name, other) in [
            ("removed", Witness::new(&node, true)),
            ("another value", Witness::new(&Node { value: "2".into(), ..node.clone() }, false)),
            ("another index", Witness::new(&Node { modified_index: 8, ..node.clone() }, false)),
            ("updated, not set", Witness::new(&Node { created_index: 6, ..node.clone() }, false)),
            ("a directory", Witness::new(&Node { dir: true, ..node }, false)),
        ] {
            assert_ne!(witness, other, "{name}");
        }
    }
}
