//! What the cluster has committed, as an observer of all logs sees it; and the invariants that follow.

use std::collections::BTreeMap;

use shard::command::{BatchBytes, Command, CommandRef};
use shard::event::Action;
use shard::group::LogEntry;
use shard::ids::{Index, ShardId};
use shard::shard::Shard;

use crate::core::NOBODY;

/// A node's log as far as its core has been told to write it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirror {
    pub(crate) entries: BTreeMap<u64, LogEntry>,
    /// Looked at up to here.
    pub(crate) committed: u64,
    /// The index of the state that was looked at last, after a start.
    pub(crate) state: Option<Index>,
}

#[derive(Default)]
pub(crate) struct Truth {
    /// Per shard: position to term and data.
    logs: BTreeMap<ShardId, BTreeMap<u64, LogEntry>>,
    /// Index to shard, position and ticket.
    pub(crate) indices: BTreeMap<u64, (ShardId, u64, u64)>,
    /// The primary's clock at each index.
    pub(crate) clocks: BTreeMap<u64, u64>,
    /// By index: what no client has asked for, but the primary itself.
    pub(crate) own: BTreeMap<u64, Command>,
    /// By index: when a key was seen to have expired, in steps.
    pub(crate) expired: BTreeMap<u64, u64>,
    pub(crate) now: u64,
    /// Highest index ever shown by any node.
    pub(crate) shown: u64,
    /// Per shard and applied index: the digest.
    digests: BTreeMap<(ShardId, u64), u64>,
    /// Indices with an event, and its key.
    events: BTreeMap<u64, Vec<u8>>,
    /// Per shard, the last of them.
    made: BTreeMap<ShardId, Index>,
    /// Per shard: events up to here may have come and gone between two looks at a short history.
    unseen: BTreeMap<ShardId, Index>,
    /// Ticket to index: a command is carried out once.
    carried_out: BTreeMap<u64, u64>,
    /// The highest index acknowledged to a client.
    acknowledged: u64,
    /// What was seen to be committed since the last look: shard, position and term.
    pub(crate) news: Vec<[u64; 3]>,
}

impl Truth {
    /// A node knows its log to be committed up to `upto`.
    pub(crate) fn commit(&mut self, shard: ShardId, mirror: &mut Mirror, upto: u64) {
        if upto <= mirror.committed {
            return;
        }
        for (position, entry) in mirror.entries.range(mirror.committed + 1..=upto) {
            let log = self.logs.entry(shard).or_default();
            if let Some(known) = log.get(position) {
                let same = (known.term, &known.data) == (entry.term, &entry.data);
                assert!(same, "shard {shard}: two entries committed at position {position}");
                continue;
            }
            log.insert(*position, entry.clone());
            self.news.push([u64::from(shard.0), *position, entry.term.0]);
            self.number(shard, *position, entry);
        }
        mirror.committed = mirror.committed.max(upto);
    }

    fn number(&mut self, shard: ShardId, position: u64, entry: &LogEntry) {
        if entry.conf_change || entry.data.is_empty() {
            return;
        }
        let batch = BatchBytes::new(entry.data.clone()).expect("what was written can be read");
        for command in batch.batch().iter() {
            let index = command.index.0;
            assert!(index > self.shown, "I3: index {index} of shard {shard} committed after {} was shown", self.shown);
            let again = self.carried_out.insert(command.origin, index).filter(|_| command.origin != NOBODY);
            assert!(again.is_none(), "command {} is carried out at {again:?} and at {index}", command.origin);
            self.clocks.insert(index, batch.batch().now());
            self.own.extend(own(&command.command).map(|command| (index, command)));
            let before = self.indices.insert(index, (shard, position, command.origin));
            assert!(before.is_none(), "I1: index {index} of shard {shard} is also {before:?}");
            let later = self.indices.range(index + 1..).find(|(_, (of, at, _))| *of == shard && *at < position);
            assert!(later.is_none(), "I2: index {index} of shard {shard} comes after {later:?}");
        }
    }

    /// A node shows `visible`; `delivered` says how far it holds each shard's committed log.
    pub(crate) fn show(&mut self, visible: Index, delivered: impl Fn(ShardId) -> u64) {
        for (index, (shard, position, _)) in self.indices.range(..=visible.0).rev().take(200) {
            let held = delivered(*shard);
            assert!(
                held >= *position,
                "I3: {visible} shown without {index} at {position} of shard {shard}, held {held}"
            );
        }
        self.shown = self.shown.max(visible.0);
    }

