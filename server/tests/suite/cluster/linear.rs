//! Judges a recorded history of concurrent clients: could one server, taking one request after the other, have given these answers?
//!
//! Writes carry their place in the order (`modifiedIndex`), so no search is needed. A history is linearizable exactly when no operation that
//! began after another had ended comes before it in that order: operations of a key are then sorted by version, a write before the reads of it, and
//! reads by their beginning. What etcd promises beyond that is checked too: indices order the writes of *all* keys, an answer's `X-Etcd-Index`
//! names the state that it shows, and `prevNode` is the version before.
//!
//! Reads without a quorum may be old, but show a prefix of the order, and a member's later one never a shorter prefix.

use std::collections::{BTreeMap, HashMap};

/// Nanoseconds since the history began.
pub(super) type Time = u64;

/// A version of a key: the index that made it, and its value. Values are unique: each is written by one operation only.
pub(super) type Version = (u64, String);

/// One request of one client.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) key: u64,
    pub(super) invoked: Time,
    /// When the answer was there; for an unknown outcome it is never there.
    pub(super) returned: Time,
    /// The value that it would write, if it is a write.
    pub(super) writes: Option<String>,
    pub(super) outcome: Outcome,
}

/// What the client learned.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The write is this index; the key's version before.
    Wrote { index: u64, before: Option<Version> },
    /// A quorum read: the version, and the answer's `X-Etcd-Index`.
    Read { found: Option<Version>, at: u64 },
    /// The same of a read without a quorum, and the member that answered it.
    Shown { member: usize, found: Option<Version>, at: u64 },
    /// A swap that found another value or index than it expected. It wrote nothing.
    Differed(Actual),
    /// No answer, or one that says "perhaps".
    Unknown,
}

/// What a refused swap found, in the terms in which it had asked.
#[derive(Clone, Debug)]
pub(super) enum Actual {
    Value(String),
    Index(u64),
}

/// Finds what no single server could have answered.
pub(super) fn check(history: &[Operation]) -> Result<(), String> {
    let versions = Versions::gather(history)?;
    versions.check_predecessors(history)?;
    versions.check_cuts(history)?;
    check_real_time(history, &versions)?;
    check_one_order(history, &versions)?;
    check_members(history)
}

/// All versions that anybody saw, by key, and the operation that wrote each.
struct Versions {
    by_key: BTreeMap<u64, BTreeMap<u64, String>>,
    /// The index of the version that holds a value.
    by_value: HashMap<String, u64>,
    /// The one operation that wants to write a value.
    writers: HashMap<String, usize>,
}

impl Versions {
    fn gather(history: &[Operation]) -> Result<Self, String> {
        let mut versions = Self { by_key: BTreeMap::new(), by_value: HashMap::new(), writers: HashMap::new() };
        for (nth, operation) in history.iter().enumerate() {
            if let Some(value) = &operation.writes {
                assert_eq!(
                    versions.writers.insert(value.clone(), nth),
                    None,
                    "a value is written by one operation only"
                );
            }
        }
        for operation in history {
            for (index, value) in shown(operation) {
                versions.add(operation.key, index, &value, history)?;
            }
        }
        Ok(versions)
    }

    fn add(&mut self, key: u64, index: u64, value: &str, history: &[Operation]) -> Result<(), String> {
        self.check_origin(key, value, history)?;
        let old = self.by_key.entry(key).or_default().insert(index, value.to_owned());
        if old.as_ref().is_some_and(|old| old != value) {
            return Err(format!("key {key}: index {index} is {old:?} and {value:?}"));
        }
        match self.by_value.insert(value.to_owned(), index) {
            Some(other) if other != index => {
                let writer = self.writers.get(value).map(|&nth| &history[nth]);
                Err(format!("key {key}: {value:?} was written twice, at {other} and {index}, by {writer:?}"))
            }
            _ => Ok(()),
        }
    }

    /// A value that is seen was written by somebody who was not told that it had not been written.
    fn check_origin(&self, key: u64, value: &str, history: &[Operation]) -> Result<(), String> {
        let writer = self.writers.get(value).map(|&nth| &history[nth]);
        match writer {
            Some(Operation { outcome: Outcome::Wrote { .. } | Outcome::Unknown, key: wrote, .. }) if *wrote == key => {
                Ok(())
            }
            other => Err(format!("key {key}: {value:?} was seen, but its writer is {other:?}")),
        }
    }

    /// Where an operation stands in the order of its key: the index of the version that it wrote or saw. `None`: it is not known.
    fn place(&self, operation: &Operation) -> Option<u64> {
        match &operation.outcome {
            Outcome::Wrote { index, .. } | Outcome::Differed(Actual::Index(index)) => Some(*index),
            Outcome::Read { found, .. } => Some(found.as_ref().map_or(0, |found| found.0)),
            Outcome::Differed(Actual::Value(value)) => self.by_value.get(value).copied(),
            Outcome::Unknown => operation.writes.as_ref().and_then(|value| self.by_value.get(value)).copied(),
            Outcome::Shown { .. } => None,
        }
    }

