//! The part of the key tree that one shard holds, as a persistent tree: a snapshot is one more reference to the root.
//!
//! A write changes blocks in place while nobody else holds them, and copies the few on its path when a snapshot does.
//! Nothing recurses over the depth of the tree, and whatever falls off it is taken apart in steps (see `graveyard`).

mod ahead;
mod children;
mod cursor;
mod graveyard;
mod node;
mod sorted;

pub(crate) use ahead::Ahead;
pub(crate) use children::Children;
pub(crate) use cursor::{At, Cursor, Place, Scope};
pub(crate) use graveyard::drop_some;
pub(crate) use node::{Dir, File, Node};

use crate::ids::Index;
use crate::path;
use std::rc::Rc;

/// What a walk along a path found. Lengths are of the path's prefix.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    /// The node, a file.
    File(&'a File),
    /// The node, a directory.
    Dir(&'a Rc<Dir>),
    /// `parent` exists, its child at `path[..at]` does not.
    Missing { parent: &'a Dir, at: usize },
    /// A file stands at `path[..at]`, before the end of the path.
    Blocked { file: &'a File, at: usize },
}

/// The tree. The root is a directory with indices 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    root: Rc<Dir>,
}

impl Tree {
    pub(crate) fn new(root: Dir) -> Self {
        Self { root: Rc::new(root) }
    }

    pub(crate) fn root(&self) -> &Rc<Dir> {
        &self.root
    }

    pub(crate) fn lookup(&self, path: &[u8]) -> Lookup<'_> {
        lookup_below(&self.root, path)
    }

    /// The directory at `path`, with what is missing of it created as of `index`. Told or not, `changed` of all of it
    /// follows if `told`: whether the change is one that watchers learn of.
    pub(crate) fn dir_mut(&mut self, path: &[u8], index: Index, told: bool) -> &mut Dir {
        let mut dir = Rc::make_mut(&mut self.root);
        dir.note(index, told);
        for name in path::components(path) {
            if dir.children.get(name).is_none() {
                dir.children.insert(name, Node::Dir(Rc::new(Dir::new(index, None))));
            }
            dir = match dir.children.get_mut(name) {
                Some(Node::Dir(below)) => Rc::make_mut(below),
                _ => unreachable!("checked before: no file is in the way"),
            };
            dir.note(index, told);
        }
        dir
    }

    /// The node at `path`, which exists and is not the root. Directories above it are marked as in `dir_mut`.
    pub(crate) fn node_mut(&mut self, path: &[u8], index: Index, told: bool) -> &mut Node {
        let (dir, name) = path::split_last(path).unwrap_or_else(|| unreachable!("checked before: not the root"));
        let node = self.dir_mut(dir, index, told).children.get_mut(name);
        node.unwrap_or_else(|| unreachable!("checked before: the node exists"))
    }

    /// Takes away the node at `path`, which exists and is not the root.
    pub(crate) fn remove(&mut self, path: &[u8], index: Index) -> Node {
        let (dir, name) = path::split_last(path).unwrap_or_else(|| unreachable!("checked before: not the root"));
        let node = self.dir_mut(dir, index, true).children.remove(name);
        node.unwrap_or_else(|| unreachable!("checked before: the node exists"))
    }
}

/// Follows `path` from `root` down.
pub(crate) fn lookup_below<'a>(root: &'a Rc<Dir>, path: &[u8]) -> Lookup<'a> {
    let mut dir = root;
    let mut steps = path::steps(path).peekable();
    while let Some((name, at)) = steps.next() {
        match dir.children.get(name) {
            None => return Lookup::Missing { parent: dir, at },
            Some(Node::Dir(below)) => dir = below,
            Some(Node::File(file)) if steps.peek().is_some() => return Lookup::Blocked { file, at },
            Some(Node::File(file)) => return Lookup::File(file),
        }
    }
    Lookup::Dir(dir)
}
