//! What one member holds of a cluster that has lost its majority, and how much of that is one prefix of the one order.
//!
//! Its logs end at different places: a change may be there while an earlier one, of another shard, has not arrived. What it
//! has shown is whole, and its disk says how far that went at least. Beyond that, the indices tell: whoever handed them out
//! handed out all of them, so as long as each is found once, nothing is missing. The first that is not ends the prefix.
//! Whether an entry was committed does not matter: the commit mark is written late, so that going by it would lose what was
//! acknowledged.

use crate::command::ArchivedBatch;
use crate::group::{LogEntry, MemberChange, Members};
use crate::ids::{Index, MemberId};
use crate::shard::batch_of;
use crate::store::Store;

/// One shard as a member's disk has it.
#[derive(Debug)]
pub struct Remains {
    store: Store,
    /// Above the store, consecutive.
    entries: Vec<LogEntry>,
    shown: Index,
}

impl Remains {
    /// From the shard's snapshot, the entries above it, which have been validated ([`crate::shard::validate`]), and the last
    /// frontier noted beside them. `founders` are the group's members if the store is one without a snapshot.
    pub fn new(mut store: Store, founders: Members, entries: Vec<LogEntry>, shown: Index) -> Self {
        if store.members().is_empty() {
            store.set_members(founders);
        }
        Self { store, entries, shown }
    }

    /// The last index in the shard's snapshot.
    pub fn snapshot_upto(&self) -> Index {
        self.store.applied()
    }

    /// The last frontier noted beside its log.
    pub fn shown(&self) -> Index {
        self.shown
    }

    /// The group's members as of the end of its log.
    pub fn members(&self) -> Members {
        let mut members = self.store.members().clone();
        for entry in self.entries.iter().filter(|entry| entry.conf_change) {
            if let Ok(change) = MemberChange::decode(&entry.data) {
                members.apply(change);
            }
        }
        members
    }

    /// The state after everything up to `upto`, and how many changes in the log are beyond that.
    pub fn replay(mut self, upto: Index) -> (Store, usize) {
        let mut beyond = 0;
        for bytes in self.entries.iter().filter_map(batch_of) {
            let batch = bytes.batch();
            if beyond > 0 || batch.last() > Some(upto) {
                beyond += batch.len();
                continue;
            }
            for entry in batch.iter() {
                // What it did has been answered, or nobody waits any more.
                let _ = self.store.apply(entry.index, batch.now(), &entry.command);
            }
        }
        (self.store, beyond)
    }
}

/// The longest prefix of the one order that a member surely holds, from all of its shards.
///
/// A member that was the only one with a vote everywhere holds all there ever was, and its logs may have gaps where a crash
/// took unacknowledged changes: for that one it is everything.
///
/// A snapshot that another member sent may have brought a shard further than the others. It can not be taken apart, so the
/// prefix then ends there at least, and may lack what the others were still to receive.
pub fn prefix(remains: &[Remains], me: MemberId) -> Index {
    if remains.iter().all(|shard| shard.members().voters == [me]) {
        return Index(u64::MAX);
    }
    let known = remains.iter().map(|shard| shard.shown.max(shard.store.applied())).max().unwrap_or_default();
    let batches: Vec<_> = remains.iter().flat_map(|shard| &shard.entries).filter_map(batch_of).collect();
    let beyond = |batch: &ArchivedBatch| -> Vec<Index> {
        batch.iter().map(|entry| entry.index).filter(|index| *index > known).collect()
    };
    let batches: Vec<Vec<Index>> =
        batches.iter().map(|bytes| beyond(bytes.batch())).filter(|b| !b.is_empty()).collect();
    let mut indices: Vec<Index> = batches.iter().flatten().copied().collect();
    indices.sort_unstable();
    let next = known.next().0..;
    let found_once = |&(want, at): &(u64, usize)| indices[at].0 == want && indices.get(at + 1) != Some(&indices[at]);
    let unbroken = next.zip(0..indices.len()).take_while(found_once).count();
    let mut upto = Index(known.0 + unbroken as u64);
    // A batch is applied as a whole or not at all.
    while let Some(first) = split(&batches, upto) {
        upto = Index(first.0 - 1);
    }
    upto
}

