//! Showing nodes: handles that outlive later writes, and listings in steps.

use crate::event::NodeView;
use crate::ids::Index;
use crate::path;
use crate::tree::{At, Cursor, Dir, File, Lookup, Node, Place, Scope, lookup_below};
use crate::ttl::{Deadline, Timeline};
use std::rc::Rc;

/// A node as it was when asked for. O(1) to make and to clone; later writes do not touch it. Dropping the last handle
/// to something large only hands it to `Store::tidy`.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    node: Node,
    timeline: Timeline,
}

/// A node as it is shown, borrowed; the members are those of [`NodeView`].
///
/// The root has indices 0 and the key `/`; a response leaves out all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRef<'a> {
    /// Full path with its leading `/`.
    pub key: &'a [u8],
    /// A file's content.
    pub value: Option<&'a [u8]>,
    /// A directory.
    pub dir: bool,
    /// When the node goes, in nanoseconds of the Unix epoch on the primary's clock.
    pub expiration: Option<u64>,
    /// Remaining seconds, rounded up, negative when overdue; left out of a response when 0.
    pub ttl: i64,
    /// Index of the last change.
    pub modified: Index,
    /// Index of the creation.
    pub created: Index,
}

/// One step of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A directory; what is below it comes next, unless the listing is of one level only.
    Enter(NodeRef<'a>),
    /// A file.
    File(NodeRef<'a>),
    /// The end of the directory entered last.
    Leave,
}

/// A listing in progress. It may be put aside after any step and resumed later, over the same version of the tree.
#[derive(Clone, Debug)]
pub struct Walk {
    cursor: Cursor,
    lens: Lens,
}

/// What turns stored times into shown ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lens {
    pub(crate) timeline: Timeline,
    /// Unix nanoseconds.
    pub(crate) now: u64,
}

impl NodeHandle {
    pub(crate) fn new(node: Node, timeline: Timeline) -> Self {
        Self { node, timeline }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.node, Node::Dir(_))
    }

    /// Bytes of a file's value; none of a directory.
    pub fn value_bytes(&self) -> Option<usize> {
        match &self.node {
            Node::File(file) => Some(file.value.len()),
            Node::Dir(_) => None,
        }
    }

    /// The node as shown at `now` (Unix nanoseconds). `key` is the path it was asked for.
    pub fn view<'a>(&'a self, key: &'a [u8], now: u64) -> NodeRef<'a> {
        let lens = Lens { timeline: self.timeline, now };
        match &self.node {
            Node::File(file) => lens.file(key, file),
            Node::Dir(dir) => lens.dir(key, dir),
        }
    }

    /// What a listing shows below the node: all levels or one, without hidden names, sorted by name at every level.
    /// The node itself is no part of it. A file has nothing below it. `key` is the path it was asked for.
    pub fn walk(&self, key: &[u8], now: u64, recursive: bool) -> Walk {
        self.walk_scope(key, now, Scope { recursive, hidden: false })
    }

    /// Like a recursive [`walk`](Self::walk), hidden names included: for backups and checks.
    pub fn walk_all(&self, key: &[u8], now: u64) -> Walk {
        self.walk_scope(key, now, Scope::ALL)
    }

    /// Whether there was a node at `path`, at or below this node, which was at `key`.
    pub(crate) fn contains(&self, key: &[u8], path: &[u8]) -> bool {
        match (&self.node, path::below(path, key)) {
            (_, None) => false,
            (Node::File(_), Some(rest)) => rest.is_empty(),
            (Node::Dir(dir), Some(rest)) => matches!(lookup_below(dir, rest), Lookup::File(_) | Lookup::Dir(_)),
        }
    }

    fn walk_scope(&self, key: &[u8], now: u64, scope: Scope) -> Walk {
        let cursor = match &self.node {
            Node::Dir(dir) => Cursor::new(dir, key, scope),
            Node::File(_) => Cursor::new(&Dir::default(), key, scope),
        };
        Walk { cursor, lens: Lens { timeline: self.timeline, now } }
    }
}

impl Walk {
    /// The next step, until there is none.
    pub fn step(&mut self) -> Option<Step<'_>> {
        Some(match self.cursor.step()? {
            Place::Enter(At { path, .. }, dir) => Step::Enter(self.lens.dir(path, dir)),
            Place::File(At { path, .. }, file) => Step::File(self.lens.file(path, file)),
            Place::Leave => Step::Leave,
        })
    }
}

impl NodeRef<'_> {
    /// The same, owned.
    pub fn to_view(&self) -> NodeView {
        NodeView {
            key: Rc::from(self.key),
            value: self.value.map(Rc::from),
            dir: self.dir,
            expiration: self.expiration,
            ttl: self.ttl,
            modified: self.modified,
            created: self.created,
        }
    }
}

impl<'a> From<&'a NodeView> for NodeRef<'a> {
    fn from(view: &'a NodeView) -> Self {
        Self {
            key: &view.key,
            value: view.value.as_deref(),
            dir: view.dir,
            expiration: view.expiration,
            ttl: view.ttl,
            modified: view.modified,
            created: view.created,
        }
    }
}

impl Lens {
    /// Expiration and remaining seconds as shown.
    pub(crate) fn times(self, deadline: Option<Deadline>) -> (Option<u64>, i64) {
        match deadline {
            Some(deadline) => (Some(self.timeline.expiration(deadline)), self.timeline.ttl_s(deadline, self.now)),
            None => (None, 0),
        }
    }

    /// A stored node as the `prevNode` of an event.
    pub(crate) fn prev(self, key: &Rc<[u8]>, node: &Node) -> NodeView {
        let (expiration, ttl) = self.times(node.deadline());
        let (value, modified) = match node {
            Node::File(file) => (Some(Rc::clone(&file.value)), file.modified),
            Node::Dir(dir) => (None, dir.modified),
        };
        let dir = value.is_none();
        NodeView { key: Rc::clone(key), value, dir, expiration, ttl, modified, created: node.created() }
    }

    fn file<'a>(self, key: &'a [u8], file: &'a File) -> NodeRef<'a> {
        let (expiration, ttl) = self.times(file.deadline);
        NodeRef {
            key,
            value: Some(&file.value),
            dir: false,
            expiration,
            ttl,
            modified: file.modified,
            created: file.created,
        }
    }

    fn dir<'a>(self, key: &'a [u8], dir: &Dir) -> NodeRef<'a> {
        let (expiration, ttl) = self.times(dir.deadline);
        NodeRef { key, value: None, dir: true, expiration, ttl, modified: dir.modified, created: dir.created }
    }
}