    /// What a write replaced is the version right before it.
    fn check_predecessors(&self, history: &[Operation]) -> Result<(), String> {
        for operation in history {
            let Outcome::Wrote { index, before } = &operation.outcome else { continue };
            let known = self.by_key[&operation.key].range(..index).next_back();
            if known.map(|(index, value)| (*index, value.clone())) != *before {
                return Err(format!("the version before was {known:?}, not as in {operation:?}"));
            }
        }
        Ok(())
    }

    /// A read shows the newest version at or below its `X-Etcd-Index`.
    fn check_cuts(&self, history: &[Operation]) -> Result<(), String> {
        for operation in history {
            let (Outcome::Read { found, at } | Outcome::Shown { found, at, .. }) = &operation.outcome else { continue };
            let newest = self.by_key.get(&operation.key).and_then(|all| all.range(..=at).next_back());
            if newest.map(|(index, value)| (*index, value.clone())) != *found {
                return Err(format!("at {at} the key was {newest:?}, not as in {operation:?}"));
            }
        }
        Ok(())
    }
}

/// The versions that an operation tells of.
fn shown(operation: &Operation) -> Vec<Version> {
    match &operation.outcome {
        Outcome::Wrote { index, before } => {
            let own = operation.writes.clone().map(|value| (*index, value));
            own.into_iter().chain(before.clone()).collect()
        }
        Outcome::Read { found, .. } | Outcome::Shown { found, .. } => found.clone().into_iter().collect(),
        Outcome::Differed(_) | Outcome::Unknown => Vec::new(),
    }
}

/// Of two operations on one key, the one that ended before the other began comes first.
fn check_real_time(history: &[Operation], versions: &Versions) -> Result<(), String> {
    let keys: std::collections::BTreeSet<u64> = history.iter().map(|operation| operation.key).collect();
    for key in keys {
        let of_key = history.iter().filter(|operation| operation.key == key);
        sweep(of_key.filter_map(|operation| Some((operation, versions.place(operation)?))))?;
    }
    for operation in history {
        if let Outcome::Differed(Actual::Value(value)) = &operation.outcome {
            versions.check_origin(operation.key, value, history)?;
        }
    }
    Ok(())
}

/// The same over all keys, where a write stands at its index and a read at its `X-Etcd-Index`.
fn check_one_order(history: &[Operation], versions: &Versions) -> Result<(), String> {
    let place = |operation: &Operation| match &operation.outcome {
        Outcome::Read { at, .. } => Some(*at),
        Outcome::Wrote { .. } | Outcome::Unknown => versions.place(operation),
        Outcome::Differed(_) | Outcome::Shown { .. } => None,
    };
    sweep(history.iter().filter_map(|operation| Some((operation, place(operation)?))))
}

/// What a member shows without a quorum only grows.
fn check_members(history: &[Operation]) -> Result<(), String> {
    let mut by_member: BTreeMap<usize, Vec<(&Operation, u64)>> = BTreeMap::new();
    for operation in history {
        if let Outcome::Shown { member, at, .. } = operation.outcome {
            by_member.entry(member).or_default().push((operation, at));
        }
    }
    by_member.into_values().try_for_each(|reads| sweep(reads.into_iter()))
}

fn is_write(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Wrote { .. } | Outcome::Unknown)
}

