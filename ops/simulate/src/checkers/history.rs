//! What clients were told, against a run of all committed commands one after the other, in the order of their indices.
//!
//! `modifiedIndex` says where in the order a write took effect, and a read says which prefix of the order it shows. So no
//! search is needed: a run is linearizable if the order keeps to the clock (`truth` checks that, for every acknowledgement
//! and every quorum read), and if every answer is the one that this model gives at its index.

use std::collections::{BTreeMap, BTreeSet};

use shard::command::Command;
use shard::ids::ShardId;

use super::Truth;
use crate::world::STEPS_PER_SECOND;

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

/// What was shown at some index.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Read(Read),
    /// This command was refused without a place in the log.
    Refused(u64, u16),
}

/// What clients asked for and were told.
#[derive(Default)]
pub(crate) struct History {
    /// By ticket; and when, in steps.
    asked: BTreeMap<u64, (Command, u64)>,
    answers: BTreeMap<u64, Answered>,
    /// By the index that was shown.
    shown: BTreeMap<u64, Vec<Shown>>,
}

impl History {
    pub(crate) fn ask(&mut self, ticket: u64, command: &Command, now: u64) {
        self.asked.insert(ticket, (command.clone(), now));
    }

    pub(crate) fn answer(&mut self, ticket: u64, answer: Answered) {
        self.answers.insert(ticket, answer);
    }

    pub(crate) fn read(&mut self, visible: u64, read: Read) {
        self.shown.entry(visible).or_default().push(Shown::Read(read));
    }

    /// A command was refused as of `visible`, and is in no log.
    pub(crate) fn refuse(&mut self, visible: u64, ticket: u64, code: u16) {
        self.shown.entry(visible).or_default().push(Shown::Refused(ticket, code));
    }

    /// Carries out all that was committed, and compares.
    pub(crate) fn check(&self, truth: &Truth) -> Model {
        let mut model = Model::default();
        let mut shown = self.shown.iter().peekable();
        for (index, (shard, _, ticket)) in &truth.indices {
            while let Some((at, several)) = shown.next_if(|(at, _)| *at < index) {
                self.compare(&mut model, *at, several);
            }
            let asked = self.asked.get(ticket).map(|(command, _)| command);
            let Some(command) = asked.or_else(|| truth.own.get(index)) else {
                panic!("index {index} is of command {ticket}, which nobody asked for")
            };
            model.at = At { index: *index, shard: *shard, clock: truth.clocks[index] };
            let expires = if let Command::Expire { path, .. } = command { model.get(path).map(|f| f.1) } else { None };
            let expected = model.apply(command);
            if let Some(answer) = self.answers.get(ticket) {
                assert_eq!(*answer, expected, "linearizability: the answer to {command:?} at index {index}");
            }
            if let (Some(modified), Some(seen)) = (expires, truth.expired.get(index)) {
                self.check_lifetime(truth.indices[&modified].2, *seen);
            }
        }
        shown.for_each(|(at, several)| self.compare(&mut model, *at, several));
        model
    }

    fn compare(&self, model: &mut Model, at: u64, shown: &[Shown]) {
        for shown in shown {
            match shown {
                Shown::Read(Read { path, found }) => {
                    let text = String::from_utf8_lossy(path);
                    assert_eq!(found.as_ref(), model.get(path), "prefix consistency: {text} read at index {at}");
                }
                Shown::Refused(ticket, code) => {
                    let command = &self.asked[ticket].0;
                    let expected = model.refusal(command);
                    assert_eq!(Some(*code), expected, "linearizability: {command:?} refused as of index {at}");
                }
            }
        }
    }

    /// A key that this command had written was gone when the world was `seen` old.
    fn check_lifetime(&self, ticket: u64, seen: u64) {
        if let Some((Command::Set { path, ttl: Some(ttl), .. }, asked)) = self.asked.get(&ticket) {
            let text = String::from_utf8_lossy(path);
            assert!(
                asked + ttl * STEPS_PER_SECOND <= seen,
                "expired early: {text}, for {ttl} s from {asked} on, at {seen}"
            );
        }
    }
}