/// The first index of a batch that would be cut in two.
fn split(batches: &[Vec<Index>], upto: Index) -> Option<Index> {
    let split = batches.iter().filter(|batch| batch.first() <= Some(&upto) && batch.last() > Some(&upto));
    split.filter_map(|batch| batch.first().copied()).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Batch, Command, Numbered};
    use crate::history::HistoryLimits;
    use crate::ids::{RaftIndex, Term};

    const ME: MemberId = MemberId(1);

    /// A batch with these indices, each setting a key of its own.
    fn entry(at: u64, indices: &[u64]) -> LogEntry {
        let set = |index: &u64| Numbered {
            offset: (index - indices[0]) as u32,
            command: Command::Set {
                path: format!("/{index}").into_bytes(),
                value: Vec::new(),
                dir: false,
                ttl: None,
                refresh: false,
            },
            origin: 0,
            process: 0,
        };
        let data = Batch { first: indices[0], now: 1, commands: indices.iter().map(set).collect() };
        LogEntry { index: RaftIndex(at), term: Term(1), conf_change: false, data: data.encode().into_bytes() }
    }

    fn shard(voters: &[u64], shown: u64, batches: &[&[u64]]) -> Remains {
        let entries = (2..).zip(batches).map(|(at, indices)| entry(at, indices)).collect();
        let founders = Members::of_voters(voters.iter().copied().map(MemberId));
        Remains::new(Store::new(HistoryLimits::default()), founders, entries, Index(shown))
    }

    #[test]
    fn the_prefix_ends_where_an_index_is_missing_or_in_doubt() {
        let of = |shown: u64, one: &[&[u64]], other: &[&[u64]]| {
            prefix(&[shard(&[1, 2, 3], shown, one), shard(&[1, 2, 3], 0, other)], ME).0
        };
        for (name, got, want) in [
            ("nothing", of(0, &[], &[]), 0),
            ("all of it", of(0, &[&[1], &[3]], &[&[2], &[4, 5]]), 5),
            ("one group is behind", of(0, &[&[1]], &[&[2], &[4]]), 2),
            ("what was shown stays, gaps and all", of(4, &[&[1]], &[&[4], &[5]]), 5),
            ("what was shown last was of the other group", of(4, &[&[1], &[7]], &[&[3]]), 4),
            ("two entries have one index", of(0, &[&[1], &[2]], &[&[2], &[3]]), 1),
            ("a batch that would be cut in two", of(0, &[&[1], &[2, 4]], &[&[3]]), 4),
            ("and the one before it goes with it", of(0, &[&[1], &[2, 5]], &[&[3], &[4, 7]]), 1),
        ] {
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn who_was_alone_keeps_everything() {
        let alone = [shard(&[1], 0, &[&[1], &[9]])];
        assert_eq!(prefix(&alone, ME), Index(u64::MAX));
        let learner = MemberChange::AddLearner(MemberId(2));
        let mut growing = shard(&[1], 0, &[&[1], &[9]]);
        let at = |index, change: MemberChange| LogEntry {
            index: RaftIndex(index),
            term: Term(1),
            conf_change: true,
            data: change.encode(),
        };
        growing.entries.push(at(4, learner));
        assert_eq!(prefix(std::slice::from_ref(&growing), ME), Index(u64::MAX), "a learner decides nothing");
        growing.entries.push(at(5, MemberChange::Promote(MemberId(2))));
        assert_eq!(prefix(&[growing], ME), Index(1));
    }

    #[test]
    fn a_replay_stops_before_what_is_beyond_and_takes_nothing_after_it() {
        let (store, beyond) = shard(&[1, 2], 0, &[&[1], &[2, 4], &[5]]).replay(Index(4));
        assert_eq!((store.applied(), beyond), (Index(4), 1));
        let (store, beyond) = shard(&[1, 2], 0, &[&[1], &[2, 4], &[5]]).replay(Index(3));
        assert_eq!((store.applied(), beyond), (Index(1), 3));
        assert!(store.get(b"/1").is_ok() && store.get(b"/2").is_err());
    }
}