/// Goes through time: whoever begins must not stand below anybody who has ended; a write must stand above.
fn sweep<'a>(placed: impl Iterator<Item = (&'a Operation, u64)>) -> Result<(), String> {
    let mut by_start: Vec<_> = placed.collect();
    let mut by_end = by_start.clone();
    by_start.sort_by_key(|(operation, _)| operation.invoked);
    by_end.sort_by_key(|(operation, _)| operation.returned);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<(&Operation, u64)> = None;
    for (operation, place) in by_start {
        while let Some(other) = ended.next_if(|(other, _)| other.returned < operation.invoked) {
            if highest.is_none_or(|(_, highest)| other.1 > highest) {
                highest = Some(other);
            }
        }
        if let Some((before, highest)) = highest
            && (place < highest || place == highest && is_write(operation))
        {
            return Err(format!("{operation:?} stands at {place}, but {before:?} had ended at {highest}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Time = Time::MAX;

    fn operation(key: u64, time: (Time, Time), writes: Option<&str>, outcome: Outcome) -> Operation {
        Operation { key, invoked: time.0, returned: time.1, writes: writes.map(str::to_owned), outcome }
    }

    fn version(version: (u64, &str)) -> Version {
        (version.0, version.1.to_owned())
    }

    fn wrote(time: (Time, Time), value: &str, index: u64, before: Option<(u64, &str)>) -> Operation {
        operation(1, time, Some(value), Outcome::Wrote { index, before: before.map(version) })
    }

    fn read(time: (Time, Time), found: Option<(u64, &str)>, at: u64) -> Operation {
        operation(1, time, None, Outcome::Read { found: found.map(version), at })
    }

    fn shown(time: (Time, Time), member: usize, found: Option<(u64, &str)>, at: u64) -> Operation {
        operation(1, time, None, Outcome::Shown { member, found: found.map(version), at })
    }

    fn unknown(invoked: Time, value: &str) -> Operation {
        operation(1, (invoked, NEVER), Some(value), Outcome::Unknown)
    }

    fn differed(time: (Time, Time), value: &str, actual: &str) -> Operation {
        operation(1, time, Some(value), Outcome::Differed(Actual::Value(actual.to_owned())))
    }

    fn differed_at(time: (Time, Time), value: &str, index: u64) -> Operation {
        operation(1, time, Some(value), Outcome::Differed(Actual::Index(index)))
    }

    /// A write, a concurrent one, and one whose answer was lost but which was seen.
    fn sound() -> Vec<Operation> {
        vec![
            read((0, 1), None, 4),
            wrote((2, 5), "a", 5, None),
            wrote((3, 8), "b", 7, Some((5, "a"))),
            read((6, 9), Some((5, "a")), 6),
            read((6, 10), Some((7, "b")), 7),
            unknown(11, "c"),
            unknown(11, "never done"),
            read((12, 13), Some((7, "b")), 8),
            read((14, 15), Some((9, "c")), 9),
            differed((16, 17), "x", "c"),
            differed_at((16, 17), "z", 9),
            wrote((18, 19), "d", 12, Some((9, "c"))),
            shown((20, 21), 0, Some((9, "c")), 11),
            shown((20, 21), 1, Some((5, "a")), 6),
            shown((22, 23), 1, Some((5, "a")), 6),
            operation(2, (20, 21), Some("other key"), Outcome::Wrote { index: 13, before: None }),
        ]
    }

    #[test]
    fn a_sound_history_passes() {
        assert_eq!(check(&sound()), Ok(()));
        assert_eq!(check(&[]), Ok(()));
    }

    #[test]
    fn planted_violations_are_found() {
        let planted: [(&str, Vec<Operation>, &str); 19] = [
            ("a stale read", vec![read((30, 31), Some((9, "c")), 11)], "had ended at"),
            ("a stale read with a new index", vec![read((30, 31), Some((9, "c")), 13)], "at 13 the key was"),
            ("nothing where something is", vec![read((30, 31), None, 13)], "at 13 the key was"),
            ("a lost write", vec![wrote((22, 23), "e", 15, None)], "the version before was"),
            ("a swap over a version", vec![wrote((22, 23), "e", 15, Some((9, "c")))], "the version before was"),
            ("an index that goes back", vec![wrote((22, 23), "e", 11, Some((9, "c")))], "the version before was"),
            (
                "an index below another key's",
                vec![operation(3, (22, 23), Some("e"), Outcome::Wrote { index: 10, before: None })],
                "had ended at 13",
            ),
            ("an index given twice", vec![wrote((22, 23), "e", 12, Some((9, "c")))], "index 12 is"),
            (
                "a value out of nowhere",
                vec![read((22, 23), Some((14, "ghost")), 14)],
                "was seen, but its writer is None",
            ),
            (
                "a refused swap that took effect",
                vec![read((22, 23), Some((14, "x")), 14)],
                "was seen, but its writer is",
            ),
            ("a retry that was done twice", vec![read((22, 23), Some((14, "c")), 14)], "was written twice"),
            (
                "a value of another key",
                vec![read((22, 23), Some((14, "other key")), 14)],
                "was seen, but its writer is",
            ),
            (
                "a read from the future",
                vec![read((1, 1), Some((12, "d")), 12), wrote((22, 23), "e", 15, Some((12, "d")))],
                "had ended",
            ),
            ("a member that goes back", vec![shown((24, 25), 0, Some((5, "a")), 6)], "had ended at 11"),
            ("a member that shows no prefix", vec![shown((24, 25), 1, Some((7, "b")), 11)], "at 11 the key was"),
            (
                "a member that shows what is nobody's",
                vec![shown((24, 25), 1, Some((10, "ghost")), 10)],
                "was seen, but",
            ),
            ("a swap refused by a value long gone", vec![differed((30, 31), "y", "a")], "had ended at"),
            ("a swap refused by an index long gone", vec![differed_at((30, 31), "y", 5)], "had ended at"),
            ("a read at an old index", vec![read((30, 31), Some((12, "d")), 12)], "had ended at 13"),
        ];
        for (name, more, want) in planted {
            let history = [sound(), more].concat();
            let found = check(&history).expect_err(name);
            assert!(found.contains(want), "{name}: {found}");
        }
    }

    #[test]
    fn order_between_concurrent_operations_is_free() {
        let concurrent = [
            wrote((0, 9), "a", 8, Some((6, "b"))),
            wrote((0, 9), "b", 6, None),
            read((1, 8), None, 5),
            read((1, 8), Some((8, "a")), 8),
            read((1, 8), Some((6, "b")), 7),
        ];
        assert_eq!(check(&concurrent), Ok(()));
        // But two reads of one client may not go back in time.
        let back = [&concurrent[..], &[read((2, 3), Some((8, "a")), 8), read((4, 5), Some((6, "b")), 7)]].concat();
        assert!(check(&back).expect_err("the second read is older").contains("had ended at 8"));
    }
}