    /// A regime opens on a node with this log: it holds everything that had been shown when its confirming round began. It
    /// need not hold what another leader has committed since, while this node stood still; with that one about, nothing of
    /// the regime will be committed.
    pub(crate) fn open(&self, shard: ShardId, mirror: &Mirror, round_began: u64) {
        let first = mirror.entries.first_key_value().map_or(mirror.committed + 1, |first| *first.0);
        let shown = self.indices.range(..=round_began).filter(|(_, known)| known.0 == shard && known.1 >= first);
        for (index, (_, position, _)) in shown {
            let term = self.logs[&shard][position].term;
            let mine = mirror.entries.get(position).map(|entry| entry.term);
            assert_eq!(mine, Some(term), "I5: index {index} of shard {shard} was shown, and is not in the new regime");
        }
    }

    /// A node has applied a shard up to `index`.
    pub(crate) fn state(&mut self, shard: ShardId, index: Index, digest: u64) {
        let known = *self.digests.entry((shard, index.0)).or_insert(digest);
        assert_eq!(known, digest, "I4: two states of shard {shard} at index {index}");
    }

    /// A client is told that its command happened.
    pub(crate) fn acknowledge(&mut self, ticket: u64, index: Index, after: u64) {
        let known = self.indices.get(&index.0).map(|known| known.2);
        assert_eq!(known, Some(ticket), "I5: index {index} acknowledged, but not committed as this command");
        assert!(index.0 > after, "index {index} acknowledged for a command that began after {after} had been");
        self.acknowledged = self.acknowledged.max(index.0);
    }

    /// A quorum read has shown everything up to this index: what begins from now on comes after it, as after a write.
    pub(crate) fn told(&mut self, upto: Index) {
        self.acknowledged = self.acknowledged.max(upto.0);
    }

    pub(crate) fn last_acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// A node's shard has made these events: those that it remembers and nobody has made before, and one to compare.
    pub(crate) fn events_of(&mut self, shard: &Shard) {
        let upto = self.made.entry(shard.id()).or_default();
        if shard.store().history().cleared() > *upto {
            self.unseen.insert(shard.id(), shard.store().history().cleared());
        }
        for event in shard.store().history().from(*upto) {
            *upto = event.index;
            let known = self.events.entry(event.index.0).or_insert_with(|| event.node.key.to_vec());
            assert_eq!(**known, *event.node.key, "I4: two events {}", event.index);
            if event.action == Action::Expire {
                self.expired.entry(event.index.0).or_insert(self.now);
            }
        }
    }

    /// All events of a shard above this index are known.
    pub(crate) fn unseen(&self, shard: ShardId) -> Index {
        self.unseen.get(&shard).copied().unwrap_or_default()
    }

    /// The events from one index to another, with their keys.
    pub(crate) fn events_between(&self, since: Index, upto: Index) -> impl Iterator<Item = (u64, &[u8])> {
        let range = since.0..(upto.0 + 1).max(since.0);
        self.events.range(range).map(|(index, key)| (*index, key.as_slice()))
    }

    /// A watch on everything, on some node, gets the event `index` after the one `before`.
    pub(crate) fn watched(&self, before: u64, index: u64) {
        assert!(before < index, "I6: event {index} after {before}");
        let missed = self.events.range(before + 1..index).find(|event| !is_hidden(event.1));
        assert!(missed.is_none(), "I6: event {index} after {before}, without {missed:?}");
    }

    /// The last event at or below an index that a watch on everything gets.
    pub(crate) fn last_event(&self, upto: Index) -> u64 {
        self.events.range(..=upto.0).rfind(|event| !is_hidden(event.1)).map_or(0, |event| *event.0)
    }
}

fn is_hidden(key: &[u8]) -> bool {
    key.windows(2).any(|two| two == b"/_")
}

/// What a primary asks for by itself.
fn own(command: &CommandRef<'_>) -> Option<Command> {
    match *command {
        CommandRef::Expire { path, deadline, created } => {
            Some(Command::Expire { path: path.to_vec(), deadline, created })
        }
        CommandRef::Rebase { by_ns } => Some(Command::Rebase { by_ns }),
        CommandRef::System(ref system) => Some(Command::System(system.clone().into_owned())),
        _ => None,
    }
}
