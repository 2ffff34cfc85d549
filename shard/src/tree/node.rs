//! Files and directories.

use super::children::Children;
use super::graveyard;
use crate::ids::Index;
use crate::ttl::Deadline;
use std::rc::Rc;

/// A file. 48 bytes beside its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) value: Rc<[u8]>,
    pub(crate) created: Index,
    pub(crate) modified: Index,
    /// Last change of this path that watchers learned of: `modified` unless that was a refresh.
    pub(crate) told: Index,
    pub(crate) deadline: Option<Deadline>,
}

/// A directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dir {
    pub(crate) created: Index,
    /// Not moved by an update of the directory, as in etcd 2.3.
    pub(crate) modified: Index,
    /// Last change of the directory itself that watchers learned of, its creation (implicit or not) included.
    pub(crate) told: Index,
    /// Last change at or below the directory that watchers learned of, removals included.
    pub(crate) changed: Index,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) children: Children,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(File),
    Dir(Rc<Dir>),
}

const _: () = assert!(size_of::<Node>() == 48, "a file is stored in place, and this is what a million keys pay");

impl Dir {
    pub(crate) fn new(index: Index, deadline: Option<Deadline>) -> Self {
        Self { created: index, modified: index, told: index, changed: index, deadline, children: Children::default() }
    }

    /// Notes a change at or below.
    pub(crate) fn note(&mut self, index: Index, told: bool) {
        if told {
            self.changed = index;
        }
    }
}

impl Node {
    /// None for a directory.
    pub(crate) fn file(&self) -> Option<&File> {
        match self {
            Self::File(file) => Some(file),
            Self::Dir(_) => None,
        }
    }

    pub(crate) fn created(&self) -> Index {
        match self {
            Self::File(file) => file.created,
            Self::Dir(dir) => dir.created,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::File(file) => file.deadline,
            Self::Dir(dir) => dir.deadline,
        }
    }
}

/// Dropping the last reference to a directory only hands its children over, whatever their number or depth.
impl Drop for Dir {
    fn drop(&mut self) {
        if let Some(block) = self.children.take() {
            graveyard::bury(block);
        }
    }
}
