//! What clients were told, against a run of all committed commands one after the other, in the order of their indices.
//!
//! `modifiedIndex` says where in the order a write took effect, and a read says which prefix of the order it shows. So no
//! search is needed: a run is linearizable if the order keeps to the clock (`truth` checks that, for every acknowledgement
//! and every quorum read), and if every answer is the one that this model gives at its index.

use std::collections::{BTreeMap, BTreeSet};

use shard::command::Command;

use super::Truth;

/// What a client was told of its command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It was done; the value before, if there was one.
    Done { prev: Option<Vec<u8>> },
    /// It was refused, with etcd's number.
    Refused(u16),
}

/// What a read showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) path: Vec<u8>,
    /// The value and its `modifiedIndex`.
    pub(crate) found: Option<(Vec<u8>, u64)>,
}

/// What clients asked for and were told.
#[derive(Default)]
pub(crate) struct History {
    /// By ticket.
    asked: BTreeMap<u64, Command>,
    answers: BTreeMap<u64, Answered>,
    /// By the index that was shown.
    reads: BTreeMap<u64, Vec<Read>>,
}

impl History {
    pub(crate) fn ask(&mut self, ticket: u64, command: &Command) {
        self.asked.insert(ticket, command.clone());
    }

    pub(crate) fn answer(&mut self, ticket: u64, answer: Answered) {
        self.answers.insert(ticket, answer);
    }

    pub(crate) fn read(&mut self, visible: u64, read: Read) {
        self.reads.entry(visible).or_default().push(read);
    }

    /// Carries out all that was committed, and compares.
    pub(crate) fn check(&self, truth: &Truth) -> Model {
        let mut model = Model::default();
        let mut reads = self.reads.iter().peekable();
        for (index, (_, _, ticket)) in &truth.indices {
            while let Some((shown, several)) = reads.next_if(|(shown, _)| *shown < index) {
                model.check(*shown, several);
            }
            let Some(command) = self.asked.get(ticket) else {
                panic!("index {index} is of command {ticket}, which nobody asked for")
            };
            let expected = model.apply(*index, command);
            if let Some(answer) = self.answers.get(ticket) {
                assert_eq!(*answer, expected, "linearizability: the answer to {command:?} at index {index}");
            }
        }
        reads.for_each(|(shown, several)| model.check(*shown, several));
        model
    }
}

/// One key space, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Model {
    files: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    dirs: BTreeSet<Vec<u8>>,
}

const KEY_NOT_FOUND: u16 = 100;
const COMPARE_FAILED: u16 = 101;

impl Model {
    /// What is at a path.
    pub(crate) fn get(&self, path: &[u8]) -> Option<&(Vec<u8>, u64)> {
        self.files.get(path)
    }

    /// Every file's path.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.files.keys()
    }

    fn check(&self, shown: u64, reads: &[Read]) {
        for Read { path, found } in reads {
            let text = String::from_utf8_lossy(path);
            assert_eq!(*found, self.files.get(path).cloned(), "prefix consistency: {text} read at index {shown}");
        }
    }

    fn apply(&mut self, index: u64, command: &Command) -> Answered {
        match command {
            Command::Set { path, value, .. } => {
                self.dirs.insert(parent(path));
                self.put(index, path, value)
            }
            Command::CompareAndSwap { path, value, prev_value, .. } => match self.files.get(path) {
                None => Answered::Refused(KEY_NOT_FOUND),
                Some((current, _)) if Some(current) != prev_value.as_ref() => Answered::Refused(COMPARE_FAILED),
                Some(_) => self.put(index, path, value),
            },
            Command::Delete { path, recursive: false, .. } => match self.files.remove(path) {
                None => Answered::Refused(KEY_NOT_FOUND),
                Some((prev, _)) => Answered::Done { prev: Some(prev) },
            },
            Command::Delete { path, .. } if self.dirs.remove(path) => {
                self.files.retain(|file, _| parent(file) != *path);
                Answered::Done { prev: None }
            }
            Command::Delete { .. } => Answered::Refused(KEY_NOT_FOUND),
            other => panic!("no client asks for {other:?}"),
        }
    }

    fn put(&mut self, index: u64, path: &[u8], value: &[u8]) -> Answered {
        let before = self.files.insert(path.to_vec(), (value.to_vec(), index));
        Answered::Done { prev: before.map(|(value, _)| value) }
    }
}

fn parent(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path[..end].to_vec()
}
