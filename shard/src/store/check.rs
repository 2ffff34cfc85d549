//! What is refused, and in which order the reasons are looked for: etcd 2.3's.

use super::recent::Spot;
use super::{Found, Store};
use crate::command::CommandRef;
use crate::path::ROOT;
use crate::refusal::{Code, Refusal};
use crate::tree::{File, Lookup, Tree};
use mutant::Mutant;
use std::rc::Rc;

/// What a compare-and-something expects of a file. Empty and 0 stand for "anything".
#[derive(Clone, Copy)]
struct Expected<'a> {
    value: &'a [u8],
    index: u64,
}

impl Store {
    /// What [`apply`](Self::apply) would refuse if it came now.
    ///
    /// An in-order create whose name happens to be taken is found out only when it is applied; so are the refusals of
    /// system commands, for which there is `System::check`.
    pub fn check(&self, command: &CommandRef<'_>) -> Result<(), Refusal> {
        self.check_at(command, None)
    }

    /// [`check`](Self::check); `spot` is where the file of the command's path may be remembered.
    pub(super) fn check_at(&self, command: &CommandRef<'_>, spot: Option<Spot>) -> Result<(), Refusal> {
        match *command {
            CommandRef::Set { path, refresh, .. } => self.check_set(path, spot, refresh),
            CommandRef::Create { path, in_order, .. } => self.check_create(path, spot, in_order),
            CommandRef::Update { path, value, .. } => self.check_update(path, spot, value),
            CommandRef::CompareAndSwap { path, prev_value, prev_index, .. } => {
                not_root(path)?;
                self.check_compare(path, spot, Expected { value: prev_value.unwrap_or_default(), index: prev_index })
            }
            CommandRef::Delete { path, dir, recursive } => self.check_delete(path, spot, dir, recursive),
            CommandRef::CompareAndDelete { path, prev_value, prev_index } => {
                self.check_compare(path, spot, Expected { value: prev_value.unwrap_or_default(), index: prev_index })
            }
            CommandRef::Expire { .. } | CommandRef::Rebase { .. } | CommandRef::System(_) => Ok(()),
        }
    }

    /// The node at `path`.
    fn find(&self, path: &[u8], spot: Option<Spot>) -> Result<Found<'_>, Refusal> {
        self.remembered(path, spot).map_or_else(|| find(&self.tree, path), |file| Ok(Found::File(file)))
    }

    fn check_set(&self, path: &[u8], spot: Option<Spot>, refresh: bool) -> Result<(), Refusal> {
        not_root(path)?;
        match self.find(path, spot) {
            Ok(Found::File(_)) => Ok(()),
            Ok(Found::Dir(_)) => Err(Refusal::new(Code::NotAFile, path)),
            Err(missing) if missing.code == Code::KeyNotFound && !refresh => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    fn check_create(&self, path: &[u8], spot: Option<Spot>, in_order: bool) -> Result<(), Refusal> {
        if !in_order {
            not_root(path)?;
        }
        match self.find(path, spot) {
            Ok(Found::Dir(_)) if in_order => Ok(()),
            Ok(Found::File(_)) if in_order => Err(Refusal::new(Code::NotADirectory, path)),
            Ok(_) => Err(Refusal::new(Code::KeyExists, path)),
            Err(missing) if missing.code == Code::KeyNotFound => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    fn check_update(&self, path: &[u8], spot: Option<Spot>, value: &[u8]) -> Result<(), Refusal> {
        not_root(path)?;
        match self.find(path, spot)? {
            Found::Dir(_) if !value.is_empty() => Err(Refusal::new(Code::NotAFile, path)),
            _ => Ok(()),
        }
    }

    fn check_compare(&self, path: &[u8], spot: Option<Spot>, expected: Expected<'_>) -> Result<(), Refusal> {
        match self.find(path, spot)? {
            Found::File(file) if mutant::is(Mutant::ComparesStaleValue) => {
                let before = self.history().iter().filter(|event| *event.node.key == *path).last();
                let before = before.and_then(|event| event.prev?.value.map(Rc::from));
                expected.compare(&File { value: before.unwrap_or_else(|| Rc::clone(&file.value)), ..file.clone() })
            }
            Found::File(file) => expected.compare(file),
            // etcd 2.3 calls the root by no name here.
            Found::Dir(_) if path == ROOT => Err(Refusal::new(Code::NotAFile, *b"")),
            Found::Dir(_) => Err(Refusal::new(Code::NotAFile, path)),
        }
    }

    fn check_delete(&self, path: &[u8], spot: Option<Spot>, dir: bool, recursive: bool) -> Result<(), Refusal> {
        not_root(path)?;
        match self.find(path, spot)? {
            Found::Dir(_) if !dir && !recursive => Err(Refusal::new(Code::NotAFile, path)),
            Found::Dir(node) if !node.children.is_empty() && !recursive => {
                Err(Refusal::new(Code::DirectoryNotEmpty, path))
            }
            Found::File(_) | Found::Dir(_) => Ok(()),
        }
    }
}

/// The node at `path`; the cause of a refusal is the path up to where the way ended.
pub(super) fn find<'a>(tree: &'a Tree, path: &[u8]) -> Result<Found<'a>, Refusal> {
    match tree.lookup(path) {
        Lookup::File(file) => Ok(Found::File(file)),
        Lookup::Dir(dir) => Ok(Found::Dir(dir)),
        Lookup::Missing { at, .. } => Err(Refusal::new(Code::KeyNotFound, &path[..at])),
        Lookup::Blocked { at, .. } => Err(Refusal::new(Code::NotADirectory, &path[..at])),
    }
}

impl Expected<'_> {
    /// The cause names what differs: `[given != actual]`, the value first.
    fn compare(self, file: &File) -> Result<(), Refusal> {
        let mut cause = Vec::new();
        if !self.value.is_empty() && *self.value != *file.value {
            cause.extend([b"[", self.value, b" != ", &file.value, b"]"].concat());
        }
        if self.index != 0 && self.index != file.modified.0 {
            let space = if cause.is_empty() { "" } else { " " };
            cause.extend_from_slice(format!("{space}[{} != {}]", self.index, file.modified).as_bytes());
        }
        if cause.is_empty() { Ok(()) } else { Err(Refusal::new(Code::CompareFailed, cause)) }
    }
}

fn not_root(path: &[u8]) -> Result<(), Refusal> {
    if path == ROOT { Err(Refusal::new(Code::RootReadOnly, ROOT)) } else { Ok(()) }
}