/// Where in the order a command is carried out, and what the primary's clock said.
#[derive(Clone, Copy, Debug, Default)]
struct At {
    index: u64,
    shard: ShardId,
    clock: u64,
}

/// One key space, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Model {
    files: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    /// Of the files that go: when, and the index that they were made at.
    deadlines: BTreeMap<Vec<u8>, (u64, u64)>,
    dirs: BTreeSet<Vec<u8>>,
    /// What a shard's clock reads more than its timeline.
    ahead: BTreeMap<ShardId, i64>,
    at: At,
}

const KEY_NOT_FOUND: u16 = 100;
const COMPARE_FAILED: u16 = 101;
const SECOND_NS: u64 = 1_000_000_000;

impl Model {
    /// What is at a path.
    pub(crate) fn get(&self, path: &[u8]) -> Option<&(Vec<u8>, u64)> {
        self.files.get(path)
    }

    /// Every file's path.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.files.keys()
    }

    /// Why a command would be refused.
    fn refusal(&self, command: &Command) -> Option<u16> {
        match command {
            Command::CompareAndSwap { path, prev_value, .. } => match self.files.get(path) {
                None => Some(KEY_NOT_FOUND),
                Some((current, _)) => (Some(current) != prev_value.as_ref()).then_some(COMPARE_FAILED),
            },
            Command::Delete { path, recursive: false, .. } => (!self.files.contains_key(path)).then_some(KEY_NOT_FOUND),
            Command::Delete { path, .. } => (!self.dirs.contains(path)).then_some(KEY_NOT_FOUND),
            _ => None,
        }
    }

    fn apply(&mut self, command: &Command) -> Answered {
        if let Some(code) = self.refusal(command) {
            return Answered::Refused(code);
        }
        let prev = match command {
            Command::Set { path, value, ttl, .. } => {
                self.dirs.insert(parent(path));
                self.deadlines.remove(path);
                self.deadlines.extend(ttl.map(|ttl| (path.clone(), self.deadline(ttl))));
                self.put(path, value)
            }
            Command::CompareAndSwap { path, value, .. } => {
                self.deadlines.remove(path);
                self.put(path, value)
            }
            Command::Delete { path, recursive: false, .. } => self.remove(path),
            Command::Delete { path, .. } => {
                self.dirs.remove(path);
                self.files.retain(|file, _| parent(file) != *path);
                self.deadlines.retain(|file, _| parent(file) != *path);
                None
            }
            Command::Expire { path, deadline, created } => {
                let is_the_same = self.deadlines.get(path) == Some(&(*deadline, *created));
                if is_the_same && *deadline <= self.here() { self.remove(path) } else { None }
            }
            Command::Rebase { by_ns } => {
                *self.ahead.entry(self.at.shard).or_default() += by_ns;
                None
            }
            // It is answered to nobody, and in no page.
            Command::System(_) => None,
            other => panic!("no client asks for {other:?}"),
        };
        Answered::Done { prev }
    }

    fn put(&mut self, path: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        self.files.insert(path.to_vec(), (value.to_vec(), self.at.index)).map(|(value, _)| value)
    }

    fn remove(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        self.deadlines.remove(path);
        self.files.remove(path).map(|(value, _)| value)
    }

    /// Of a file that is made now, to live so many seconds.
    fn deadline(&self, ttl: u64) -> (u64, u64) {
        (self.here() + ttl * SECOND_NS, self.at.index)
    }

    /// The shard's timeline.
    fn here(&self) -> u64 {
        let ahead = self.ahead.get(&self.at.shard).copied().unwrap_or_default();
        self.at.clock.saturating_add_signed(-ahead)
    }
}

fn parent(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path[..end].to_vec()
}
