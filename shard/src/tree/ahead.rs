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
use crate::memory::{CAN_ASK, ask_shared};
use crate::path;

/// Ways under way at once: a core has that many lines asked for at most, or a few more.
const TOGETHER: usize = 32;

/// Ways that are gone in all: what they fetch has to stay in the cache until it is used.
const MOST: u64 = 512;

/// Steps of a way at most: of a very deep one, the rest is left to who goes it in earnest.
const STEPS: usize = 64;

/// Ways down the tree.
#[derive(Debug)]
pub(crate) struct Ahead<'a> {
    ways: Vec<Way<'a>>,
    left: u64,
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
    /// For so many at most.
    pub(crate) fn new(most: u64) -> Self {
        let left = if CAN_ASK { most.min(MOST) } else { 0 };
        Self { ways: Vec::new(), left }
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
            for _ in 0..STEPS {
                self.ways.retain_mut(Way::step);
                if self.ways.is_empty() {
                    break;
                }
            }
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

    /// Asks for what the name stands for.
    fn find(&self, entries: &'a Sorted<Entry>, at: usize) -> At<'a> {
        match entries.only_at(self.name, at).map(|entry| &entry.node) {
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

/// Where several names begin like this one, they would all have to be looked at: that is left to who goes the way in earnest.
fn go_down<'a>(below: &'a Sorted<Child>, name: Sought<'_>, at: usize) -> At<'a> {
    let at = match below.begin_like(name, at) {
        0 => at.saturating_sub(1),
        1 => slot(below, name),
        _ => return At::End,
    };
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
        entries.only_at(way.name, at)?.node.file().map(std::ptr::from_ref)
    }

    #[test]
    fn every_way_ends_at_the_file_that_is_looked_for() {
        let deep = (0..2000).map(|n| format!("/a{}/b{}/a-long-name-{}/k{n}", n % 3, n % 7, n % 40));
        let paths: Vec<String> = deep.chain((0..3000).map(|n| format!("/wide/{n:06}"))).collect();
        let tree = tree(&paths);
        for path in &paths {
            let Lookup::File(file) = tree.lookup(path.as_bytes()) else { panic!("{path} is there") };
            // Of the directories on the way of the others, several begin alike.
            let want = path.starts_with("/wide").then_some(std::ptr::from_ref(file));
            assert_eq!(goes_to(&tree, path), want, "{path}");
        }
        for path in ["/", "/wide", "/wide/", "/nothing", "/wide/1", "/a1/b1"] {
            assert_eq!(goes_to(&tree, path), None, "{path}");
        }
    }

    #[test]
    fn ways_are_bounded() {
        let tree = tree(&["/a/b".to_owned()]);
        for (most, want) in [(u64::MAX, MOST), (7, 7), (0, 0)] {
            let mut ahead = Ahead::new(most);
            let added = (0..10 * MOST).filter(|_| ahead.add(&tree, b"/a/b")).count() as u64;
            assert_eq!(added, if CAN_ASK { want } else { 0 });
            ahead.go();
            assert!(ahead.ways.is_empty());
        }
        let deep = "/a".repeat(10 * STEPS);
        let tree = self::tree(&[deep.clone(), "/b".to_owned()]);
        let mut ahead = Ahead::new(u64::MAX);
        for path in [deep.as_str(), "/b"] {
            ahead.add(&tree, path.as_bytes());
        }
        ahead.go();
        assert!(ahead.ways.is_empty());
    }
}
