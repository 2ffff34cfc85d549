//! What a change looked like: the data of a response, a watch event and a history entry.

use crate::ids::Index;
use std::rc::Rc;

/// What was done. The texts are the `action` member of responses and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Action {
    /// A read. Never an event.
    Get = 0,
    /// Written unconditionally.
    Set = 1,
    /// Made where nothing was.
    Create = 2,
    /// Changed where something was.
    Update = 3,
    /// Changed because it was as expected.
    CompareAndSwap = 4,
    /// Removed.
    Delete = 5,
    /// Removed because it was as expected.
    CompareAndDelete = 6,
    /// Removed because its time was up.
    Expire = 7,
}

impl Action {
    /// Every action, in numerical order.
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::Set,
        Self::Create,
        Self::Update,
        Self::CompareAndSwap,
        Self::Delete,
        Self::CompareAndDelete,
        Self::Expire,
    ];

    /// The `action` member.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Create => "create",
            Self::Update => "update",
            Self::CompareAndSwap => "compareAndSwap",
            Self::Delete => "delete",
            Self::CompareAndDelete => "compareAndDelete",
            Self::Expire => "expire",
        }
    }

    /// Whether the action takes a node away.
    pub const fn removes(self) -> bool {
        matches!(self, Self::Delete | Self::CompareAndDelete | Self::Expire)
    }
}

/// One node as shown in a response. Members are shown by presence here, except `ttl`, which is left out when 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Full path with its leading `/`.
    pub key: Rc<[u8]>,
    /// A file's content; none for directories and for the node of a removal.
    pub value: Option<Rc<[u8]>>,
    /// A directory. Also set on the node of a directory's removal, expiry included (as etcd 3.4 has it).
    pub dir: bool,
    /// When the node goes, in nanoseconds of the Unix epoch on the primary's clock.
    pub expiration: Option<u64>,
    /// Remaining seconds when the event happened, rounded up; 0 if there is no TTL. Not negative zero: a node up to
    /// one second overdue shows 0, then -1, and so on.
    pub ttl: i64,
    /// Index of the last change.
    pub modified: Index,
    /// Index of the creation.
    pub created: Index,
}

/// One change that happened. Immutable and shared: the writer, every watcher and the history hold the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What was done.
    pub action: Action,
    /// Position in the one order; also `node.modified`.
    pub index: Index,
    /// The node afterwards; for removals only its key, `dir` and indices.
    pub node: NodeView,
    /// The node before, if there was one. A directory's children are never shown.
    pub prev: Option<NodeView>,
    /// A TTL refresh: kept in history, but delivered to no watcher.
    pub refresh: bool,
}

impl Event {
    /// Whether the writer is answered 201 rather than 200: a create, or a set where nothing was.
    pub const fn created_something(&self) -> bool {
        match self.action {
            Action::Create => true,
            Action::Set => self.prev.is_none(),
            _ => false,
        }
    }

    /// Whether the event took away a directory, and so perhaps nodes below `node.key`.
    pub fn removed_directory(&self) -> bool {
        self.action.removes() && self.node.dir
    }
}
