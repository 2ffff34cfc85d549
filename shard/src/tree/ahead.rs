//! Going down the tree for many paths at once, so that what the next commands need is in a cache when they come.
//!
//! In a large tree hardly anything is in one, and each step of a way waits for the line of memory that the step before has named. The lines of
//! different ways do not wait for each other: one step of each in turn, which asks for the next line and does not wait for it, has many
//! of them under way. This is group prefetching (Chen, Ailamaki, Gibbons, Mowry: Improving Hash Join Performance through Prefetching, 2004).
//!
//! Nothing depends on it but time. It changes nothing and finds nothing out.

use super::Tree;
use super::children::{Block, Child, Entry, slot};
use super::node::{Dir, Node};
use super::sorted::{Sorted, Sought};
use crate::memory::ask_shared;
use crate::path;

/// Ways under way at once: a core has that many lines asked for at most, or a few more.
const TOGETHER: usize = 32;

/// Ways that are gone in all: what they fetch has to stay in the cache until it is used.
const MOST: usize = 512;

/// Ways down the tree.
#[derive(Debug)]
pub(crate) struct Ahead<'a> {
    ways: Vec<Way<'a>>,
    left: usize,
}

/// One of them.
#[derive(Debug)]
struct Way<'a> {
    at: At<'a>,
    name: Sought<'a>,
    /// What comes below it.
    rest: &'a [u8],
}

/// What it has asked for and not looked at yet.
#[derive(Clone, Copy, Debug)]
enum At<'a> {
    Dir(&'a Dir),
    Block(&'a Block),
    Starts(&'a Block),
    Items(&'a Block, usize),
    End,
}

impl<'a> Ahead<'a> {
    pub(crate) fn new() -> Self {
        Self { ways: Vec::with_capacity(TOGETHER), left: MOST }
    }

    /// One more way. False: no more.
    pub(crate) fn add(&mut self, tree: &'a Tree, path: &'a [u8]) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.ways.push(Way::new(tree, path));
        if self.ways.len() == TOGETHER {
            self.go();
        }
        true
    }

    /// Goes all ways there are to their ends.
    pub(crate) fn go(&mut self) {
        // A single one has nothing to do while it waits.
        if self.ways.len() > 1 {
            while self.ways.iter_mut().map(Way::step).filter(|more| *more).count() > 0 {}
        }
        self.ways.clear();
    }
}

impl<'a> Way<'a> {
    fn new(tree: &'a Tree, path: &'a [u8]) -> Self {
        Self { at: At::Dir(tree.root()), name: Sought::new(b""), rest: path }
    }

    /// One step; false at the end.
    fn step(&mut self) -> bool {
        self.at = match self.at {
            At::Dir(dir) => self.enter(dir),
            At::Block(block) => {
                match block {
                    Block::Leaf(entries) => entries.ask_starts(),
                    Block::Branch(below) => below.ask_starts(),
                }
                At::Starts(block)
            }
            At::Starts(block) => {
                let at = match block {
                    Block::Leaf(entries) => entries.ask_items(self.name),
                    Block::Branch(below) => below.ask_items(self.name),
                };
                At::Items(block, at)
            }
            At::Items(Block::Leaf(entries), at) => self.find(entries, at),
            At::Items(Block::Branch(below), at) => go_down(below, self.name, at),
            At::End => At::End,
        };
        !matches!(self.at, At::End)
    }

    fn enter(&mut self, dir: &'a Dir) -> At<'a> {
        let Some((name, rest)) = path::split_first(self.rest) else { return At::End };
        (self.name, self.rest) = (Sought::new(name), rest);
        dir.children.root().map_or(At::End, |block| {
            ask_shared(block);
            At::Block(block)
        })
    }

    /// Asks for what the name stands for. That other names begin like it is rare, and then one of them will do.
    fn find(&self, entries: &'a Sorted<Entry>, at: usize) -> At<'a> {
        match entries.begins_at(self.name, at).map(|entry| &entry.node) {
            Some(Node::Dir(dir)) => {
                ask_shared(dir);
                At::Dir(dir)
            }
            Some(Node::File(file)) => {
                ask_shared(&file.value);
                At::End
            }
            None => At::End,
        }
    }
}

fn go_down<'a>(below: &'a Sorted<Child>, name: Sought<'_>, at: usize) -> At<'a> {
    // Only where names begin alike they have to be looked at.
    let at = if below.begins_at(name, at).is_some() { slot(below, name) } else { at.saturating_sub(1) };
    let block = &below[at].block;
    ask_shared(block);
    At::Block(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Index;
    use crate::tree::{File, Lookup};
    use std::rc::Rc;

    fn tree(paths: &[String]) -> Tree {
        let mut tree = Tree::default();
        for (path, index) in paths.iter().zip(1..) {
            let index = Index(index);
            let (dir, name) = path::split_last(path.as_bytes()).expect("not the root");
            let file = File { value: Rc::from([]), created: index, modified: index, told: index, deadline: None };
            tree.dir_mut(dir, index, true).children.insert(name, Node::File(file));
        }
        tree
    }

    /// The last block, and whether a way has come to the file's item there.
    fn goes_to(tree: &Tree, path: &str) -> Option<*const File> {
        let mut way = Way::new(tree, path.as_bytes());
        let mut last = None;
        while way.step() {
            last = Some(way.at);
        }
        let At::Items(Block::Leaf(entries), at) = last? else { return None };
        entries.begins_at(way.name, at)?.node.file().map(std::ptr::from_ref)
    }

    #[test]
    fn every_way_ends_at_the_file_that_is_looked_for() {
        let deep = (0..2000).map(|n| format!("/a{}/b{}/a-long-name-{}/k{n}", n % 3, n % 7, n % 40));
        let paths: Vec<String> = deep.chain((0..3000).map(|n| format!("/wide/{n:06}"))).collect();
        let tree = tree(&paths);
        for path in &paths {
            let Lookup::File(file) = tree.lookup(path.as_bytes()) else { panic!("{path} is there") };
            let alike = path.contains("a-long-name");
            let came_to = goes_to(&tree, path);
            assert!(came_to == Some(std::ptr::from_ref(file)) || alike, "{path}");
        }
        for path in ["/", "/wide", "/wide/", "/nothing", "/wide/1", "/a1/b1"] {
            assert_eq!(goes_to(&tree, path), None, "{path}");
        }
    }

    #[test]
    fn ways_are_bounded() {
        let tree = tree(&["/a/b".to_owned()]);
        let mut ahead = Ahead::new();
        assert_eq!((0..10 * MOST).filter(|_| ahead.add(&tree, b"/a/b")).count(), MOST);
        ahead.go();
        assert!(ahead.ways.is_empty());
    }
}
